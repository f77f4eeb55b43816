//! Metrics of shared limits.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counts of a node, in both of its parts: as a holder, and as one that asks.
#[derive(Debug, Clone, Default)]
pub struct LimitMetrics {
    granted: Counter,
    refused: Counter,
    unanswered: Counter,
    lapsed: Counter,
    held: Gauge,
}

impl LimitMetrics {
    /// Puts them into `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let counters = [
            ("cluster_slices_granted", "Slices of shared limits that this node granted", &metrics.granted),
            (
                "cluster_slices_refused",
                "Questions about a shared limit that this node answered with nothing",
                &metrics.refused,
            ),
            (
                "cluster_limit_questions_unanswered",
                "Questions about shared limits that another node did not answer",
                &metrics.unanswered,
            ),
            ("cluster_slices_lapsed", "Slices of this node that ended without another one", &metrics.lapsed),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "cluster_allotters_held",
            "Allotters of shared limits that this node holds",
            metrics.held.clone(),
        );
        metrics
    }

    pub(super) fn answered(&self, granted: &[Option<u32>]) {
        for granted in granted {
            match granted {
                Some(1..) => self.granted.inc(),
                Some(0) | None => self.refused.inc(),
            };
        }
    }

    pub(super) fn unanswered(&self) {
        self.unanswered.inc();
    }

    pub(super) fn lapsed(&self) {
        self.lapsed.inc();
    }

    pub(super) fn held(&self, allotters: usize) {
        self.held.set(i64::try_from(allotters).unwrap_or(i64::MAX));
    }
}
