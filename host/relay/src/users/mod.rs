//! People who sign in to the panel: passwords, codes of an authenticator, one-time links, sessions, and
//! their administration. An OpenID provider can vouch for them ([`oidc`]).
//!
//! A user belongs to one tenant, or is an operator. Nothing that lets somebody in is stored: tokens and
//! recovery codes as SHA-256, passwords as Argon2id. Each request reads the session and its user from the
//! store, so that a change counts at once and on every node. Attempts to sign in are counted in memory,
//! each node for itself.

mod account;
mod admin;
mod links;
pub mod oidc;
mod password;
mod role;
mod session;
mod sign_in;
mod throttle;
mod token;
mod totp;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::address::Address;
use relevo_mailkit::text::is_unsafe;
use relevo_store::{ControlStoreError, UserRecord, UserStore, UserWrite};
use tracing::{error, warn};

use crate::clock::{Clock, IdSource};

pub use admin::UserChange;
pub use links::{Accept, AcceptRefusal, Invitation, Link, LinkKind, LinkTarget};
pub use role::UserRole;
pub use session::{ListedSession, NewSession, Session};
pub use sign_in::{SignIn, SignInRefusal};
pub use totp::TotpSecret;

/// Users of a tenant, and operators.
const MAX_USERS: u32 = 1_000;
/// Octets of a name.
const MAX_NAME: usize = 128;
/// Times that a change is tried again when another one came first.
const TRIES: u32 = 5;
/// Time between two removals of what has ended.
const PRUNE: Duration = Duration::from_secs(3_600);

/// Limits of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersConfig {
    /// Name of the relay in authenticators.
    pub issuer: String,
    /// A session ends after this time without a request.
    pub session_idle: Duration,
    /// A session ends after this time.
    pub session_max: Duration,
}

impl Default for UsersConfig {
    fn default() -> Self {
        Self {
            issuer: "Relevo".to_owned(),
            session_idle: Duration::from_secs(12 * 3_600),
            session_max: Duration::from_secs(7 * 86_400),
        }
    }
}

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Never used again.
    pub id: String,
    /// In lower case; unique among all users.
    pub email: String,
    /// For people; may be empty.
    pub name: String,
    /// Id of the tenant. None: an operator.
    pub tenant: Option<String>,
    /// What the user may do.
    pub role: UserRole,
    /// BCP 47 tag of the language of the panel. None: what the browser prefers.
    pub language: Option<String>,
    /// The user has set a password. Without one, and without an OpenID provider, they have not accepted
    /// the invitation yet.
    pub has_password: bool,
    /// An authenticator is needed to sign in.
    pub has_totp: bool,
    /// An OpenID provider vouches for the user.
    pub has_oidc: bool,
    /// Recovery codes that are left.
    pub recovery_codes: usize,
    /// The user may not sign in.
    pub disabled: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// The last sign-in, in milliseconds since 1970.
    pub signed_in_at: Option<i64>,
}

impl User {
    fn of(record: UserRecord) -> Result<Self, UsersError> {
        let role = record.role.parse().map_err(UsersError::broken)?;
        let settings = record.settings;
        Ok(Self {
            id: record.id,
            email: record.email,
            name: settings.name,
            tenant: record.tenant,
            role,
            language: settings.language,
            has_password: settings.password_hash.is_some(),
            has_totp: settings.totp.is_some(),
            has_oidc: record.subject.is_some(),
            recovery_codes: settings.recovery.len(),
            disabled: settings.disabled,
            created_at: record.created_at,
            signed_in_at: record.signed_in_at,
        })
    }
}

/// Why a user cannot be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// There is no such user, or it is another tenant's.
    #[error("there is no such user")]
    NotFound,
    /// It is at odds with what is there.
    #[error("{0}")]
    Conflict(String),
    /// A value is wrong.
    #[error("{message}")]
    Invalid {
        /// The name of the value.
        param: &'static str,
        /// The mistake.
        message: String,
    },
    /// Too many attempts.
    #[error("too many attempts: try again in {} s", retry_after.as_secs().max(1))]
    Throttled {
        /// When the next one may come.
        retry_after: Duration,
    },
    /// The store failed, or there is too much to do. The log has the details.
    #[error("users are not available now, try again later")]
    Unavailable,
}

impl UsersError {
    fn invalid(param: &'static str, message: &str) -> Self {
        Self::Invalid { param, message: message.to_owned() }
    }

    fn broken(error: impl fmt::Display) -> Self {
        error!(%error, "users are not available");
        Self::Unavailable
    }
}

impl From<ControlStoreError> for UsersError {
    fn from(error: ControlStoreError) -> Self {
        match error {
            ControlStoreError::Conflict(reason) => Self::Conflict(reason),
            ControlStoreError::Stale => Self::Conflict("it was changed meanwhile: try again".to_owned()),
            other => Self::broken(other),
        }
    }
}

/// The users of all tenants, and operators.
pub struct Users {
    store: Arc<dyn UserStore>,
    passwords: password::Passwords,
    throttle: throttle::Throttle,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    config: UsersConfig,
}

impl Users {
    /// Users in this store.
    #[must_use]
    pub fn new(
        store: Arc<dyn UserStore>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        config: UsersConfig,
    ) -> Self {
        let (passwords, throttle) = (password::Passwords::new(), throttle::Throttle::default());
        Self { store, passwords, throttle, clock, ids, config }
    }

    /// Removes sessions and links that have ended, every hour, until it is dropped.
    pub async fn run(&self) {
        loop {
            let now = self.clock.now();
            let idle = now.saturating_sub(millis(self.config.session_idle));
            if let Err(error) = self.store.prune_users(now, idle).await {
                warn!(%error, "sessions of users that have ended cannot be deleted");
            }
            tokio::time::sleep(PRUNE).await;
        }
    }

    fn new_id(&self) -> Result<String, UsersError> {
        let id = self.ids.item_id(self.clock.now()).map_err(UsersError::broken)?;
        Ok(id.to_string())
    }

    /// Changes a user; tries again when another change came first. `change` may refuse.
    async fn update<E: From<UsersError>>(
        &self,
        id: &str,
        write: UserWrite<'_>,
        change: impl Fn(&mut UserRecord) -> Result<(), E>,
    ) -> Result<UserRecord, E> {
        for _ in 0..TRIES {
            let found = self.store.user(id).await.map_err(UsersError::from)?;
            let mut record = found.ok_or(UsersError::NotFound)?;
            change(&mut record)?;
            match self.store.put_user(&record, write).await {
                Ok(()) => {
                    record.revision += 1;
                    return Ok(record);
                }
                Err(ControlStoreError::Stale) => {}
                Err(error) => return Err(UsersError::from(error).into()),
            }
        }
        Err(UsersError::from(ControlStoreError::Stale).into())
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// The form in which an address is stored and looked up.
fn folded(email: &str) -> String {
    email.trim().chars().take(320).collect::<String>().to_lowercase()
}

fn checked_email(email: &str) -> Result<String, UsersError> {
    let wrong = |message: String| UsersError::Invalid { param: "email", message };
    let address = Address::parse(email.trim()).map_err(|error| wrong(error.to_string()))?;
    if address.is_literal() || address.local.starts_with('"') {
        return Err(wrong("must be an ordinary address, such as ann@example.com".to_owned()));
    }
    Ok(folded(&address.to_string()))
}

fn checked_name(name: &str) -> Result<String, UsersError> {
    let name = name.trim();
    if name.len() > MAX_NAME || name.chars().any(is_unsafe) {
        return Err(UsersError::invalid("name", "must have 128 octets at most, without control characters"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests;
