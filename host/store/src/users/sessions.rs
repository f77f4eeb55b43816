//! Sessions.

use async_trait::async_trait;

use super::sql::{SessionRow, end_sessions};
use super::{SessionRecord, SessionsAfter, UserRecord, UserSessionStore, UserStore};
use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError};

macro_rules! session {
    ($rest:literal) => {
        concat!(
            "SELECT user_id, id, hash, created_at, seen_at, expires_at, client, user_agent \
             FROM user_session",
            $rest
        )
    };
}

#[async_trait]
impl UserSessionStore for ControlStore {
    async fn session(
        &self,
        hash: &[u8; 32],
    ) -> Result<Option<(SessionRecord, UserRecord)>, ControlStoreError> {
        let row: Option<SessionRow> = reading!(self, pool => {
            sqlx::query_as(session!(" WHERE hash = $1")).bind(hash.to_vec()).fetch_optional(pool).await?
        });
        let Some(row) = row else { return Ok(None) };
        let session = row.record()?;
        Ok(self.user(&session.user).await?.map(|user| (session, user)))
    }

    async fn sessions(&self, user: &str, max: u32) -> Result<Vec<SessionRecord>, ControlStoreError> {
        let rows: Vec<SessionRow> = reading!(self, pool => {
            sqlx::query_as(session!(" WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2"))
                .bind(user)
                .bind(i64::from(max))
                .fetch_all(pool)
                .await?
        });
        rows.into_iter().map(SessionRow::record).collect()
    }

    async fn touch_session(&self, hash: &[u8; 32], seen_at: i64) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("UPDATE user_session SET seen_at = $2 WHERE hash = $1 AND seen_at < $2")
                .bind(hash.to_vec())
                .bind(seen_at)
                .execute(&mut *transaction)
                .await?;
        })
    }

    async fn delete_session(&self, hash: &[u8; 32]) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("DELETE FROM user_session WHERE hash = $1")
                .bind(hash.to_vec())
                .execute(&mut *transaction)
                .await?;
        })
    }

    async fn delete_user_session(&self, user: &str, id: &str) -> Result<bool, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query("DELETE FROM user_session WHERE user_id = $1 AND id = $2")
                .bind(user)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            done.rows_affected() > 0
        })
    }

    async fn end_sessions(&self, user: &str, after: SessionsAfter<'_>) -> Result<u64, ControlStoreError> {
        writing!(self, transaction => { end_sessions!(transaction, user, after) })
    }

    async fn prune_users(&self, now: i64, idle: i64) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("DELETE FROM user_session WHERE expires_at <= $1 OR seen_at < $2")
                .bind(now)
                .bind(idle)
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM user_link WHERE expires_at <= $1")
                .bind(now)
                .execute(&mut *transaction)
                .await?;
        })
    }
}
