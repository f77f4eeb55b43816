//! The reader that follows the event log.

use std::sync::Arc;
use std::time::Duration;

use relevo_queue::{EventError, EventLog, ItemId, Millis};
use relevo_store::{ControlStoreError, StatisticsAge, StatisticsBatch, StatisticsStore};
use tracing::{error, warn};

use crate::count::{UNIQUE_DAYS, hour};
use crate::fold::{Fold, unknown};
use crate::known::KnownValues;
use crate::metrics::StatisticsMetrics;
use crate::provider::{MAX_SITES, Sites};

/// Time in which events gather before they are read: one transaction a second, however many events
/// there are.
const GATHER: Duration = Duration::from_secs(1);
/// Events of one page. A page also ends at about 1 MiB.
const PAGE: usize = 2_000;
/// Rows and candidates after which a batch takes no further page, and the most pages.
const MAX_ROWS: usize = 10_000;
const MAX_PAGES: usize = 8;
/// Time after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// Time between two looks at how far the reader is behind.
const MEASURE: Duration = Duration::from_secs(10);
/// Time between two removals of what is old.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3_600);
/// Days for which rows are kept.
const KEEP_DAYS: i64 = 400;
/// Days for which the provider of a domain is kept that is not sent to.
const KEEP_SITES_DAYS: i64 = 90;

const DAY: Millis = 86_400_000;

/// The name of the reader of one event log. The store may hold readers of several.
#[must_use]
pub fn reader_name(log: u64) -> String {
    format!("statistics:{log:016x}")
}

/// Follows the event log and adds to the statistics of the store.
pub struct StatisticsReader {
    events: Arc<dyn EventLog>,
    store: Arc<dyn StatisticsStore>,
    name: String,
    now: Arc<dyn Fn() -> Millis + Send + Sync>,
    metrics: StatisticsMetrics,
    position: Option<Position>,
}

/// What the reader knows. After a failure it is read from the store again.
struct Position {
    /// As the store has it.
    stored: u64,
    /// What is read next comes after it. It is ahead of `stored` when events were pruned.
    after: u64,
    known: KnownValues,
    sites: Sites,
}

