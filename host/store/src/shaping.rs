//! Suspensions and counts of warm-up, which survive a restart.

use async_trait::async_trait;

use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError};

/// A suspension: mail of a subject to a provider waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspensionRecord {
    /// `source:ADDRESS`, `source:system`, `pool:NAME` or `tenant:ID`.
    pub subject: String,
    /// Name of the provider.
    pub provider: String,
    /// When it was made, in milliseconds since 1970.
    pub since: i64,
    /// When it ends, in milliseconds since 1970.
    pub until: i64,
    /// `rule` or `operator`.
    pub made_by: String,
    /// The rule or the operator.
    pub author: String,
    /// Words of the receiver or the operator.
    pub reason: String,
}

/// Warm-up of a source address at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmupRecord {
    /// The address.
    pub address: String,
    /// Name of the provider.
    pub provider: String,
    /// Day of the counts: days since 1970 in UTC.
    pub day: i64,
    /// Step of the ladder.
    pub step: i64,
    /// Recipients that may have been sent to.
    pub used: i64,
    /// Recipients that were accepted.
    pub accepted: i64,
    /// Recipients that were deferred or refused because of the sender.
    pub deferred: i64,
    /// Complaints.
    pub complaints: i64,
    /// Where nodes share the address: the last hour that was counted, since 1970.
    pub hour: i64,
    /// Of `used`, what this hour has.
    pub in_hour: i64,
    /// Why the step is what it is.
    pub note: String,
}

/// What shaping keeps.
#[async_trait]
pub trait ShapingStore: Send + Sync {
    /// Suspensions that end after `now`. Others are deleted.
    async fn suspensions(&self, now: i64) -> Result<Vec<SuspensionRecord>, ControlStoreError>;

    /// Stores a suspension in the place of the one of its subject and provider.
    async fn put_suspension(&self, suspension: &SuspensionRecord) -> Result<(), ControlStoreError>;

    /// Deletes the suspension of a subject at a provider that ends at `until`.
    async fn delete_suspension(
        &self,
        subject: &str,
        provider: &str,
        until: i64,
    ) -> Result<(), ControlStoreError>;

    /// Ends after `now` of suspensions that ended earlier. Others are deleted.
    async fn early_ends(&self, now: i64) -> Result<Vec<i64>, ControlStoreError>;

    /// A suspension that was to end at `until`, in milliseconds since 1970, ends earlier.
    async fn put_early_end(&self, until: i64) -> Result<(), ControlStoreError>;

    /// All counts of warm-up.
    async fn warmups(&self) -> Result<Vec<WarmupRecord>, ControlStoreError>;

    /// Stores counts in the place of those of their addresses and providers.
    async fn put_warmups(&self, warmups: &[WarmupRecord]) -> Result<(), ControlStoreError>;

    /// The counts of an address at a provider.
    async fn warmup(&self, address: &str, provider: &str) -> Result<Option<WarmupRecord>, ControlStoreError>;

    /// Stores counts if those of the address and the provider are `before`. False: another node has
    /// changed them.
    async fn exchange_warmup(
        &self,
        before: Option<&WarmupRecord>,
        after: &WarmupRecord,
    ) -> Result<bool, ControlStoreError>;
}

type SuspensionRow = (String, String, i64, i64, String, String, String);
type WarmupRow = (String, String, i64, i64, i64, i64, i64, i64, i64, i64, String);

fn warmup_record(row: WarmupRow) -> WarmupRecord {
    let (address, provider, day, step, used, accepted, deferred, complaints, hour, in_hour, note) = row;
    WarmupRecord { address, provider, day, step, used, accepted, deferred, complaints, hour, in_hour, note }
}

#[async_trait]
impl ShapingStore for ControlStore {
    async fn suspensions(&self, now: i64) -> Result<Vec<SuspensionRecord>, ControlStoreError> {
        let rows: Result<Vec<SuspensionRow>, ControlStoreError> = writing!(self, transaction => {
            sqlx::query("DELETE FROM shaping_suspension WHERE until <= $1")
                .bind(now)
                .execute(&mut *transaction)
                .await?;
            sqlx::query_as(
                "SELECT subject, provider, since, until, made_by, author, reason \
                 FROM shaping_suspension ORDER BY subject, provider",
            )
            .fetch_all(&mut *transaction)
            .await?
        });
        let record = |(subject, provider, since, until, made_by, author, reason): SuspensionRow| {
            SuspensionRecord { subject, provider, since, until, made_by, author, reason }
        };
        Ok(rows?.into_iter().map(record).collect())
    }

