//! Quotas of tenants: recipients in a calendar hour, day and month, in UTC. API and SMTP alike.
//!
//! Counts are in memory, and every few seconds what was added goes to the store. So a relay that is
//! killed forgets the recipients of these seconds, and nodes that share a store learn of each
//! other's recipients as late as that.
//!
//! Nodes of a cluster must not exceed a quota together ([`Quotas::shared`]). There, recipients are
//! counted in the store before they are accepted, in slices: see `shared`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use relevo_queue::Millis;
use relevo_store::{ControlStoreError, QuotaSettings, QuotaStore, QuotaUse};
use tracing::warn;

use crate::clock::{Clock, timestamp};

mod shared;

const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;
/// Time between two writings.
const WRITE: Duration = Duration::from_secs(2);
/// Rows of periods that began before this are deleted: a month has at most 31 days.
const KEEP: Millis = 40 * DAY;
/// Time between two deletions.
const PRUNE: Millis = HOUR;

/// A period of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// A calendar hour.
    Hour,
    /// A calendar day.
    Day,
    /// A calendar month.
    Month,
}

impl Period {
    /// From the shortest.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// Its name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    fn limit(self, limits: &QuotaSettings) -> Option<u64> {
        match self {
            Self::Hour => limits.hour,
            Self::Day => limits.day,
            Self::Month => limits.month,
        }
    }

    /// The beginning of the period that `now` is in, and that of the next one.
    fn bounds(self, now: Millis) -> (Millis, Millis) {
        let fixed = |length: Millis| {
            let start = now - now.rem_euclid(length);
            (start, start.saturating_add(length))
        };
        match self {
            Self::Hour => fixed(HOUR),
            Self::Day => fixed(DAY),
            // Only a clock beyond the year 9999 has no calendar.
            Self::Month => month(now).unwrap_or_else(|| fixed(30 * DAY)),
        }
    }
}

/// The beginning of the month that `now` is in, and that of the next one.
fn month(now: Millis) -> Option<(Millis, Millis)> {
    let date = Timestamp::from_millisecond(now).ok()?.to_zoned(TimeZone::UTC).date();
    let starts_at = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond());
    Some((starts_at(date.first_of_month())?, starts_at(date.last_of_month().tomorrow().ok()?)?))
}

/// Recipients in one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodUse {
    /// Recipients of accepted messages.
    pub used: u64,
    /// The most of them.
    pub limit: Option<u64>,
    /// The beginning of the next period.
    pub ends_at: Millis,
}

/// More recipients than a quota has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// The quota that ends last of those that have too little left.
    pub period: Period,
    /// Its size.
    pub limit: u64,
    /// What is left of it.
    pub remaining: u64,
    /// The beginning of the next period.
    pub free_at: Millis,
    /// Time until then.
    pub retry_after: Duration,
}

impl std::fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (period, limit, remaining) = (self.period.name(), self.limit, self.remaining);
        let free_at = timestamp(self.free_at);
        write!(f, "quota of {limit} recipients a {period}: {remaining} are left until {free_at}")
    }
}

/// Recipients of a tenant in one period.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    starts_at: Millis,
    /// Of all nodes, as far as the store told.
    stored: i64,
    /// Counted here, and not stored yet.
    added: i64,
    /// Of `stored`, the slice of this node that is not used yet.
    slice: i64,
    /// When the slice was last used.
    sliced_at: Millis,
}

impl Count {
    fn total(&self) -> u64 {
        u64::try_from(self.stored.saturating_add(self.added).saturating_sub(self.slice)).unwrap_or(0)
    }
}

type Counts = HashMap<String, [Count; 3]>;

/// The quotas of all tenants.
pub struct Quotas {
    store: Arc<dyn QuotaStore>,
    clock: Arc<dyn Clock>,
    counts: Mutex<Counts>,
    /// Held while counts are written, so that no count is written twice.
    writing: tokio::sync::Mutex<Millis>,
    /// Several nodes must not exceed a quota together.
    is_shared: bool,
    /// Held while slices are taken, so that one is taken for many messages.
    slicing: tokio::sync::Mutex<()>,
}

/// Recipients that were counted. They are given back when it is dropped before
/// [`Self::keep`].
#[must_use]
pub struct QuotaReservation<'a> {
    quotas: &'a Quotas,
    tenant: String,
    recipients: i64,
    at: Millis,
    /// The periods of which they were taken from slices.
    sliced: [bool; 3],
}

impl QuotaReservation<'_> {
    /// The messages are on disk.
    pub fn keep(mut self) {
        self.recipients = 0;
    }
}

impl Drop for QuotaReservation<'_> {
    fn drop(&mut self) {
        if self.recipients != 0 {
            self.quotas.give_back(self);
        }
    }
}