/// Why a batch was not added.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the event log cannot be read: {0}")]
    Events(#[from] EventError),
    #[error(transparent)]
    Store(#[from] ControlStoreError),
}

impl StatisticsReader {
    /// `name` is [`reader_name`] of the log; `now` is the time in milliseconds since 1970.
    #[must_use]
    pub fn new(
        events: Arc<dyn EventLog>,
        store: Arc<dyn StatisticsStore>,
        name: String,
        now: Arc<dyn Fn() -> Millis + Send + Sync>,
        metrics: StatisticsMetrics,
    ) -> Self {
        Self { events, store, name, now, metrics, position: None }
    }

    /// Adds events as they are written. Never returns. It may be dropped at any point: what was not
    /// added then is added by the next reader.
    pub async fn run(self) {
        let (events, now, metrics) = (self.events.clone(), self.now.clone(), self.metrics.clone());
        let measure = measure_for_ever(&metrics, &*events, &*now);
        tokio::join!(measure, self.follow_for_ever());
    }

    async fn follow_for_ever(mut self) {
        let mut next_prune = tokio::time::Instant::now();
        loop {
            if let Err(error) = self.follow().await {
                self.metrics.failures.inc();
                self.position = None;
                error!(%error, "statistics are not counted for now");
                tokio::time::sleep(PAUSE).await;
            }
            if tokio::time::Instant::now() >= next_prune {
                next_prune = tokio::time::Instant::now() + PRUNE_INTERVAL;
                if let Err(error) = self.prune().await {
                    warn!(%error, "old statistics cannot be removed");
                }
            }
        }
    }

    /// Waits for events, and adds a batch of them.
    async fn follow(&mut self) -> Result<(), ReadError> {
        let after = self.position().await?.after;
        self.events.wait_after(after).await;
        tokio::time::sleep(GATHER).await;
        while self.add_batch(MAX_PAGES).await? == MAX_PAGES {}
        Ok(())
    }

    /// Reads at most so many pages and adds what is in them. Returns the number of pages that had
    /// events, `max_pages` where there may be more.
    async fn add_batch(&mut self, max_pages: usize) -> Result<usize, ReadError> {
        let mut fold = Fold::default();
        let (mut pages, mut events) = (0, 0);
        while pages < max_pages {
            let page = self.page().await?;
            let Some(last) = page.last() else { break };
            events += page.len();
            let store = self.store.clone();
            let position = self.position().await?;
            position.after = last.cursor;
            for (tenant, hour) in unknown(&page, &position.known) {
                let values = store.statistics_values(&tenant, hour).await?;
                position.known.put(&tenant, hour, values);
            }
            for event in &page {
                fold.add(event, &mut position.known, &mut position.sites);
            }
            pages = if fold.len() >= MAX_ROWS { max_pages } else { pages + 1 };
            tokio::task::yield_now().await;
        }
        self.commit(fold).await?;
        if events > 0 {
            self.metrics.events.inc_by(events as u64);
            self.metrics.batches.inc();
        }
        Ok(pages)
    }

    /// The next events. Where they were pruned, the oldest that are kept.
    async fn page(&mut self) -> Result<Vec<relevo_queue::StoredEvent>, ReadError> {
        let events = self.events.clone();
        let metrics = self.metrics.clone();
        let position = self.position().await?;
        match events.events(None, position.after, PAGE).await {
            Ok(page) => Ok(page),
            Err(EventError::Pruned { oldest }) => {
                metrics.pruned.inc();
                warn!(
                    after = position.after,
                    oldest, "events were removed before statistics had counted them: they are missing"
                );
                position.after = oldest;
                Ok(events.events(None, oldest, PAGE).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn commit(&mut self, fold: Fold) -> Result<(), ReadError> {
        let (store, reader) = (self.store.clone(), self.name.clone());
        let position = self.position().await?;
        if position.after == position.stored {
            return Ok(());
        }
        let (rows, seen) = fold.finish();
        let batch = StatisticsBatch {
            reader,
            after: position.stored.cast_signed(),
            cursor: position.after.cast_signed(),
            rows,
            seen,
            sites: position.sites.take_changed(),
        };
        store.add_statistics(batch).await?;
        position.stored = position.after;
        position.known.shrink();
        let stored = position.stored;
        self.metrics.position.set(stored);
        Ok(())
    }

    async fn position(&mut self) -> Result<&mut Position, ReadError> {
        let position = match self.position.take() {
            Some(position) => position,
            None => {
                let stored = self.store.statistics_cursor(&self.name).await?.cast_unsigned();
                self.metrics.position.set(stored);
                let sites = self.store.statistics_sites(u32::try_from(MAX_SITES).unwrap_or(u32::MAX)).await?;
                Position { stored, after: stored, known: KnownValues::default(), sites: Sites::new(sites) }
            }
        };
        Ok(self.position.insert(position))
    }

    async fn prune(&self) -> Result<(), ControlStoreError> {
        let now = (self.now)();
        let age = StatisticsAge {
            hour: hour(now - KEEP_DAYS * DAY),
            // A day more than marks count: an event may be written later than it happened.
            message: ItemId::new((now - (UNIQUE_DAYS + 1) * DAY).max(0), [0; 10]).0,
            day: now.div_euclid(DAY) - KEEP_SITES_DAYS,
        };
        let removed = self.store.prune_statistics(age).await?;
        tracing::debug!(removed, "old statistics removed");
        Ok(())
    }
}

async fn measure_for_ever(
    metrics: &StatisticsMetrics,
    events: &dyn EventLog,
    now: &(dyn Fn() -> Millis + Send + Sync),
) {
    loop {
        measure_delay(metrics, events, now()).await;
        tokio::time::sleep(MEASURE).await;
    }
}

/// Before the position is known there is no delay.
async fn measure_delay(metrics: &StatisticsMetrics, events: &dyn EventLog, now: Millis) {
    match metrics.position.delay(events, now).await {
        Ok(delay) => {
            metrics.delay.set(delay.unwrap_or(0) / 1000);
        }
        Err(error) => error!(%error, "the delay of statistics cannot be measured"),
    }
}

#[cfg(test)]
mod tests;
