//! Quotas that nodes share. A node takes slices of what is left: the store counts them before a
//! recipient is accepted. So the sum over all nodes never exceeds a quota, whatever becomes of a node.
//! A slice that is not used comes back after some seconds; that of a node that died is lost to its
//! period. No allotter is asked: the rows of the store are the one place already, and outlive every
//! node.

use relevo_store::{ControlStoreError, QuotaSettings, QuotaUse};
use tracing::warn;

use super::{Count, Millis, Period, Quotas, current};

/// A slice that is not used for this long is given back.
pub(super) const IDLE: Millis = 10_000;
/// Recipients in a slice at most, beside those of the message that it is taken for.
const LARGEST: i64 = 1_000;
/// The part of what is left that a slice is: so the last recipients are not kept by one node.
const PART: i64 = 16;

impl Count {
    /// Counts recipients; fewer than none give some back.
    pub(super) fn take(&mut self, recipients: i64, is_sliced: bool, now: Millis) {
        if is_sliced {
            self.slice = self.slice.saturating_sub(recipients);
            self.sliced_at = now;
        } else {
            self.added = self.added.saturating_add(recipients);
        }
    }
}

/// A slice that is wanted.
struct WantedSlice {
    period: Period,
    limit: i64,
    wanted: QuotaUse,
}

impl Quotas {
    /// Has nodes that use the same store never exceed a quota together. [`Self::prepare`] must be
    /// called before recipients are taken.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    /// Sees to it that this node has slices for so many recipients of a tenant, if they are left. Does
    /// nothing where quotas are not shared. If the store fails, this is logged, and recipients beyond
    /// the slices are refused.
    pub async fn prepare(&self, tenant: &str, limits: &QuotaSettings, recipients: usize) {
        if !self.is_shared || self.wanted(tenant, limits, recipients).is_empty() {
            return;
        }
        let _one = self.slicing.lock().await;
        let wanted = self.wanted(tenant, limits, recipients);
        if wanted.is_empty() {
            return;
        }
        if let Err(error) = self.take_slices(tenant, &wanted).await {
            warn!(%error, tenant, "no part of a quota can be taken from the store: messages are refused");
        }
    }

    /// The slices that are too short.
    fn wanted(&self, tenant: &str, limits: &QuotaSettings, recipients: usize) -> Vec<WantedSlice> {
        let now = self.clock.now();
        let recipients = i64::try_from(recipients).unwrap_or(i64::MAX);
        let mut counts = self.counts.lock();
        let of_tenant = current(&mut counts, tenant, now);
        let each = Period::ALL.into_iter().filter_map(|period| {
            let limit = i64::try_from(period.limit(limits)?).unwrap_or(i64::MAX);
            let count = &of_tenant[period as usize];
            let missing = recipients.saturating_sub(count.slice);
            // More than there ever is: the refusal needs no store.
            if missing <= 0 || recipients > limit {
                return None;
            }
            let left = limit.saturating_sub(count.stored).max(0);
            let used = missing.saturating_add((left / PART).min(LARGEST));
            let (tenant, starts_at) = (tenant.to_owned(), count.starts_at);
            let wanted = QuotaUse { tenant, period: period.name().to_owned(), starts_at, used };
            Some(WantedSlice { period, limit, wanted })
        });
        each.collect()
    }

    async fn take_slices(&self, tenant: &str, slices: &[WantedSlice]) -> Result<(), ControlStoreError> {
        let uses: Vec<QuotaUse> = slices.iter().map(|slice| slice.wanted.clone()).collect();
        let sums = self.store.add_quota_uses(&uses).await?;
        let now = self.clock.now();
        {
            let mut counts = self.counts.lock();
            let of_tenant = current(&mut counts, tenant, now);
            for (slice, sum) in slices.iter().zip(sums) {
                let count = &mut of_tenant[slice.period as usize];
                // Another period may have begun meanwhile: what was taken of the last one is lost to it.
                if count.starts_at != slice.wanted.starts_at {
                    continue;
                }
                let before = sum.saturating_sub(slice.wanted.used);
                let granted = slice.limit.saturating_sub(before).clamp(0, slice.wanted.used);
                count.stored = sum;
                count.slice = count.slice.saturating_add(granted);
                count.sliced_at = now;
                // What was counted beyond the quota.
                count.added = count.added.saturating_sub(slice.wanted.used.saturating_sub(granted));
            }
        }
        self.write_back().await;
        Ok(())
    }

    /// Writes at once what was counted too much: other nodes would refuse recipients for it.
    async fn write_back(&self) {
        let _one = self.writing.lock().await;
        let uses: Vec<QuotaUse> = self.unwritten().into_iter().filter(|quota| quota.used < 0).collect();
        if uses.is_empty() {
            return;
        }
        match self.store.add_quota_uses(&uses).await {
            Ok(sums) => self.written(&uses, &sums),
            Err(error) => warn!(%error, "recipients cannot be given back to a quota: later"),
        }
    }

    /// Gives back slices that were not used for a while.
    pub(super) fn end_slices(&self) {
        let idle_since = self.clock.now().saturating_sub(IDLE);
        self.end_slices_of(|count| count.sliced_at <= idle_since);
    }

    /// Gives back all slices, before a stop. [`Self::write`] tells the store.
    pub fn end_all_slices(&self) {
        self.end_slices_of(|_| true);
    }

    fn end_slices_of(&self, is_over: impl Fn(&Count) -> bool) {
        if !self.is_shared {
            return;
        }
        let mut counts = self.counts.lock();
        for count in counts.values_mut().flatten().filter(|count| count.slice > 0 && is_over(count)) {
            count.added = count.added.saturating_sub(count.slice);
            count.slice = 0;
        }
    }
}
