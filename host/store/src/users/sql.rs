//! Rows of users and sessions.

use sqlx::FromRow;

use super::{SessionRecord, UserRecord};
use crate::ControlStoreError;

/// A row of `user_account`.
#[derive(FromRow)]
pub(super) struct UserRow {
    id: String,
    email: String,
    tenant: Option<String>,
    role: String,
    subject: Option<String>,
    settings: String,
    created_at: i64,
    signed_in_at: Option<i64>,
    revision: i64,
}

impl UserRow {
    pub(super) fn record(self) -> Result<UserRecord, ControlStoreError> {
        let settings = serde_json::from_str(&self.settings)
            .map_err(|error| damaged("user_account", format!("{}: {error}", self.id)))?;
        Ok(UserRecord {
            id: self.id,
            email: self.email,
            tenant: self.tenant,
            role: self.role,
            subject: self.subject,
            settings,
            created_at: self.created_at,
            signed_in_at: self.signed_in_at,
            revision: self.revision,
        })
    }
}

/// A row of `user_session`.
#[derive(FromRow)]
pub(super) struct SessionRow {
    user_id: String,
    id: String,
    hash: Vec<u8>,
    created_at: i64,
    seen_at: i64,
    expires_at: i64,
    client: Option<String>,
    user_agent: String,
}

impl SessionRow {
    pub(super) fn record(self) -> Result<SessionRecord, ControlStoreError> {
        Ok(SessionRecord {
            hash: digest("user_session", &self.id, self.hash)?,
            user: self.user_id,
            id: self.id,
            created_at: self.created_at,
            seen_at: self.seen_at,
            expires_at: self.expires_at,
            client: self.client,
            user_agent: self.user_agent,
        })
    }
}

pub(super) fn digest(table: &'static str, id: &str, octets: Vec<u8>) -> Result<[u8; 32], ControlStoreError> {
    octets.try_into().map_err(|_| damaged(table, format!("{id}: its hash has not 32 octets")))
}

fn damaged(table: &'static str, reason: String) -> ControlStoreError {
    ControlStoreError::Damaged { table, reason }
}

/// Ends sessions inside a transaction.
macro_rules! end_sessions {
    ($transaction:ident, $user:expr, $after:expr) => {
        match $after {
            $crate::SessionsAfter::All => 0,
            $crate::SessionsAfter::Only(one) => {
                sqlx::query("DELETE FROM user_session WHERE user_id = $1 AND id <> $2")
                    .bind($user)
                    .bind(one.unwrap_or_default())
                    .execute(&mut *$transaction)
                    .await?
                    .rows_affected()
            }
        }
    };
}

/// Begins a session inside a transaction.
macro_rules! begin_session {
    ($transaction:ident, $session:expr) => {
        sqlx::query(
            "INSERT INTO user_session (user_id, id, hash, created_at, seen_at, expires_at, client, \
             user_agent) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&$session.user)
        .bind(&$session.id)
        .bind($session.hash.to_vec())
        .bind($session.created_at)
        .bind($session.seen_at)
        .bind($session.expires_at)
        .bind(&$session.client)
        .bind(&$session.user_agent)
        .execute(&mut *$transaction)
        .await?;
        sqlx::query(
            "DELETE FROM user_session WHERE user_id = $1 AND id NOT IN \
             (SELECT id FROM user_session WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2)",
        )
        .bind(&$session.user)
        .bind(i64::from($crate::users::MAX_SESSIONS))
        .execute(&mut *$transaction)
        .await?;
    };
}

pub(super) use {begin_session, end_sessions};
