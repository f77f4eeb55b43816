//! MTA-STS policies, and tallies for TLS reports.

use async_trait::async_trait;

use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError};

/// An MTA-STS policy of a recipient domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicyRecord {
    /// The domain in A-labels.
    pub domain: String,
    /// The id of its TXT record when it was fetched.
    pub id: String,
    /// The policy file as it was fetched.
    pub body: String,
    /// When it was fetched, in milliseconds since 1970.
    pub fetched_at: i64,
    /// When it lapses, in milliseconds since 1970.
    pub expires_at: i64,
    /// When its renewal is tried next, in milliseconds since 1970.
    pub renew_at: i64,
}

/// What a node found of the TLS of a recipient domain on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsTallyRecord {
    /// Days since 1970 in UTC.
    pub day: i64,
    /// The policy domain in A-labels.
    pub domain: String,
    /// The node that counted.
    pub node: String,
    /// The counts, as JSON.
    pub body: String,
}

/// What the TLS of recipient domains is remembered by.
#[async_trait]
pub trait TlsStore: Send + Sync {
    /// The policy of a domain that lapses after `now`.
    async fn sts_policy(&self, domain: &str, now: i64) -> Result<Option<StsPolicyRecord>, ControlStoreError>;

    /// Stores a policy in the place of that of its domain.
    async fn put_sts_policy(&self, policy: &StsPolicyRecord) -> Result<(), ControlStoreError>;

    /// Takes policies whose renewal is due, at most `most`, those that wait longest first. Each is due
    /// again at `retry_at`, whatever becomes of it: one whose host hangs gets behind all others, and
    /// two nodes do not take the same. Policies that have lapsed are deleted.
    async fn take_stale_sts_policies(
        &self,
        now: i64,
        retry_at: i64,
        most: u32,
    ) -> Result<Vec<StsPolicyRecord>, ControlStoreError>;

    /// How many policies there are.
    async fn count_sts_policies(&self) -> Result<u64, ControlStoreError>;

    /// Tallies of a node.
    async fn tls_tallies(&self, node: &str) -> Result<Vec<TlsTallyRecord>, ControlStoreError>;

    /// Stores tallies in the place of those of their day, domain and node.
    async fn put_tls_tallies(&self, tallies: &[TlsTallyRecord]) -> Result<(), ControlStoreError>;

    /// Deletes the tally of a day, domain and node: it was reported, or nobody wants a report.
    async fn delete_tls_tally(&self, day: i64, domain: &str, node: &str) -> Result<(), ControlStoreError>;
}

type PolicyRow = (String, String, String, i64, i64, i64);

fn policy((domain, id, body, fetched_at, expires_at, renew_at): PolicyRow) -> StsPolicyRecord {
    StsPolicyRecord { domain, id, body, fetched_at, expires_at, renew_at }
}

#[async_trait]
impl TlsStore for ControlStore {
    async fn sts_policy(&self, domain: &str, now: i64) -> Result<Option<StsPolicyRecord>, ControlStoreError> {
        let row: Option<PolicyRow> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT domain, id, body, fetched_at, expires_at, renew_at FROM mta_sts_policy \
                 WHERE domain = $1 AND expires_at > $2",
            )
            .bind(domain)
            .bind(now)
            .fetch_optional(pool)
            .await?
        });
        Ok(row.map(policy))
    }

    async fn put_sts_policy(&self, policy: &StsPolicyRecord) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query(
                "INSERT INTO mta_sts_policy (domain, id, body, fetched_at, expires_at, renew_at) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (domain) DO UPDATE SET id = excluded.id, \
                 body = excluded.body, fetched_at = excluded.fetched_at, \
                 expires_at = excluded.expires_at, renew_at = excluded.renew_at",
            )
            .bind(&policy.domain)
            .bind(&policy.id)
            .bind(&policy.body)
            .bind(policy.fetched_at)
            .bind(policy.expires_at)
            .bind(policy.renew_at)
            .execute(&mut *transaction)
            .await?;
        })
    }

    async fn take_stale_sts_policies(
        &self,
        now: i64,
        retry_at: i64,
        most: u32,
    ) -> Result<Vec<StsPolicyRecord>, ControlStoreError> {
        let rows: Result<Vec<PolicyRow>, ControlStoreError> = writing!(self, transaction => {
            sqlx::query("DELETE FROM mta_sts_policy WHERE expires_at <= $1")
                .bind(now)
                .execute(&mut *transaction)
                .await?;
            // The outer condition is for PostgreSQL: it is asked again once another node has let go
            // of the row.
            sqlx::query_as(
                "UPDATE mta_sts_policy SET renew_at = $2 WHERE renew_at <= $1 AND domain IN \
                 (SELECT domain FROM mta_sts_policy WHERE renew_at <= $1 ORDER BY renew_at, domain LIMIT $3) \
                 RETURNING domain, id, body, fetched_at, expires_at, renew_at",
            )
            .bind(now)
            .bind(retry_at)
            .bind(i64::from(most))
            .fetch_all(&mut *transaction)
            .await?
        });
        let mut policies: Vec<_> = rows?.into_iter().map(policy).collect();
        policies.sort_by(|a, b| a.domain.cmp(&b.domain));
        Ok(policies)
    }

    async fn count_sts_policies(&self) -> Result<u64, ControlStoreError> {
        let count: i64 = reading!(self, pool => {
            sqlx::query_scalar("SELECT COUNT(*) FROM mta_sts_policy").fetch_one(pool).await?
        });
        Ok(count.unsigned_abs())
    }

    async fn tls_tallies(&self, node: &str) -> Result<Vec<TlsTallyRecord>, ControlStoreError> {
        let rows: Vec<(i64, String, String, String)> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT day, domain, node, body FROM tls_tally WHERE node = $1 ORDER BY day, domain",
            )
            .bind(node)
            .fetch_all(pool)
            .await?
        });
        let record = |(day, domain, node, body)| TlsTallyRecord { day, domain, node, body };
        Ok(rows.into_iter().map(record).collect())
    }

    async fn put_tls_tallies(&self, tallies: &[TlsTallyRecord]) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            for tally in tallies {
                sqlx::query(
                    "INSERT INTO tls_tally (day, domain, node, body) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (day, domain, node) DO UPDATE SET body = excluded.body",
                )
                .bind(tally.day)
                .bind(&tally.domain)
                .bind(&tally.node)
                .bind(&tally.body)
                .execute(&mut *transaction)
                .await?;
            }
        })
    }

    async fn delete_tls_tally(&self, day: i64, domain: &str, node: &str) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("DELETE FROM tls_tally WHERE day = $1 AND domain = $2 AND node = $3")
                .bind(day)
                .bind(domain)
                .bind(node)
                .execute(&mut *transaction)
                .await?;
        })
    }
}
