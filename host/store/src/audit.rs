//! The audit log: what was administered, by whom.

use async_trait::async_trait;

use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError};

/// An administrative act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Id of the tenant whose things it was about.
    pub tenant: String,
    /// Made by the caller; ids of later acts sort behind.
    pub id: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// Who did it, such as `key ci` or `cli uid 1000`.
    pub actor: String,
    /// What was done, such as `DELETE /api-keys/{id}`.
    pub action: String,
    /// On what.
    pub subject: String,
    /// `done`, or why it was not.
    pub result: String,
}

/// The audit log. Nothing in it ever changes.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Adds an act.
    async fn add_audit(&self, act: &AuditRecord) -> Result<(), ControlStoreError>;

    /// Acts of one tenant, newest first, those before the id `before` if it is not empty, at most
    /// `max`.
    async fn audit(
        &self,
        tenant: &str,
        before: &str,
        max: u32,
    ) -> Result<Vec<AuditRecord>, ControlStoreError>;

    /// Acts of all tenants, newest first, at most `max`: those that are older than the act with the
    /// id `before`, which was at `at`. Without `before` it is empty and `at` is the largest number.
    async fn all_audit(&self, before: &str, at: i64, max: u32)
    -> Result<Vec<AuditRecord>, ControlStoreError>;

    /// Deletes acts of before this time, at most `max`. Returns their number.
    async fn prune_audit(&self, before: i64, max: u32) -> Result<u64, ControlStoreError>;
}

type Row = (String, String, i64, String, String, String, String);

#[async_trait]
impl AuditStore for ControlStore {
    async fn add_audit(&self, act: &AuditRecord) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query(
                "INSERT INTO audit (tenant, id, at, actor, action, subject, result) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(&act.tenant)
            .bind(&act.id)
            .bind(act.at)
            .bind(&act.actor)
            .bind(&act.action)
            .bind(&act.subject)
            .bind(&act.result)
            .execute(&mut *transaction)
            .await?;
        })
    }

    async fn audit(
        &self,
        tenant: &str,
        before: &str,
        max: u32,
    ) -> Result<Vec<AuditRecord>, ControlStoreError> {
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT tenant, id, at, actor, action, subject, result FROM audit \
                 WHERE tenant = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3",
            )
            .bind(tenant)
            .bind(before)
            .bind(i64::from(max))
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(record).collect())
    }

    async fn all_audit(
        &self,
        before: &str,
        at: i64,
        max: u32,
    ) -> Result<Vec<AuditRecord>, ControlStoreError> {
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT tenant, id, at, actor, action, subject, result FROM audit \
                 WHERE at <= $1 AND ($2 = '' OR id < $2) ORDER BY at DESC, id DESC LIMIT $3",
            )
            .bind(at)
            .bind(before)
            .bind(i64::from(max))
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(record).collect())
    }

    async fn prune_audit(&self, before: i64, max: u32) -> Result<u64, ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query(
                "DELETE FROM audit WHERE (tenant, id) IN \
                 (SELECT tenant, id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)",
            )
            .bind(before)
            .bind(i64::from(max))
            .execute(&mut *transaction)
            .await?
            .rows_affected()
        })
    }
}

fn record((tenant, id, at, actor, action, subject, result): Row) -> AuditRecord {
    AuditRecord { tenant, id, at, actor, action, subject, result }
}
