//! Users and their links.

use async_trait::async_trait;

use super::sql::{UserRow, begin_session, digest, end_sessions};
use super::{UserLinkRecord, UserRecord, UserStore, UserWrite};
use crate::control::{reading, writing};
use crate::directory::json;
use crate::{ControlStore, ControlStoreError};

/// The last active user of these roles stays: of each tenant, and of the relay.
const KEPT: [&str; 2] = ["owner", "operator"];

macro_rules! user {
    ($rest:literal) => {
        concat!(
            "SELECT id, email, tenant, role, subject, settings, created_at, signed_in_at, revision \
             FROM user_account",
            $rest
        )
    };
}

const USER_BY_ID: &str = user!(" WHERE id = $1");

/// Inserts a user inside a transaction.
macro_rules! insert {
    ($transaction:ident, $user:expr) => {
        sqlx::query(
            "INSERT INTO user_account (id, email, tenant, role, subject, active, settings, created_at, \
             signed_in_at, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)",
        )
        .bind(&$user.id)
        .bind(&$user.email)
        .bind(&$user.tenant)
        .bind(&$user.role)
        .bind(&$user.subject)
        .bind(i64::from($user.is_active()))
        .bind(json(&$user.settings)?)
        .bind($user.created_at)
        .bind($user.signed_in_at)
        .execute(&mut *$transaction)
        .await
        .map_err(taken)?
    };
}

/// Uses a link up inside a transaction, or gives up.
macro_rules! use_link {
    ($transaction:ident, $hash:expr) => {
        let done = sqlx::query("DELETE FROM user_link WHERE hash = $1")
            .bind($hash.to_vec())
            .execute(&mut *$transaction)
            .await?;
        if done.rows_affected() == 0 {
            return Err(ControlStoreError::Stale);
        }
    };
}

/// Stores a link inside a transaction.
macro_rules! put_link {
    ($transaction:ident, $link:expr) => {
        sqlx::query(
            "INSERT INTO user_link (user_id, kind, hash, expires_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (user_id) DO UPDATE SET kind = excluded.kind, hash = excluded.hash, \
             expires_at = excluded.expires_at",
        )
        .bind(&$link.user)
        .bind(&$link.kind)
        .bind($link.hash.to_vec())
        .bind($link.expires_at)
        .execute(&mut *$transaction)
        .await?
    };
}

/// Writes what comes with a user inside a transaction.
macro_rules! write_beside {
    ($transaction:ident, $user:expr, $write:expr) => {
        if let Some(hash) = $write.used_link {
            use_link!($transaction, hash);
        }
        if let Some(link) = $write.new_link {
            put_link!($transaction, link);
        }
        end_sessions!($transaction, &$user.id, $write.sessions);
        if let Some(session) = $write.new_session {
            begin_session!($transaction, session);
        }
    };
}

/// Refuses to take away the last active user of a role that must be held. It locks the holders first, so
/// that two of them cannot go at once.
macro_rules! keep_one {
    ($transaction:ident, $user:expr) => {
        sqlx::query("UPDATE user_account SET active = active WHERE role = $1 AND COALESCE(tenant, '') = $2")
            .bind(&$user.role)
            .bind($user.tenant.as_deref().unwrap_or_default())
            .execute(&mut *$transaction)
            .await?;
        let others = sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM user_account \
             WHERE role = $1 AND COALESCE(tenant, '') = $2 AND active = 1 AND id <> $3",
        )
        .bind(&$user.role)
        .bind($user.tenant.as_deref().unwrap_or_default())
        .bind(&$user.id)
        .fetch_one(&mut *$transaction)
        .await?;
        if others == 0 {
            let email = &$user.email;
            return Err(ControlStoreError::Conflict(match $user.tenant.as_deref() {
                Some(tenant) => {
                    format!("{email} is the last owner of tenant `{tenant}`: make another one first")
                }
                None => format!("{email} is the last operator: make another one first"),
            }));
        }
    };
}

fn taken(error: sqlx::Error) -> ControlStoreError {
    match error.into() {
        ControlStoreError::Conflict(_) => {
            ControlStoreError::Conflict("there is a user with this address already".to_owned())
        }
        other => other,
    }
}

fn holds(user: &UserRecord) -> bool {
    user.is_active() && KEPT.contains(&user.role.as_str())
}

#[async_trait]
impl UserStore for ControlStore {
    async fn has_users(&self) -> Result<bool, ControlStoreError> {
        let found: Option<String> = reading!(self, pool => {
            sqlx::query_scalar("SELECT id FROM user_account LIMIT 1").fetch_optional(pool).await?
        });
        Ok(found.is_some())
    }

