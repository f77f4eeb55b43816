//! Counters of the pipeline.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::submission::Rejection;

/// What became of submitted messages. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct PipelineMetrics {
    accepted: Family<SourceLabel, Counter>,
    refused: Family<RefusedMessageLabel, Counter>,
    faults: Family<StageLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedMessageLabel {
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

impl PipelineMetrics {
    /// Counters that are shown by `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "messages_accepted",
            "Messages that were made durable and acknowledged",
            metrics.accepted.clone(),
        );
        registry.register(
            "messages_refused",
            "Messages that were refused after all of them was seen, by the class of the reply",
            metrics.refused.clone(),
        );
        registry.register(
            "intake_faults",
            "Messages that were put off because a component broke",
            metrics.faults.clone(),
        );
        metrics
    }

    pub(super) fn accepted(&self, source: &'static str) {
        self.accepted.get_or_create(&SourceLabel { source }).inc();
    }

    pub(super) fn refused(&self, rejection: &Rejection) {
        let class = if rejection.reply.code < 500 { "4xx" } else { "5xx" };
        self.refused.get_or_create(&RefusedMessageLabel { class }).inc();
        if let Some(fault) = &rejection.fault {
            self.faults.get_or_create(&StageLabel { stage: fault.stage.name() }).inc();
        }
    }
}