impl Quotas {
    /// Quotas whose use is in this store. Nothing is read before [`Self::load`].
    #[must_use]
    pub fn new(store: Arc<dyn QuotaStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            counts: Mutex::default(),
            writing: tokio::sync::Mutex::new(0),
            is_shared: false,
            slicing: tokio::sync::Mutex::default(),
        }
    }

    /// Reads what was sent before the start.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(&self) -> Result<(), ControlStoreError> {
        let now = self.clock.now();
        let since = Period::Month.bounds(now).0.min(now.saturating_sub(KEEP));
        let uses = self.store.quota_uses(since).await?;
        let mut counts = self.counts.lock();
        for quota in uses {
            let Some(period) = Period::ALL.into_iter().find(|period| period.name() == quota.period) else {
                continue;
            };
            let count = &mut counts.entry(quota.tenant).or_default()[period as usize];
            if period.bounds(now).0 == quota.starts_at {
                *count = Count { starts_at: quota.starts_at, stored: quota.used, ..*count };
            }
        }
        Ok(())
    }

    /// Counts recipients, all of them or none.
    ///
    /// # Errors
    /// A quota has less left.
    pub fn take(
        &self,
        tenant: &str,
        limits: &QuotaSettings,
        recipients: usize,
    ) -> Result<QuotaReservation<'_>, QuotaExceeded> {
        let now = self.clock.now();
        let recipients = i64::try_from(recipients).unwrap_or(i64::MAX);
        let mut counts = self.counts.lock();
        let of_tenant = current(&mut counts, tenant, now);
        let wanted = recipients.unsigned_abs();
        for period in Period::ALL.into_iter().rev() {
            let Some(limit) = period.limit(limits) else { continue };
            let count = &of_tenant[period as usize];
            let remaining = limit.saturating_sub(count.total());
            let is_refused = if self.is_shared { recipients > count.slice } else { wanted > remaining };
            if is_refused {
                // What other nodes have or the store does not tell may be free sooner.
                let ends_at = period.bounds(now).1;
                let free_at = if wanted > remaining { ends_at } else { ends_at.min(now + shared::IDLE) };
                let left = u64::try_from(free_at.saturating_sub(now)).unwrap_or(0);
                let retry_after = Duration::from_millis(left);
                return Err(QuotaExceeded { period, limit, remaining, free_at, retry_after });
            }
        }
        let sliced = Period::ALL.map(|period| self.is_shared && period.limit(limits).is_some());
        for (count, is_sliced) in of_tenant.iter_mut().zip(sliced) {
            count.take(recipients, is_sliced, now);
        }
        Ok(QuotaReservation { quotas: self, tenant: tenant.to_owned(), recipients, at: now, sliced })
    }

    /// Use of this hour, day and month.
    #[must_use]
    pub fn uses(&self, tenant: &str, limits: &QuotaSettings) -> [PeriodUse; 3] {
        let now = self.clock.now();
        let counts = self.counts.lock();
        let of_tenant = counts.get(tenant).copied().unwrap_or_default();
        Period::ALL.map(|period| {
            let (starts_at, ends_at) = period.bounds(now);
            let count = of_tenant[period as usize];
            let used = if count.starts_at == starts_at { count.total() } else { 0 };
            PeriodUse { used, limit: period.limit(limits), ends_at }
        })
    }

    /// Gives recipients back to the periods that they were counted in, unless those have ended.
    fn give_back(&self, taken: &QuotaReservation<'_>) {
        let now = self.clock.now();
        let mut counts = self.counts.lock();
        let of_tenant = current(&mut counts, &taken.tenant, now);
        for period in Period::ALL {
            let count = &mut of_tenant[period as usize];
            if period.bounds(taken.at).0 == count.starts_at {
                count.take(-taken.recipients, taken.sliced[period as usize], now);
            }
        }
    }

    /// Writes what was counted since the last time, and learns what other nodes have counted. What
    /// cannot be written is written later.
    pub async fn write(&self) {
        let mut pruned_at = self.writing.lock().await;
        self.end_slices();
        let uses = self.unwritten();
        if !uses.is_empty() {
            match self.store.add_quota_uses(&uses).await {
                Ok(sums) => self.written(&uses, &sums),
                Err(error) => warn!(%error, "use of quotas cannot be stored, it is counted in memory"),
            }
        }
        let now = self.clock.now();
        if now.saturating_sub(*pruned_at) >= PRUNE {
            *pruned_at = now;
            if let Err(error) = self.store.prune_quota_uses(now.saturating_sub(KEEP)).await {
                warn!(%error, "old use of quotas cannot be deleted");
            }
        }
    }

    /// Writes every few seconds, until it is dropped.
    pub async fn run(&self) {
        loop {
            tokio::time::sleep(WRITE).await;
            self.write().await;
        }
    }

    fn unwritten(&self) -> Vec<QuotaUse> {
        let counts = self.counts.lock();
        let each = counts.iter().flat_map(|(tenant, counts)| {
            Period::ALL.into_iter().zip(counts).filter(|(_, count)| count.added != 0).map(
                |(period, count)| QuotaUse {
                    tenant: tenant.clone(),
                    period: period.name().to_owned(),
                    starts_at: count.starts_at,
                    used: count.added,
                },
            )
        });
        each.collect()
    }

    fn written(&self, uses: &[QuotaUse], sums: &[i64]) {
        let mut counts = self.counts.lock();
        for (written, sum) in uses.iter().zip(sums) {
            let period = Period::ALL.into_iter().find(|period| period.name() == written.period);
            let of_tenant = counts.get_mut(&written.tenant);
            let Some((of_tenant, period)) = of_tenant.zip(period) else { continue };
            let count = &mut of_tenant[period as usize];
            // Another period may have begun meanwhile.
            if count.starts_at == written.starts_at {
                count.stored = *sum;
                count.added -= written.used;
            }
        }
    }
}

/// The counts of a tenant, begun anew where a period has ended.
fn current<'a>(counts: &'a mut Counts, tenant: &str, now: Millis) -> &'a mut [Count; 3] {
    if !counts.contains_key(tenant) {
        counts.insert(tenant.to_owned(), <[Count; 3]>::default());
    }
    let of_tenant = counts.entry(tenant.to_owned()).or_default();
    for period in Period::ALL {
        let starts_at = period.bounds(now).0;
        let count = &mut of_tenant[period as usize];
        if count.starts_at != starts_at {
            *count = Count { starts_at, ..Count::default() };
        }
    }
    of_tenant
}

#[cfg(test)]
mod tests;
