//! What rules do to suppressed addresses: entries, counted failures and the position of the reader of
//! events change in one transaction.

use std::collections::HashSet;

use async_trait::async_trait;

use crate::control::{move_reader, placeholders, reading, writing};
use crate::suppressions::insert_entries;
use crate::{ControlStore, ControlStoreError, SuppressionRecord};

/// Addresses of one statement. SQLite looks up each value by its number in a list of all.
const AT_ONCE: usize = 50;

/// Failures of an address, as far as no delivery has made them void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressionCount {
    /// Id of the tenant.
    pub tenant: String,
    /// As in entries.
    pub address: String,
    /// The kind of failure.
    pub kind: String,
    /// How often.
    pub times: i64,
    /// When it was counted first: milliseconds since 1970.
    pub first_at: i64,
    /// When it was counted last.
    pub last_at: i64,
}

/// What a batch of events comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuppressionBatch {
    /// The name of the reader.
    pub reader: String,
    /// Its position before the batch.
    pub after: i64,
    /// Its position behind the batch.
    pub cursor: i64,
    /// New entries, by tenant.
    pub entries: Vec<(String, SuppressionRecord)>,
    /// Addresses of a tenant whose counts are void.
    pub forgotten: Vec<(String, String)>,
    /// Counts as they are behind the batch. They are written after others are forgotten.
    pub counts: Vec<SuppressionCount>,
}

/// Suppressions that rules add.
#[async_trait]
pub trait SuppressionRuleStore: Send + Sync {
    /// The position of a reader; 0 before the first batch.
    async fn suppression_cursor(&self, reader: &str) -> Result<i64, ControlStoreError>;

    /// Returns true if anything is counted of any address.
    async fn has_suppression_counts(&self) -> Result<bool, ControlStoreError>;

    /// What is counted of these addresses, `(tenant, address)`.
    async fn suppression_counts(
        &self,
        addresses: &[(String, String)],
    ) -> Result<Vec<SuppressionCount>, ControlStoreError>;

    /// Applies a batch and moves the reader's position, in one step. An entry that is there stays as it
    /// is. Returns the entries that are new.
    ///
    /// # Errors
    /// [`ControlStoreError::Stale`] when the reader is not at the position `after` any more.
    async fn apply_suppressions(
        &self,
        batch: SuppressionBatch,
    ) -> Result<Vec<(String, SuppressionRecord)>, ControlStoreError>;

    /// Removes counts whose last failure was before `before`. Returns how many.
    async fn prune_suppression_counts(&self, before: i64) -> Result<u64, ControlStoreError>;
}

fn counts_sql(addresses: usize) -> String {
    format!(
        "SELECT tenant, address, kind, times, first_at, last_at FROM suppression_count \
         WHERE (tenant, address) IN ({})",
        in_rows(addresses)
    )
}

fn forget_sql(addresses: usize) -> String {
    format!("DELETE FROM suppression_count WHERE (tenant, address) IN ({})", in_rows(addresses))
}

fn in_rows(addresses: usize) -> String {
    format!("VALUES {}", placeholders(addresses, 2, ""))
}

#[async_trait]
impl SuppressionRuleStore for ControlStore {
    async fn suppression_cursor(&self, reader: &str) -> Result<i64, ControlStoreError> {
        let cursor: Option<i64> = reading!(self, pool => {
            sqlx::query_scalar("SELECT cursor FROM event_reader WHERE name = $1")
                .bind(reader)
                .fetch_optional(pool)
                .await?
        });
        Ok(cursor.unwrap_or(0))
    }

    async fn has_suppression_counts(&self) -> Result<bool, ControlStoreError> {
        let found: Option<i64> = reading!(self, pool => {
            sqlx::query_scalar("SELECT times FROM suppression_count LIMIT 1").fetch_optional(pool).await?
        });
        Ok(found.is_some())
    }

    async fn suppression_counts(
        &self,
        addresses: &[(String, String)],
    ) -> Result<Vec<SuppressionCount>, ControlStoreError> {
        let mut found = Vec::new();
        for part in addresses.chunks(AT_ONCE) {
            let sql = counts_sql(part.len());
            let rows: Vec<(String, String, String, i64, i64, i64)> = reading!(self, pool => {
                let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).persistent(part.len() == AT_ONCE);
                for (tenant, address) in part {
                    query = query.bind(tenant).bind(address);
                }
                query.fetch_all(pool).await?
            });
            found.extend(rows.into_iter().map(|(tenant, address, kind, times, first_at, last_at)| {
                SuppressionCount { tenant, address, kind, times, first_at, last_at }
            }));
        }
        Ok(found)
    }

    async fn apply_suppressions(
        &self,
        mut batch: SuppressionBatch,
    ) -> Result<Vec<(String, SuppressionRecord)>, ControlStoreError> {
        // One order for all writers: two that lock the same rows in two orders wait for each other.
        batch.entries.sort_by(|(t, a), (u, b)| (t, &a.address, &a.stream).cmp(&(u, &b.address, &b.stream)));
        batch.forgotten.sort();
        batch.counts.sort_by(|a, b| (&a.tenant, &a.address, &a.kind).cmp(&(&b.tenant, &b.address, &b.kind)));
        let entries: Vec<(&str, &SuppressionRecord)> =
            batch.entries.iter().map(|(tenant, entry)| (tenant.as_str(), entry)).collect();
        let written: Result<HashSet<String>, ControlStoreError> = writing!(self, transaction => {
            move_reader!(transaction, &batch.reader, batch.after, batch.cursor);
            let added = insert_entries!(transaction, entries);
            for part in batch.forgotten.chunks(AT_ONCE) {
                let sql = forget_sql(part.len());
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(part.len() == AT_ONCE);
                for (tenant, address) in part {
                    query = query.bind(tenant).bind(address);
                }
                query.execute(&mut *transaction).await?;
            }
            for count in &batch.counts {
                sqlx::query(
                    "INSERT INTO suppression_count (tenant, address, kind, times, first_at, last_at) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, address, kind) DO UPDATE SET \
                     times = excluded.times, first_at = excluded.first_at, last_at = excluded.last_at",
                )
                .bind(&count.tenant)
                .bind(&count.address)
                .bind(&count.kind)
                .bind(count.times)
                .bind(count.first_at)
                .bind(count.last_at)
                .execute(&mut *transaction)
                .await?;
            }
            added
        });
        let mut added = written?;
        batch.entries.retain(|(_, entry)| added.remove(&entry.id));
        Ok(batch.entries)
    }

    async fn prune_suppression_counts(&self, before: i64) -> Result<u64, ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("DELETE FROM suppression_count WHERE last_at < $1")
                .bind(before)
                .execute(&mut *transaction)
                .await?
                .rows_affected()
        })
    }
}
