//! Counters of mail that comes back.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What became of mail that came back. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct ReturnMetrics {
    messages: Family<ReturnLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReturnLabel {
    result: &'static str,
}

impl ReturnMetrics {
    /// Counters that are shown by `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "returned_messages",
            "Messages and addresses at return domains, by what became of them",
            metrics.messages.clone(),
        );
        metrics
    }

    pub(super) fn message(&self, result: &'static str) {
        self.messages.get_or_create(&ReturnLabel { result }).inc();
    }

    /// For tests.
    #[cfg(test)]
    pub(super) fn count(&self, result: &'static str) -> u64 {
        self.messages.get_or_create(&ReturnLabel { result }).get()
    }
}
