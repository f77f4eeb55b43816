//! Use of tenants' quotas.

use async_trait::async_trait;

use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError};

/// Recipients of a tenant in one period.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaUse {
    /// Id of the tenant.
    pub tenant: String,
    /// `hour`, `day` or `month`.
    pub period: String,
    /// Beginning of the period, in milliseconds since 1970.
    pub starts_at: i64,
    /// Number of recipients.
    pub used: i64,
}

/// Use of quotas. Several nodes add to the same rows.
#[async_trait]
pub trait QuotaStore: Send + Sync {
    /// Adds each `used` to its row, which may be less than nothing. Returns the sums, in the order
    /// of `uses`.
    async fn add_quota_uses(&self, uses: &[QuotaUse]) -> Result<Vec<i64>, ControlStoreError>;

    /// Rows of periods that began at `since` or later.
    async fn quota_uses(&self, since: i64) -> Result<Vec<QuotaUse>, ControlStoreError>;

    /// Deletes rows of periods that began before `before`.
    async fn prune_quota_uses(&self, before: i64) -> Result<(), ControlStoreError>;
}

#[async_trait]
impl QuotaStore for ControlStore {
    async fn add_quota_uses(&self, uses: &[QuotaUse]) -> Result<Vec<i64>, ControlStoreError> {
        // One order for all writers: two that lock the same rows in two orders wait for each other.
        let mut ordered: Vec<(usize, &QuotaUse)> = uses.iter().enumerate().collect();
        ordered.sort_by(|a, b| a.1.cmp(b.1));
        writing!(self, transaction => {
            let mut sums = vec![0; uses.len()];
            for (index, quota) in ordered {
                let sum = sqlx::query_scalar::<_, i64>(
                    "INSERT INTO quota_use (tenant, period, starts_at, used) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (tenant, period, starts_at) \
                     DO UPDATE SET used = quota_use.used + excluded.used RETURNING used",
                )
                .bind(&quota.tenant)
                .bind(&quota.period)
                .bind(quota.starts_at)
                .bind(quota.used)
                .fetch_one(&mut *transaction)
                .await?;
                if let Some(place) = sums.get_mut(index) {
                    *place = sum;
                }
            }
            sums
        })
    }

    async fn quota_uses(&self, since: i64) -> Result<Vec<QuotaUse>, ControlStoreError> {
        let rows: Vec<(String, String, i64, i64)> = reading!(self, pool => {
            sqlx::query_as("SELECT tenant, period, starts_at, used FROM quota_use WHERE starts_at >= $1")
                .bind(since)
                .fetch_all(pool)
                .await?
        });
        let mut uses: Vec<_> = rows
            .into_iter()
            .map(|(tenant, period, starts_at, used)| QuotaUse { tenant, period, starts_at, used })
            .collect();
        uses.sort();
        Ok(uses)
    }

    async fn prune_quota_uses(&self, before: i64) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("DELETE FROM quota_use WHERE starts_at < $1")
                .bind(before)
                .execute(&mut *transaction)
                .await?;
        })
    }
}
