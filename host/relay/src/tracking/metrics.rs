//! Metrics of tracking.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabel {
    reason: &'static str,
}

/// Counts clicks and opens.
#[derive(Debug, Clone, Default)]
pub struct TrackingMetrics {
    repeats: Counter,
    dropped: Family<DropLabel, Counter>,
}

impl TrackingMetrics {
    /// Shows the counts in `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "tracking_repeats",
            "Clicks and opens that repeated another within a minute; they are written as one event",
            metrics.repeats.clone(),
        );
        registry.register(
            "tracking_events_dropped",
            "Clicks and opens that were answered and not written, by reason",
            metrics.dropped.clone(),
        );
        metrics
    }

    pub(super) fn repeated(&self, count: u64) {
        self.repeats.inc_by(count);
    }

    pub(super) fn dropped(&self, reason: &'static str, count: u64) {
        self.dropped.get_or_create(&DropLabel { reason }).inc_by(count);
    }

    #[cfg(test)]
    pub(super) fn dropped_for(&self, reason: &'static str) -> u64 {
        self.dropped.get_or_create(&DropLabel { reason }).get()
    }
}
