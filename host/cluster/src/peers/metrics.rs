//! Metrics of what nodes ask each other about shards.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// It was done, or there is a reason why not.
    Answered,
    /// The node does not serve the shard.
    NotServed,
    /// Nobody is known to serve it, or the node cannot be reached.
    Unreachable,
    /// The node did not answer in time, or not so that it can be trusted.
    Unanswered,
}

impl CallOutcome {
    fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NotServed => "not_served",
            Self::Unreachable => "unreachable",
            Self::Unanswered => "unanswered",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Counts of a node, in both of its parts.
#[derive(Debug, Clone, Default)]
pub struct PeerMetrics {
    asked: Family<OutcomeLabel, Counter>,
    answered: Counter,
    incomplete: Counter,
}

impl PeerMetrics {
    /// Puts them into `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "cluster_store_calls",
            "Calls about shards of other nodes, by outcome",
            self.asked.clone(),
        );
        registry.register(
            "cluster_store_calls_answered",
            "Calls of other nodes that this node answered",
            self.answered.clone(),
        );
        registry.register(
            "cluster_incomplete_lists",
            "Lists that were answered without a shard that could not be asked",
            self.incomplete.clone(),
        );
    }

    pub(super) fn asked(&self, outcome: CallOutcome) {
        self.asked.get_or_create(&OutcomeLabel { outcome: outcome.name() }).inc();
    }

    pub(super) fn answered(&self) {
        self.answered.inc();
    }

    pub(super) fn incomplete(&self) {
        self.incomplete.inc();
    }

    /// Calls that ended so.
    #[must_use]
    pub fn count(&self, outcome: CallOutcome) -> u64 {
        self.asked.get_or_create(&OutcomeLabel { outcome: outcome.name() }).get()
    }
}
