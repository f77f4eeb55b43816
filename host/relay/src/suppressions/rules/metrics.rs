//! Metrics of the rules.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use relevo_queue::ReaderPosition;

/// What a batch of events showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RuleCounts {
    /// Hard bounces that added nothing because they look like an incident.
    pub(super) withheld: u64,
    /// Times that it began to look like one.
    pub(super) incidents: u64,
}

/// Counts what the rules do.
#[derive(Debug, Clone, Default)]
pub struct SuppressionRuleMetrics {
    pub(super) added: Counter,
    pub(super) expired: Counter,
    pub(super) withheld: Counter,
    pub(super) incidents: Counter,
    pub(super) failures: Counter,
    pub(super) pruned: Counter,
    pub(super) position: ReaderPosition,
    pub(super) delay: Gauge,
}

impl SuppressionRuleMetrics {
    /// Shows the counts in `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        for (name, help, counter) in [
            ("suppression_rules_added", "Suppressions that rules added", &m.added),
            ("suppression_rules_expired", "Suppressions that rules added and that expired", &m.expired),
            (
                "suppression_rules_withheld",
                "Hard bounces that suppressed nobody, because they looked like an incident at the provider",
                &m.withheld,
            ),
            (
                "suppression_rules_incidents",
                "Times that the hard bounces of a tenant at a provider began to look like an incident",
                &m.incidents,
            ),
            (
                "suppression_rules_failures",
                "Batches of events that the rules could not handle and that were tried again",
                &m.failures,
            ),
            (
                "suppression_rules_pruned",
                "Times that events were removed from the event log before the rules had read them",
                &m.pruned,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "suppression_rules_delay_seconds",
            "Age of the oldest event that the rules have not read, every 10 seconds; 0 if there is none",
            m.delay.clone(),
        );
        m
    }

    pub(super) fn count(&self, seen: RuleCounts, added: usize) {
        self.withheld.inc_by(seen.withheld);
        self.incidents.inc_by(seen.incidents);
        self.added.inc_by(added as u64);
    }
}