    async fn add_user(
        &self,
        user: &UserRecord,
        write: UserWrite<'_>,
        max: u32,
    ) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            let count = sqlx::query_scalar::<_, i64>(
                "SELECT count(*) FROM user_account WHERE COALESCE(tenant, '') = $1",
            )
            .bind(user.tenant.as_deref().unwrap_or_default())
            .fetch_one(&mut *transaction)
            .await?;
            if count >= i64::from(max) {
                return Err(ControlStoreError::Conflict(format!("there are {max} users already")));
            }
            insert!(transaction, user);
            write_beside!(transaction, user, write);
        })
    }

    async fn add_first_user(&self, user: &UserRecord, write: UserWrite<'_>) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM user_account")
                .fetch_one(&mut *transaction)
                .await?;
            if count > 0 {
                return Err(ControlStoreError::Conflict("there is a user already".to_owned()));
            }
            insert!(transaction, user);
            write_beside!(transaction, user, write);
        })
    }

    async fn user(&self, id: &str) -> Result<Option<UserRecord>, ControlStoreError> {
        let row: Option<UserRow> = reading!(self, pool => {
            sqlx::query_as(USER_BY_ID).bind(id).fetch_optional(pool).await?
        });
        row.map(UserRow::record).transpose()
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<UserRecord>, ControlStoreError> {
        let row: Option<UserRow> = reading!(self, pool => {
            sqlx::query_as(user!(" WHERE email = $1")).bind(email).fetch_optional(pool).await?
        });
        row.map(UserRow::record).transpose()
    }

    async fn user_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, ControlStoreError> {
        let row: Option<UserRow> = reading!(self, pool => {
            sqlx::query_as(user!(" WHERE subject = $1")).bind(subject).fetch_optional(pool).await?
        });
        row.map(UserRow::record).transpose()
    }

    async fn users(
        &self,
        tenant: Option<&str>,
        after: &str,
        max: u32,
    ) -> Result<Vec<UserRecord>, ControlStoreError> {
        let rows: Vec<UserRow> = reading!(self, pool => {
            sqlx::query_as(user!(" WHERE COALESCE(tenant, '') = $1 AND id > $2 ORDER BY id LIMIT $3"))
                .bind(tenant.unwrap_or_default())
                .bind(after)
                .bind(i64::from(max))
                .fetch_all(pool)
                .await?
        });
        rows.into_iter().map(UserRow::record).collect()
    }

    async fn put_user(&self, user: &UserRecord, write: UserWrite<'_>) -> Result<(), ControlStoreError> {
        let settings = json(&user.settings)?;
        writing!(self, transaction => {
            let before: Option<UserRow> =
                sqlx::query_as(USER_BY_ID).bind(&user.id).fetch_optional(&mut *transaction).await?;
            let before = before.ok_or(ControlStoreError::Stale)?.record()?;
            if holds(&before) && !(holds(user) && before.role == user.role) {
                keep_one!(transaction, before);
            }
            let done = sqlx::query(
                "UPDATE user_account SET email = $2, role = $3, subject = $4, active = $5, settings = $6, \
                 signed_in_at = $7, revision = revision + 1 WHERE id = $1 AND revision = $8",
            )
            .bind(&user.id)
            .bind(&user.email)
            .bind(&user.role)
            .bind(&user.subject)
            .bind(i64::from(user.is_active()))
            .bind(&settings)
            .bind(user.signed_in_at)
            .bind(user.revision)
            .execute(&mut *transaction)
            .await
            .map_err(taken)?;
            if done.rows_affected() == 0 {
                return Err(ControlStoreError::Stale);
            }
            write_beside!(transaction, user, write);
        })
    }

    async fn delete_user(&self, id: &str) -> Result<bool, ControlStoreError> {
        writing!(self, transaction => {
            let found: Option<UserRow> =
                sqlx::query_as(USER_BY_ID).bind(id).fetch_optional(&mut *transaction).await?;
            let Some(found) = found else { return Ok(false) };
            let found = found.record()?;
            if holds(&found) {
                keep_one!(transaction, found);
            }
            sqlx::query("DELETE FROM user_link WHERE user_id = $1").bind(id).execute(&mut *transaction).await?;
            let deleted =
                sqlx::query("DELETE FROM user_account WHERE id = $1").bind(id).execute(&mut *transaction).await?;
            deleted.rows_affected() > 0
        })
    }

    async fn put_user_link(&self, link: &UserLinkRecord) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            put_link!(transaction, link);
        })
    }

    async fn user_link(&self, hash: &[u8; 32]) -> Result<Option<UserLinkRecord>, ControlStoreError> {
        let row: Option<(String, String, Vec<u8>, i64)> = reading!(self, pool => {
            sqlx::query_as("SELECT user_id, kind, hash, expires_at FROM user_link WHERE hash = $1")
                .bind(hash.to_vec())
                .fetch_optional(pool)
                .await?
        });
        row.map(|(user, kind, hash, expires_at)| {
            let hash = digest("user_link", &user, hash)?;
            Ok(UserLinkRecord { user, kind, hash, expires_at })
        })
        .transpose()
    }
}