    async fn put_suspension(&self, suspension: &SuspensionRecord) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query(
                "INSERT INTO shaping_suspension (subject, provider, since, until, made_by, author, reason) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (subject, provider) DO UPDATE SET \
                 since = excluded.since, until = excluded.until, made_by = excluded.made_by, \
                 author = excluded.author, reason = excluded.reason",
            )
            .bind(&suspension.subject)
            .bind(&suspension.provider)
            .bind(suspension.since)
            .bind(suspension.until)
            .bind(&suspension.made_by)
            .bind(&suspension.author)
            .bind(&suspension.reason)
            .execute(&mut *transaction)
            .await?;
        })
    }

    async fn delete_suspension(
        &self,
        subject: &str,
        provider: &str,
        until: i64,
    ) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query(
                "DELETE FROM shaping_suspension WHERE subject = $1 AND provider = $2 AND until = $3",
            )
            .bind(subject)
            .bind(provider)
            .bind(until)
            .execute(&mut *transaction)
            .await?;
        })
    }

    async fn early_ends(&self, now: i64) -> Result<Vec<i64>, ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("DELETE FROM shaping_early_end WHERE until <= $1")
                .bind(now)
                .execute(&mut *transaction)
                .await?;
            sqlx::query_scalar("SELECT until FROM shaping_early_end ORDER BY until")
                .fetch_all(&mut *transaction)
                .await?
        })
    }

    async fn put_early_end(&self, until: i64) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("INSERT INTO shaping_early_end (until) VALUES ($1) ON CONFLICT (until) DO NOTHING")
                .bind(until)
                .execute(&mut *transaction)
                .await?;
        })
    }

    async fn warmups(&self) -> Result<Vec<WarmupRecord>, ControlStoreError> {
        let rows: Vec<WarmupRow> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT address, provider, day, step, used, accepted, deferred, complaints, hour, in_hour, \
                 note FROM warmup ORDER BY address, provider",
            )
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(warmup_record).collect())
    }

    async fn warmup(&self, address: &str, provider: &str) -> Result<Option<WarmupRecord>, ControlStoreError> {
        let row: Option<WarmupRow> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT address, provider, day, step, used, accepted, deferred, complaints, hour, in_hour, \
                 note FROM warmup WHERE address = $1 AND provider = $2",
            )
            .bind(address)
            .bind(provider)
            .fetch_optional(pool)
            .await?
        });
        Ok(row.map(warmup_record))
    }

    async fn exchange_warmup(
        &self,
        before: Option<&WarmupRecord>,
        after: &WarmupRecord,
    ) -> Result<bool, ControlStoreError> {
        let sql = match before {
            None => {
                "INSERT INTO warmup (address, provider, day, step, used, accepted, deferred, complaints, hour, \
                 in_hour, note) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
                 ON CONFLICT (address, provider) DO NOTHING"
            }
            Some(_) => {
                "UPDATE warmup SET day = $3, step = $4, used = $5, accepted = $6, deferred = $7, \
                 complaints = $8, hour = $9, in_hour = $10, note = $11 \
                 WHERE address = $1 AND provider = $2 AND day = $12 AND step = $13 AND used = $14 \
                 AND accepted = $15 AND deferred = $16 AND complaints = $17 AND hour = $18 \
                 AND in_hour = $19 AND note = $20"
            }
        };
        writing!(self, transaction => {
            let query = sqlx::query(sql)
                .bind(&after.address)
                .bind(&after.provider)
                .bind(after.day)
                .bind(after.step)
                .bind(after.used)
                .bind(after.accepted)
                .bind(after.deferred)
                .bind(after.complaints)
                .bind(after.hour)
                .bind(after.in_hour)
                .bind(&after.note);
            let query = match before {
                None => query,
                Some(before) => query
                    .bind(before.day)
                    .bind(before.step)
                    .bind(before.used)
                    .bind(before.accepted)
                    .bind(before.deferred)
                    .bind(before.complaints)
                    .bind(before.hour)
                    .bind(before.in_hour)
                    .bind(&before.note),
            };
            query.execute(&mut *transaction).await?.rows_affected() == 1
        })
    }

    async fn put_warmups(&self, warmups: &[WarmupRecord]) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            for warmup in warmups {
                sqlx::query(
                    "INSERT INTO warmup (address, provider, day, step, used, accepted, deferred, \
                     complaints, hour, in_hour, note) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
                     ON CONFLICT (address, provider) DO UPDATE SET day = excluded.day, \
                     step = excluded.step, used = excluded.used, accepted = excluded.accepted, \
                     deferred = excluded.deferred, complaints = excluded.complaints, hour = excluded.hour, \
                     in_hour = excluded.in_hour, note = excluded.note",
                )
                .bind(&warmup.address)
                .bind(&warmup.provider)
                .bind(warmup.day)
                .bind(warmup.step)
                .bind(warmup.used)
                .bind(warmup.accepted)
                .bind(warmup.deferred)
                .bind(warmup.complaints)
                .bind(warmup.hour)
                .bind(warmup.in_hour)
                .bind(&warmup.note)
                .execute(&mut *transaction)
                .await?;
            }
        })
    }
}
