//! Sessions.

use std::net::IpAddr;

use relevo_mailkit::text::one_line;
use relevo_store::{MAX_SESSIONS, SessionRecord, SessionsAfter, UserRecord};
use tracing::warn;

use super::{User, Users, UsersError, millis, token};

/// The time of the last request is stored no more often than this, in milliseconds.
const SEEN: i64 = 60_000;
/// Octets of what a client says of itself.
const MAX_USER_AGENT: usize = 200;

/// A session whose token was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Unique among the sessions of the user.
    pub id: String,
    /// The user as it is now.
    pub user: User,
    /// Forms of the session carry it. It is derived from the token and not stored.
    pub csrf: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Time of the last request, up to a minute late, in milliseconds since 1970.
    pub seen_at: i64,
    /// It ends then at the latest, in milliseconds since 1970.
    pub expires_at: i64,
    /// Address of the client that signed in.
    pub client: Option<IpAddr>,
    /// What the client said of itself.
    pub user_agent: String,
}

/// A session that begins.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSession {
    /// For the cookie: 256 bits in base64url. It is known for this once.
    pub token: String,
    /// The session.
    pub session: Session,
}

impl std::fmt::Debug for NewSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSession").field("session", &self.session.id).finish_non_exhaustive()
    }
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    /// Unique among the sessions of the user.
    pub id: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Time of the last request, up to a minute late, in milliseconds since 1970.
    pub seen_at: i64,
    /// It ends then at the latest, in milliseconds since 1970.
    pub expires_at: i64,
    /// Address of the client that signed in.
    pub client: Option<IpAddr>,
    /// What the client said of itself.
    pub user_agent: String,
}

/// Who begins a session.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Client<'a> {
    pub(super) address: Option<IpAddr>,
    pub(super) user_agent: &'a str,
}

/// A session that is not stored yet.
pub(super) struct Opening {
    token: String,
    pub(super) record: SessionRecord,
}

impl Opening {
    /// What the client gets, once the session is stored with its user.
    pub(super) fn opened(self, user: UserRecord) -> Result<NewSession, UsersError> {
        let session = session(&self.token, self.record, User::of(user)?);
        Ok(NewSession { token: self.token, session })
    }
}

fn session(token: &str, record: SessionRecord, user: User) -> Session {
    Session {
        user,
        csrf: token::csrf(token),
        id: record.id,
        created_at: record.created_at,
        seen_at: record.seen_at,
        expires_at: record.expires_at,
        client: record.client.and_then(|client| client.parse().ok()),
        user_agent: record.user_agent,
    }
}

impl Users {
    /// Makes a session of a user, to be stored with the user.
    pub(super) fn opening(&self, user: &str, client: Client<'_>) -> Result<Opening, UsersError> {
        let token = token::new().map_err(UsersError::broken)?;
        let now = self.clock.now();
        let record = SessionRecord {
            user: user.to_owned(),
            id: self.new_id()?,
            hash: token::hash(&token).ok_or(UsersError::Unavailable)?,
            created_at: now,
            seen_at: now,
            expires_at: now.saturating_add(millis(self.config.session_max)),
            client: client.address.map(|address| address.to_canonical().to_string()),
            user_agent: one_line(client.user_agent, MAX_USER_AGENT),
        };
        Ok(Opening { token, record })
    }

    /// The session of a token, with its user as it is now. None: it has ended, or never was.
    ///
    /// # Errors
    /// The store's.
    pub async fn session(&self, token: &str) -> Result<Option<Session>, UsersError> {
        let Some(hash) = token::hash(token) else { return Ok(None) };
        let Some((record, user)) = self.store.session(&hash).await? else { return Ok(None) };
        let now = self.clock.now();
        if !user.is_active() || !self.lasts(&record, now) {
            return Ok(None);
        }
        if now.saturating_sub(record.seen_at) >= SEEN
            && let Err(error) = self.store.touch_session(&hash, now).await
        {
            warn!(%error, "the time of a user's last request is not stored");
        }
        Ok(Some(session(token, record, User::of(user)?)))
    }

    fn lasts(&self, record: &SessionRecord, now: i64) -> bool {
        now < record.expires_at && now < record.seen_at.saturating_add(millis(self.config.session_idle))
    }

    /// Ends the session of a token, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn sign_out(&self, token: &str) -> Result<(), UsersError> {
        let Some(hash) = token::hash(token) else { return Ok(()) };
        Ok(self.store.delete_session(&hash).await?)
    }

    /// Sessions of a user, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn sessions(&self, user: &str) -> Result<Vec<ListedSession>, UsersError> {
        let now = self.clock.now();
        let found = self.store.sessions(user, MAX_SESSIONS).await?;
        let lasting = found.into_iter().filter(|record| self.lasts(record, now));
        Ok(lasting.map(listed).collect())
    }

    /// Ends a session of a user. Returns false if there is no such session.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke(&self, user: &str, session: &str) -> Result<bool, UsersError> {
        Ok(self.store.delete_user_session(user, session).await?)
    }

    /// Ends all sessions of a user but one. None: that one, too. Returns their number.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke_others(&self, user: &str, session: Option<&str>) -> Result<u64, UsersError> {
        Ok(self.store.end_sessions(user, SessionsAfter::Only(session)).await?)
    }
}

fn listed(record: SessionRecord) -> ListedSession {
    ListedSession {
        id: record.id,
        created_at: record.created_at,
        seen_at: record.seen_at,
        expires_at: record.expires_at,
        client: record.client.and_then(|client| client.parse().ok()),
        user_agent: record.user_agent,
    }
}
