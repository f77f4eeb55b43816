//! Addresses that get no mail.

use async_trait::async_trait;

use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError};

/// The stream of an entry that counts for all mail.
pub const ALL_STREAMS: &str = "all";

/// An address that gets no mail of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressionRecord {
    /// Made by the caller; never used again.
    pub id: String,
    /// Lower case, the domain in A-labels.
    pub address: String,
    /// [`ALL_STREAMS`], a stream, or `topic:` and a topic.
    pub stream: String,
    /// `bounce`, `complaint`, `unsubscribe` or `manual`.
    pub reason: String,
    /// For people: the receiver's words, or a note.
    pub detail: String,
    /// The message that led to it.
    pub message_id: Option<String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// Entries to be removed: those that all of the given conditions are true for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuppressionFilter {
    /// One entry.
    pub id: Option<String>,
    /// One address.
    pub address: Option<String>,
    /// Addresses of this domain, without its subdomains.
    pub domain: Option<String>,
    /// One stream.
    pub stream: Option<String>,
    /// One reason.
    pub reason: Option<String>,
    /// Not before: milliseconds since 1970.
    pub since: Option<i64>,
    /// Before: milliseconds since 1970.
    pub until: Option<i64>,
}

impl SuppressionFilter {
    /// Returns true if there is no condition: the filter means every entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Suppressed addresses. Every method but [`Self::all_suppressions`] stays within one tenant.
#[async_trait]
pub trait SuppressionStore: Send + Sync {
    /// Adds entries; one that is there stays as it is. Returns the entries that are new.
    async fn add_suppressions(
        &self,
        tenant: &str,
        entries: &[SuppressionRecord],
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError>;

    /// Removes entries, at most `max`, and returns them.
    async fn remove_suppressions(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
        max: u32,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError>;

    /// Entries of one address.
    async fn suppressions_of(
        &self,
        tenant: &str,
        address: &str,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError>;

    /// Entries by address and stream, those behind `after`, at most `max`.
    async fn suppressions(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
        after: (&str, &str),
        max: u32,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError>;

    /// Number of entries of all tenants.
    async fn count_suppressions(&self) -> Result<i64, ControlStoreError>;

    /// Tenants and addresses of all entries behind `after`, at most `max`: what fills a filter in memory.
    async fn all_suppressions(
        &self,
        after: (&str, &str),
        max: u32,
    ) -> Result<Vec<(String, String)>, ControlStoreError>;
}

type Row = (String, String, String, String, String, Option<String>, i64);

const COLUMNS: &str = "id, address, stream, reason, detail, message_id, created_at";
/// The conditions of a filter; `$1` is the tenant. A condition that is null is true.
const MATCHES: &str = "tenant = $1 AND ($2 IS NULL OR address = $2) AND ($3 IS NULL OR domain = $3) \
     AND ($4 IS NULL OR stream = $4) AND ($5 IS NULL OR reason = $5) \
     AND ($6 IS NULL OR created_at >= $6) AND ($7 IS NULL OR created_at < $7) \
     AND ($8 IS NULL OR id = $8)";

fn record((id, address, stream, reason, detail, message_id, created_at): Row) -> SuppressionRecord {
    SuppressionRecord { id, address, stream, reason, detail, message_id, created_at }
}

/// Binds tenant and filter as [`MATCHES`] numbers them.
macro_rules! bound {
    ($query:expr, $tenant:expr, $filter:expr) => {
        $query
            .bind($tenant)
            .bind(&$filter.address)
            .bind(&$filter.domain)
            .bind(&$filter.stream)
            .bind(&$filter.reason)
            .bind($filter.since)
            .bind($filter.until)
            .bind(&$filter.id)
    };
}

#[async_trait]
impl SuppressionStore for ControlStore {
    async fn add_suppressions(
        &self,
        tenant: &str,
        entries: &[SuppressionRecord],
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        writing!(self, transaction => {
            let mut added = Vec::new();
            for entry in entries {
                let domain = entry.address.rsplit_once('@').map_or("", |(_, domain)| domain);
                let done = sqlx::query(
                    "INSERT INTO suppression \
                     (tenant, id, address, stream, domain, reason, detail, message_id, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
                )
                .bind(tenant)
                .bind(&entry.id)
                .bind(&entry.address)
                .bind(&entry.stream)
                .bind(domain)
                .bind(&entry.reason)
                .bind(&entry.detail)
                .bind(&entry.message_id)
                .bind(entry.created_at)
                .execute(&mut *transaction)
                .await?;
                if done.rows_affected() > 0 {
                    added.push(entry.clone());
                }
            }
            added
        })
    }

    async fn remove_suppressions(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
        max: u32,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        let sql = format!(
            "DELETE FROM suppression WHERE (tenant, address, stream) IN \
             (SELECT tenant, address, stream FROM suppression WHERE {MATCHES} \
              ORDER BY address, stream LIMIT $9) RETURNING {COLUMNS}"
        );
        writing!(self, transaction => {
            let query = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql));
            let rows = bound!(query, tenant, filter).bind(i64::from(max)).fetch_all(&mut *transaction).await?;
            let mut removed: Vec<_> = rows.into_iter().map(record).collect();
            removed.sort_by(|a, b| (&a.address, &a.stream).cmp(&(&b.address, &b.stream)));
            removed
        })
    }

    async fn suppressions_of(
        &self,
        tenant: &str,
        address: &str,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        let filter = SuppressionFilter { address: Some(address.to_owned()), ..SuppressionFilter::default() };
        self.suppressions(tenant, &filter, ("", ""), 1_000).await
    }

    async fn suppressions(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
        after: (&str, &str),
        max: u32,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM suppression WHERE {MATCHES} AND (address, stream) > ($9, $10) \
             ORDER BY address, stream LIMIT $11"
        );
        let rows: Vec<Row> = reading!(self, pool => {
            let query = sqlx::query_as(sqlx::AssertSqlSafe(sql));
            bound!(query, tenant, filter)
                .bind(after.0)
                .bind(after.1)
                .bind(i64::from(max))
                .fetch_all(pool)
                .await?
        });
        Ok(rows.into_iter().map(record).collect())
    }

    async fn count_suppressions(&self) -> Result<i64, ControlStoreError> {
        Ok(reading!(self, pool => {
            sqlx::query_scalar::<_, i64>("SELECT count(*) FROM suppression").fetch_one(pool).await?
        }))
    }

    async fn all_suppressions(
        &self,
        after: (&str, &str),
        max: u32,
    ) -> Result<Vec<(String, String)>, ControlStoreError> {
        Ok(reading!(self, pool => {
            sqlx::query_as(
                "SELECT DISTINCT tenant, address FROM suppression WHERE (tenant, address) > ($1, $2) \
                 ORDER BY tenant, address LIMIT $3",
            )
            .bind(after.0)
            .bind(after.1)
            .bind(i64::from(max))
            .fetch_all(pool)
            .await?
        }))
    }
}
