//! What operators see of shaping and change.

use std::net::IpAddr;
use std::time::Duration;

use relevo_queue::{Millis, QueueKey};
use serde::Serialize;

use super::DeliveryHandle;
use super::route;
use super::schedule::millis;
use crate::shaping::{
    ShapingChange, ShapingReport, Suspended, SuspendedBy, Suspension, SuspensionReport, WarmupClaim,
    WarmupCount, WarmupKey, WarmupReport,
};

/// What happens to mail to a domain, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DomainShaping {
    /// The recipients' domain.
    pub domain: String,
    /// The provider that it belongs to.
    pub provider: String,
    /// Its MX hosts, with the pool.
    pub site: String,
    /// What holds its mail that names no pool, in words; absent: nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// The provider's limits, and what goes there now. One provider.
    pub shaping: ShapingReport,
}

impl DeliveryHandle {
    /// Rates, connections and suspensions.
    #[must_use]
    pub fn shaping(&self) -> ShapingReport {
        self.shared.table().shaping_report(self.shared.steady())
    }

    /// Where each address stands that is warmed up.
    #[must_use]
    pub fn warmups(&self) -> Vec<WarmupReport> {
        self.shared.table().warmup_report()
    }

    /// The same for one domain, which is looked up.
    ///
    /// # Errors
    /// Why it has no hosts.
    pub async fn shaping_of(&self, domain: &str) -> Result<DomainShaping, String> {
        let (_, settings) = self.shared.settings();
        let key = QueueKey::of_domain(domain);
        let found = route::find(&*self.shared.resolve, &*settings, &key).await;
        let found = found.map_err(|failure| failure.detail)?;
        let provider = found.path.shaping.provider.name.clone();
        let steady = self.shared.steady();
        let table = self.shared.table();
        let mut shaping = table.shaping_report(steady);
        shaping.providers.retain(|report| report.name == provider);
        shaping.suspensions.retain(|report| report.provider == provider);
        Ok(DomainShaping {
            domain: domain.to_owned(),
            site: found.site.to_string(),
            hold: table.hold_of_path(&found.path, steady).map(|hold| hold.to_string()),
            provider,
            shaping,
        })
    }

    /// The name of the provider of a domain, whose mail may go over any pool or route.
    ///
    /// # Errors
    /// Why it has no hosts.
    pub async fn provider_of(&self, domain: &str) -> Result<String, String> {
        let (_, settings) = self.shared.settings();
        let key = QueueKey::of_domain(domain);
        let found = route::find(&*self.shared.resolve, &*settings, &key).await;
        found.map(|found| found.path.shaping.provider.name.clone()).map_err(|failure| failure.detail)
    }

    /// Suspends mail of a subject to a provider for so long. A suspension of the same subject there
    /// has this end from now on.
    pub async fn suspend(
        &self,
        subject: Suspended,
        provider: &str,
        span: Duration,
        (operator, reason): (&str, &str),
    ) -> SuspensionReport {
        let since = self.shared.now();
        let suspension = Suspension {
            subject,
            provider: provider.to_owned(),
            since,
            until: since.saturating_add(millis(span)),
            by: SuspendedBy::Operator,
            author: operator.to_owned(),
            reason: relevo_mailkit::text::one_line(reason, 300),
        };
        let id = suspension.id();
        let (before, begun) = {
            let mut table = self.shared.table();
            let before = table.shaping().suspensions().into_iter().find(|other| other.id() == id);
            (before, table.shaping_mut().suspend(suspension))
        };
        if let Some(before) = before.filter(|before| before.until > begun.until) {
            self.hasten(before.until).await;
        }
        self.shared.shaping_changed.notify_one();
        self.shared.work.notify_one();
        SuspensionReport::from(&*begun)
    }

    /// Ends a suspension early: its mail is due at once. None: there is none of this name.
    pub async fn resume(&self, id: &str, operator: &str) -> Option<SuspensionReport> {
        let ended = self.shared.table().shaping_mut().resume(id, operator)?;
        self.hasten(ended.until).await;
        self.shared.shaping_changed.notify_one();
        self.shared.work.notify_one();
        Some(SuspensionReport::from(&*ended))
    }

    /// Ends what refusals of a provider made of its rate.
    pub fn reset_rates(&self, provider: &str) {
        self.shared.with_table(|table| table.reset_rates(provider, self.shared.steady()));
    }

    async fn hasten(&self, until: Millis) {
        let keys = self.shared.table().put_off_keys(until);
        self.shared.queue.hasten(&keys, until, self.shared.now()).await;
    }

    /// A recipient complained about a message that this MX host took. It counts in warm-up, against
    /// `source`, where that is an address of ours: it is the one that the reporter saw.
    pub fn complained(&self, mx: &str, source: Option<IpAddr>) {
        let (_, settings) = self.shared.settings();
        let delivery = settings.delivery();
        let provider = delivery.shaping.provider([mx]);
        let source = source.map(|ip| ip.to_canonical()).filter(|ip| delivery.has_source(*ip));
        self.shared.table().shaping_mut().complained(&provider.name, source);
    }

    /// Suspensions that began or ended since the last call.
    #[must_use]
    pub fn take_shaping_changes(&self) -> Vec<ShapingChange> {
        self.shared.table().shaping_mut().take_changes()
    }

    /// Waits until [`Self::take_shaping_changes`] may have something.
    pub async fn shaping_changed(&self) {
        self.shared.shaping_changed.notified().await;
    }

    /// Counts of warm-up that the store has to know before more is sent; tell
    /// [`Self::stored_warmups`].
    #[must_use]
    pub fn unstored_warmups(&self) -> Vec<(WarmupKey, WarmupCount)> {
        self.shared.table().shaping().unstored()
    }

    /// The store has these.
    pub fn stored_warmups(&self, stored: &[(WarmupKey, WarmupCount)]) {
        self.shared.with_table(|table| table.shaping_mut().wrote(stored));
    }

    /// Whether nodes share the counts of warm-up: then the store's are changed by claims.
    #[must_use]
    pub fn shares_warmups(&self) -> bool {
        self.shared.table().shaping().shares().is_some()
    }

    /// As [`crate::shaping::Shaping::claims_wanted`].
    #[must_use]
    pub fn warmup_claims(&self, is_last: bool) -> Vec<WarmupKey> {
        self.shared.table().shaping_mut().claims_wanted(is_last)
    }

    /// As [`crate::shaping::Shaping::claim`].
    #[must_use]
    pub fn claim_warmup(
        &self,
        key: &WarmupKey,
        row: Option<&WarmupCount>,
        is_last: bool,
    ) -> Option<WarmupClaim> {
        self.shared.table().shaping_mut().claim(key, row, is_last)
    }

    /// As [`crate::shaping::Shaping::claimed`].
    pub fn claimed_warmup(&self, key: &WarmupKey, claim: &WarmupClaim, is_made: bool) {
        self.shared.with_table(|table| table.shaping_mut().claimed(key, claim, is_made));
    }

    /// Counts of warm-up as they are, for a stop after which nothing is sent.
    #[must_use]
    pub fn final_warmups(&self) -> Vec<(WarmupKey, WarmupCount)> {
        self.shared.table().shaping().final_counts()
    }
}
