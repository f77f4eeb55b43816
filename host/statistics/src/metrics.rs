//! Metrics of the reader.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use relevo_queue::ReaderPosition;

/// Counts the reader's work.
#[derive(Debug, Clone, Default)]
pub struct StatisticsMetrics {
    pub(crate) events: Counter,
    pub(crate) batches: Counter,
    pub(crate) failures: Counter,
    pub(crate) pruned: Counter,
    pub(crate) position: ReaderPosition,
    pub(crate) delay: Gauge,
}

impl StatisticsMetrics {
    /// Shows the counts in `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("statistics_events", "Events that statistics have counted", metrics.events.clone());
        registry.register(
            "statistics_batches",
            "Transactions that added events to statistics",
            metrics.batches.clone(),
        );
        registry.register(
            "statistics_failures",
            "Batches of events that could not be added to statistics and were tried again",
            metrics.failures.clone(),
        );
        registry.register(
            "statistics_pruned",
            "Times that events were removed from the event log before statistics had counted them",
            metrics.pruned.clone(),
        );
        registry.register(
            "statistics_delay_seconds",
            "Age of the oldest event that statistics have not counted, every 10 seconds; 0 if there is none",
            metrics.delay.clone(),
        );
        metrics
    }
}
