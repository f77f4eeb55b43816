//! Metrics of webhooks.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use relevo_queue::{Millis, ReaderPosition};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Counts requests, and what waits.
#[derive(Debug, Clone)]
pub struct WebhookMetrics {
    attempts: Family<ResultLabel, Counter>,
    ended: Family<ResultLabel, Counter>,
    disabled: Family<ReasonLabel, Counter>,
    pruned: Counter,
    pub(crate) position: ReaderPosition,
    delay: Gauge,
    pending: Gauge,
    in_flight: Gauge,
    seconds: Histogram,
}

impl Default for WebhookMetrics {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            ended: Family::default(),
            disabled: Family::default(),
            pruned: Counter::default(),
            position: ReaderPosition::default(),
            delay: Gauge::default(),
            pending: Gauge::default(),
            in_flight: Gauge::default(),
            seconds: Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0]),
        }
    }
}

impl WebhookMetrics {
    /// Shows the counts in `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "webhook_attempts",
            "Requests to endpoints, by result: success, status (another answer), none (no answer)",
            metrics.attempts.clone(),
        );
        registry.register(
            "webhook_deliveries_ended",
            "Deliveries that ended, by result: success or failed",
            metrics.ended.clone(),
        );
        registry.register(
            "webhook_endpoints_disabled",
            "Endpoints that were disabled without their owner, by reason: gone, failing, full",
            metrics.disabled.clone(),
        );
        registry.register(
            "webhook_reader_pruned",
            "Times that events were removed before webhooks had read them",
            metrics.pruned.clone(),
        );
        registry.register(
            "webhook_reader_delay_seconds",
            "Age of the oldest event that webhooks have not read, every 10 seconds; 0 if there is none",
            metrics.delay.clone(),
        );
        registry.register(
            "webhook_deliveries_pending",
            "Deliveries that wait, as counted once a minute",
            metrics.pending.clone(),
        );
        registry.register(
            "webhook_attempts_in_flight",
            "Requests that are under way",
            metrics.in_flight.clone(),
        );
        registry.register(
            "webhook_attempt_seconds",
            "Time of a request, from the lookup to the end of the answer",
            metrics.seconds.clone(),
        );
        metrics
    }

    pub(crate) fn attempted(&self, result: &'static str, took: Duration) {
        self.attempts.get_or_create(&ResultLabel { result }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn ended(&self, result: &'static str) {
        self.ended.get_or_create(&ResultLabel { result }).inc();
    }

    pub(crate) fn disabled(&self, reason: &'static str) {
        self.disabled.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn lost_events(&self) {
        self.pruned.inc();
    }

    pub(crate) fn delay(&self, age: Millis) {
        self.delay.set(age / 1000);
    }

    pub(crate) fn pending(&self, count: i64) {
        self.pending.set(count);
    }

    pub(crate) fn in_flight(&self, count: usize) {
        self.in_flight.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Times that events were removed before they were read.
    #[must_use]
    pub fn lost_events_count(&self) -> u64 {
        self.pruned.get()
    }

    /// Age of the oldest event that was not read, as last measured.
    #[must_use]
    pub fn delay_seconds(&self) -> i64 {
        self.delay.get()
    }
}
