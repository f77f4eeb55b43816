//! The reader that follows the event log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relevo_mailkit::event::Event;
use relevo_mailkit::text::escaped;
use relevo_queue::{EventError, EventLog, Millis, StoredEvent};
use relevo_store::{
    ControlStoreError, SuppressionBatch, SuppressionFilter, SuppressionRecord, SuppressionRuleStore,
};
use tracing::{error, warn};

use super::brake::Brakes;
use super::fold::{Effects, Fold, NameProvider, RuleEntry, SettingsOf, counted_addresses};
use super::{SuppressionRuleMetrics, SuppressionRuleSettings};
use crate::suppressions::{MAX_DETAIL, SuppressionError, Suppressions};

/// Events of one page. A page also ends at about 1 MiB.
const PAGE: usize = 1_000;
/// Time in which events gather before they are read.
const GATHER: Duration = Duration::from_millis(200);
/// A position without effects before it is written so often: what is read again does nothing, and a
/// write costs a sync.
const IDLE_WRITE: Duration = Duration::from_secs(60);
/// Time after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// Time between two looks at how far the reader is behind.
const MEASURE: Duration = Duration::from_secs(10);
/// Time between two removals of what is old.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3_600);
/// Days after which counts without a further failure are forgotten. Many times what a rule looks at.
const KEEP_COUNTS_DAYS: i64 = 180;
/// Entries that are removed at once.
const REMOVED_AT_ONCE: u32 = 1_000;

const DAY: Millis = 86_400_000;

/// The name of the reader of one event log. The store may hold readers of several.
#[must_use]
pub fn suppression_reader_name(log: u64) -> String {
    format!("suppression:{log:016x}")
}

/// Follows the event log and adds suppressions by rules.
pub struct SuppressionRules {
    suppressions: Arc<Suppressions>,
    store: Arc<dyn SuppressionRuleStore>,
    events: Arc<dyn EventLog>,
    name: String,
    settings: SuppressionRuleSettings,
    of_tenant: Arc<SettingsOf>,
    provider: Arc<NameProvider>,
    metrics: SuppressionRuleMetrics,
    position: Option<Position>,
}

/// What the reader knows. After a failure it is read from the store again.
struct Position {
    /// As the store has it.
    stored: u64,
    /// What is read next comes after it.
    after: u64,
    written: Instant,
    brakes: Brakes,
}

