//! Counters of the SMTP intake.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use relevo_smtp::server::Reply;

/// What sessions were answered. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct IntakeMetrics {
    refused: Family<RefusedCommandLabel, Counter>,
    logins: Family<LoginLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedCommandLabel {
    command: &'static str,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabel {
    result: &'static str,
}

impl IntakeMetrics {
    /// Counters that are shown by `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "smtp_refused",
            "Connections and commands that were refused, by the class of the reply",
            metrics.refused.clone(),
        );
        registry.register("smtp_logins", "Attempts to authenticate", metrics.logins.clone());
        metrics
    }

    pub(super) fn login(&self, result: &'static str) {
        self.logins.get_or_create(&LoginLabel { result }).inc();
    }

    /// Counts a refusal and passes it on.
    pub(super) fn count<T>(&self, command: &'static str, result: Result<T, Reply>) -> Result<T, Reply> {
        if let Err(reply) = &result {
            let class = if reply.code < 500 { "4xx" } else { "5xx" };
            self.refused.get_or_create(&RefusedCommandLabel { command, class }).inc();
        }
        result
    }
}
