//! People who sign in to the panel, their sessions, and links that count once. Of tokens only the
//! SHA-256 is stored.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::ControlStoreError;

mod accounts;
mod sessions;
mod sql;

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Made by the caller; never used again.
    pub id: String,
    /// In lower case; unique among all users.
    pub email: String,
    /// Id of the tenant. None: an operator.
    pub tenant: Option<String>,
    /// Name of the role.
    pub role: String,
    /// The person at an OpenID provider: issuer and subject. Unique among all users.
    pub subject: Option<String>,
    /// Everything else.
    pub settings: UserSettings,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// The last sign-in, in milliseconds since 1970.
    pub signed_in_at: Option<i64>,
    /// Number of changes. 0: not stored yet.
    pub revision: i64,
}

impl UserRecord {
    /// Returns true if the person can sign in.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.settings.disabled && (self.settings.password_hash.is_some() || self.subject.is_some())
    }
}

/// Settings of a user, stored as JSON. A field that is missing has its default.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserSettings {
    /// For people.
    pub name: String,
    /// BCP 47 tag of the language of the panel.
    pub language: Option<String>,
    /// Argon2id in PHC form.
    pub password_hash: Option<String>,
    /// Base32 secret of the authenticator.
    pub totp: Option<String>,
    /// Base32 secret of an authenticator that has not shown a code yet.
    pub pending_totp: Option<String>,
    /// The last time step of which a code was used: no code counts twice.
    pub totp_step: i64,
    /// SHA-256 of recovery codes that are left, in hex.
    pub recovery: Vec<String>,
    /// The user may not sign in.
    pub disabled: bool,
}

impl fmt::Debug for UserSettings {
    /// Without secrets and what they are checked with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserSettings")
            .field("name", &self.name)
            .field("language", &self.language)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// A session of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Id of the user.
    pub user: String,
    /// Made by the caller; unique among the sessions of the user.
    pub id: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Time of the last request, some time late, in milliseconds since 1970.
    pub seen_at: i64,
    /// It ends then at the latest, in milliseconds since 1970.
    pub expires_at: i64,
    /// Address of the client that signed in.
    pub client: Option<String>,
    /// What the client says of itself.
    pub user_agent: String,
}

/// A link that counts once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserLinkRecord {
    /// Id of the user. Empty: it makes the first operator.
    pub user: String,
    /// What it is for.
    pub kind: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// It counts before this time, in milliseconds since 1970.
    pub expires_at: i64,
}

/// Sessions that go on after a change of their user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionsAfter<'a> {
    /// All of them.
    All,
    /// The one of this id. None: none.
    Only(Option<&'a str>),
}

/// What is written together with a user.
#[derive(Debug, Clone, Copy)]
pub struct UserWrite<'a> {
    /// SHA-256 of the link that is used up by this.
    pub used_link: Option<&'a [u8; 32]>,
    /// A link that replaces the user's.
    pub new_link: Option<&'a UserLinkRecord>,
    /// Sessions that go on.
    pub sessions: SessionsAfter<'a>,
    /// A session that begins. The user keeps the [`MAX_SESSIONS`] newest.
    pub new_session: Option<&'a SessionRecord>,
}

/// Sessions of a user.
pub const MAX_SESSIONS: u32 = 50;

impl Default for UserWrite<'_> {
    fn default() -> Self {
        Self { used_link: None, new_link: None, sessions: SessionsAfter::All, new_session: None }
    }
}

/// Users. A tenant that has an active user of the role `owner` keeps one, and the relay keeps one of the
/// role `operator`.
#[async_trait]
pub trait UserStore: UserSessionStore {
    /// Returns true if there is a user.
    async fn has_users(&self) -> Result<bool, ControlStoreError>;

    /// Adds a user, if their tenant (or the relay, of operators) has fewer than `max`.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`] when the address or the subject is another user's, or there are
    /// `max` users.
    async fn add_user(
        &self,
        user: &UserRecord,
        write: UserWrite<'_>,
        max: u32,
    ) -> Result<(), ControlStoreError>;

    /// Adds a user if there is none.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`] when there is a user, [`ControlStoreError::Stale`] when the link was
    /// used already.
    async fn add_first_user(&self, user: &UserRecord, write: UserWrite<'_>) -> Result<(), ControlStoreError>;

    /// The user of this id.
    async fn user(&self, id: &str) -> Result<Option<UserRecord>, ControlStoreError>;

    /// The user with this address, in lower case.
    async fn user_by_email(&self, email: &str) -> Result<Option<UserRecord>, ControlStoreError>;

    /// The user with this subject.
    async fn user_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, ControlStoreError>;

    /// Users of a tenant by id, those behind `after`, at most `max`. None: operators.
    async fn users(
        &self,
        tenant: Option<&str>,
        after: &str,
        max: u32,
    ) -> Result<Vec<UserRecord>, ControlStoreError>;

    /// Replaces a user.
    ///
    /// # Errors
    /// [`ControlStoreError::Stale`] when it was changed or deleted since it was read, or the link was used
    /// already; [`ControlStoreError::Conflict`] when the last active owner or operator would go.
    async fn put_user(&self, user: &UserRecord, write: UserWrite<'_>) -> Result<(), ControlStoreError>;

    /// Deletes a user with sessions and link. Returns false if there is no such user.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`] when the last active owner or operator would go.
    async fn delete_user(&self, id: &str) -> Result<bool, ControlStoreError>;

    /// Stores a link in the place of the one of its user.
    async fn put_user_link(&self, link: &UserLinkRecord) -> Result<(), ControlStoreError>;

    /// The link with this hash.
    async fn user_link(&self, hash: &[u8; 32]) -> Result<Option<UserLinkRecord>, ControlStoreError>;
}

/// Sessions of users.
#[async_trait]
pub trait UserSessionStore: Send + Sync {
    /// The session with this hash, and its user.
    async fn session(
        &self,
        hash: &[u8; 32],
    ) -> Result<Option<(SessionRecord, UserRecord)>, ControlStoreError>;

    /// Sessions of a user, newest first, at most `max`.
    async fn sessions(&self, user: &str, max: u32) -> Result<Vec<SessionRecord>, ControlStoreError>;

    /// Notes the time of a request.
    async fn touch_session(&self, hash: &[u8; 32], seen_at: i64) -> Result<(), ControlStoreError>;

    /// Ends the session with this hash.
    async fn delete_session(&self, hash: &[u8; 32]) -> Result<(), ControlStoreError>;

    /// Ends a session of a user. Returns false if there is no such session.
    async fn delete_user_session(&self, user: &str, id: &str) -> Result<bool, ControlStoreError>;

    /// Ends sessions of a user. Returns their number.
    async fn end_sessions(&self, user: &str, after: SessionsAfter<'_>) -> Result<u64, ControlStoreError>;

    /// Deletes sessions and links that ended before `now`, and sessions that were last seen before
    /// `idle`.
    async fn prune_users(&self, now: i64, idle: i64) -> Result<(), ControlStoreError>;
}