/// Why events were not handled.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the event log cannot be read: {0}")]
    Events(#[from] EventError),
    #[error(transparent)]
    Store(#[from] ControlStoreError),
    #[error(transparent)]
    Suppressions(#[from] SuppressionError),
}

impl SuppressionRules {
    /// `name` is [`suppression_reader_name`] of the log. Of `settings`, those of a tenant may differ
    /// (`of_tenant`) but for `expire` and `incident`. `provider` names the provider of a recipient,
    /// after an attempt with an MX host if there was one.
    #[must_use]
    pub fn new(
        (suppressions, store): (Arc<Suppressions>, Arc<dyn SuppressionRuleStore>),
        events: Arc<dyn EventLog>,
        name: String,
        (settings, of_tenant): (SuppressionRuleSettings, Arc<SettingsOf>),
        provider: Arc<NameProvider>,
        metrics: SuppressionRuleMetrics,
    ) -> Self {
        Self { suppressions, store, events, name, settings, of_tenant, provider, metrics, position: None }
    }

    /// Handles events as they are written. Never returns. It may be dropped at any point: what was not
    /// handled then is handled by the next reader.
    pub async fn run(self) {
        let (events, suppressions, metrics) =
            (self.events.clone(), self.suppressions.clone(), self.metrics.clone());
        let measure = async move {
            loop {
                match metrics.position.delay(&*events, suppressions.clock.now()).await {
                    Ok(delay) => {
                        metrics.delay.set(delay.unwrap_or(0) / 1000);
                    }
                    Err(error) => error!(%error, "the delay of suppression rules cannot be measured"),
                }
                tokio::time::sleep(MEASURE).await;
            }
        };
        tokio::join!(measure, self.follow_for_ever());
    }

    async fn follow_for_ever(mut self) {
        let mut next_prune = tokio::time::Instant::now();
        loop {
            if let Err(error) = self.follow(next_prune).await {
                self.metrics.failures.inc();
                self.position = None;
                error!(%error, "no suppressions are added by rules for now");
                tokio::time::sleep(PAUSE).await;
            }
            if tokio::time::Instant::now() >= next_prune {
                next_prune = tokio::time::Instant::now() + PRUNE_INTERVAL;
                if let Err(error) = self.prune().await {
                    warn!(%error, "old suppressions cannot be removed");
                }
            }
        }
    }

    /// Waits for events, `until` at most, and handles them.
    async fn follow(&mut self, until: tokio::time::Instant) -> Result<(), ReadError> {
        let after = self.position().await?.after;
        if tokio::time::timeout_at(until, self.events.wait_after(after)).await.is_ok() {
            tokio::time::sleep(GATHER).await;
        }
        while self.read_page().await? > 0 {}
        Ok(())
    }

    /// Handles one page. Returns the number of its events.
    async fn read_page(&mut self) -> Result<usize, ReadError> {
        let page = self.page().await?;
        let Some(last) = page.last().map(|event| event.cursor) else { return Ok(0) };
        let has_counts = self.store.has_suppression_counts().await?;
        let events = page.iter().map(|stored| &stored.event);
        let keys = counted_addresses(&*self.of_tenant, events, has_counts);
        let counts = self.store.suppression_counts(&keys).await?;
        let brakes = self.position().await?.brakes.clone();
        let mut fold = Fold::new(&*self.of_tenant, &*self.provider, brakes, counts);
        page.iter().for_each(|stored| fold.add(&stored.event));
        let (effects, brakes, seen) = fold.finish();
        let added = self.commit(effects, last).await?;
        self.suppressions.tell_of_pauses(seen.pauses).await;
        self.metrics.count(seen.counts, added);
        self.metrics.position.set(last);
        self.position().await?.brakes = brakes;
        Ok(page.len())
    }

    /// The next events. Where they were pruned, the oldest that are kept.
    async fn page(&mut self) -> Result<Vec<StoredEvent>, ReadError> {
        let (events, metrics) = (self.events.clone(), self.metrics.clone());
        let position = self.position().await?;
        match events.events(None, position.after, PAGE).await {
            Ok(page) => Ok(page),
            Err(EventError::Pruned { oldest }) => {
                metrics.pruned.inc();
                warn!(
                    after = position.after,
                    oldest, "events were removed before suppression rules had read them"
                );
                position.after = oldest;
                Ok(events.events(None, oldest, PAGE).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes effects with the position, and tells of new entries. Returns their number.
    ///
    /// A crash between the two loses the events of these entries, never an entry.
    async fn commit(&mut self, effects: Effects, last: u64) -> Result<usize, ReadError> {
        let position = self.position().await?;
        let (stored, is_fresh) = (position.stored, position.written.elapsed() < IDLE_WRITE);
        if effects.is_empty() && is_fresh {
            position.after = last;
            return Ok(0);
        }
        let entries = self.records(effects.entries)?;
        for (tenant, record) in &entries {
            self.suppressions.filter.insert(&(tenant.as_str(), record.address.as_str()));
        }
        let batch = SuppressionBatch {
            reader: self.name.clone(),
            after: stored.cast_signed(),
            cursor: last.cast_signed(),
            entries,
            forgotten: effects.forgotten,
            counts: effects.counts,
        };
        let added = self.store.apply_suppressions(batch).await?;
        let position = self.position().await?;
        (position.stored, position.after, position.written) = (last, last, Instant::now());
        let count = added.len();
        let mut by_tenant: BTreeMap<String, Vec<SuppressionRecord>> = BTreeMap::new();
        for (tenant, record) in added {
            by_tenant.entry(tenant).or_default().push(record);
        }
        for (tenant, records) in by_tenant {
            self.suppressions.tell(&tenant, &records, Event::SuppressionAdded).await;
        }
        Ok(count)
    }

    fn records(&self, entries: Vec<RuleEntry>) -> Result<Vec<(String, SuppressionRecord)>, ReadError> {
        let record = |entry: RuleEntry| {
            let id = self.suppressions.new_id()?;
            let record = SuppressionRecord {
                id,
                address: entry.address,
                stream: entry.stream,
                reason: entry.reason.to_owned(),
                detail: escaped(&entry.detail, MAX_DETAIL),
                message_id: entry.message_id,
                created_at: entry.at,
                cause: Some(entry.cause),
            };
            Ok((entry.tenant, record))
        };
        entries.into_iter().map(record).collect()
    }

    async fn position(&mut self) -> Result<&mut Position, ReadError> {
        let position = match self.position.take() {
            Some(position) => position,
            None => {
                let stored = self.store.suppression_cursor(&self.name).await?.cast_unsigned();
                self.metrics.position.set(stored);
                let brakes = Brakes::new(self.settings.incident);
                Position { stored, after: stored, written: Instant::now(), brakes }
            }
        };
        Ok(self.position.insert(position))
    }

    async fn prune(&self) -> Result<(), ReadError> {
        let now = self.suppressions.clock.now();
        self.store.prune_suppression_counts(now - KEEP_COUNTS_DAYS * DAY).await?;
        let Some(expire) = self.settings.expire else { return Ok(()) };
        let until = now.saturating_sub(i64::try_from(expire.as_millis()).unwrap_or(i64::MAX));
        let filter = SuppressionFilter {
            by_rule: true,
            reason: Some("bounce".to_owned()),
            until: Some(until),
            ..SuppressionFilter::default()
        };
        for tenant in self.suppressions.rule_tenants(&filter).await? {
            loop {
                let removed = self.suppressions.remove(&tenant, &filter, REMOVED_AT_ONCE).await?;
                if removed.is_empty() {
                    break;
                }
                self.metrics.expired.inc_by(removed.len() as u64);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
