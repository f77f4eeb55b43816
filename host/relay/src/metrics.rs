//! The registry, and what is read from the queue and the stages when somebody looks. Every other
//! metric is declared beside its use, in a struct that takes this registry. No label comes from
//! recipients or replies.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use relevo_queue::Queue;
use relevo_runtime::{StageStats, Stages};

use crate::clock::Clock;

/// An empty registry; names begin with `relevo_`.
#[must_use]
pub fn registry() -> Registry {
    Registry::with_prefix("relevo")
}

/// The text format that Prometheus reads.
///
/// # Errors
/// Never while writing to a string; a collector's own.
pub fn encode(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

/// Counts of the queue.
pub struct QueueGauges {
    queue: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
}

impl QueueGauges {
    /// Shows the counts of `queue` in `registry`.
    pub fn register(registry: &mut Registry, queue: Arc<dyn Queue>, clock: Arc<dyn Clock>) {
        registry.register_collector(Box::new(Self { queue, clock }));
    }
}

impl fmt::Debug for QueueGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueGauges").finish_non_exhaustive()
    }
}

impl Collector for QueueGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = self.queue.stats();
        let overdue = stats.oldest_due.map_or(0, |due| self.clock.now().saturating_sub(due).max(0) / 1000);
        let gauges = [
            ("queue_items", "Messages in the queue", stats.items),
            ("queue_deliveries", "Deliveries with recipients that are not settled", stats.deliveries),
            ("queue_due", "Deliveries that are due now", stats.due),
            ("queue_leased", "Deliveries that are being attempted", stats.leased),
            ("queue_held", "Deliveries that an operator holds", stats.held),
            ("queue_quarantined", "Entries that were corrupt and moved to quarantine", stats.quarantined),
            (
                "queue_disk_free_bytes",
                "Octets that are free on the disk of the data directory",
                stats.free_octets,
            ),
            (
                "queue_oldest_due_age_seconds",
                "How long the oldest delivery that is due has been waiting; large means that something is stuck",
                u64::try_from(overdue).unwrap_or(0),
            ),
        ];
        let inodes = stats.free_inodes.map(|n| {
            ("queue_disk_free_inodes", "Files that can still be made on the disk of the data directory", n)
        });
        for (name, help, value) in gauges.into_iter().chain(inodes) {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let counters = [
            ("queue_commits", "Durable commits, each with one sync", stats.commits),
            (
                "queue_commit_requests",
                "Requests in those commits; divided by them: the size of a group",
                stats.committed,
            ),
        ];
        for (name, help, value) in counters {
            ConstCounter::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Counter,
            )?)?;
        }
        Ok(())
    }
}

/// What the stages cost.
pub struct StageCounters {
    stages: Arc<dyn Stages>,
}

impl StageCounters {
    /// Shows the statistics of `stages` in `registry`.
    pub fn register(registry: &mut Registry, stages: Arc<dyn Stages>) {
        registry.register_collector(Box::new(Self { stages }));
    }
}

impl fmt::Debug for StageCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageCounters").finish_non_exhaustive()
    }
}

impl Collector for StageCounters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = self.stages.stats();
        let each = |mut metric: MetricEncoder<'_>, value: &dyn Fn(&StageStats) -> f64| -> fmt::Result {
            for (stage, stats) in &stats {
                let labels = [("stage", stage.name())];
                ConstCounter::new(value(stats)).encode(metric.encode_family(&labels)?)?;
            }
            Ok(())
        };
        let counter = MetricType::Counter;
        #[expect(clippy::cast_precision_loss, reason = "a counter in the text format is a double")]
        {
            each(
                encoder.encode_descriptor(
                    "stage_calls",
                    "Calls of a component that were answered",
                    None,
                    counter,
                )?,
                &|s| s.calls as f64,
            )?;
            each(
                encoder.encode_descriptor(
                    "stage_faults",
                    "Calls of a component that broke",
                    None,
                    counter,
                )?,
                &|s| s.faults as f64,
            )?;
        }
        let help = "Time on the processor inside calls of a component";
        each(encoder.encode_descriptor("stage_cpu", help, Some(&Unit::Seconds), counter)?, &|s| {
            s.cpu.as_secs_f64()
        })
    }
}

#[cfg(test)]
mod tests {
    use relevo_queue::Queue as _;

    use super::*;
    use crate::intake::IntakeMetrics;
    use crate::pipeline::PipelineMetrics;
    use crate::testing::{World, submission};

    #[tokio::test]
    async fn everything_is_shown_under_its_name() {
        let mut world = World::new();
        let mut registry = registry();
        world.pipeline.metrics = PipelineMetrics::new(&mut registry);
        let _intake = IntakeMetrics::new(&mut registry);
        QueueGauges::register(&mut registry, Arc::clone(&world.queue) as _, Arc::clone(&world.clock) as _);
        StageCounters::register(&mut registry, Arc::clone(&world.stages) as _);
        let good = submission(&world, "From: a@example.com\r\n\r\n");
        world.pipeline.submit(good).await.expect("accepted");
        let bad = submission(&world, "From: a@other.example\r\n\r\n");
        world.pipeline.submit(bad).await.expect_err("refused");

        let late = world.clock.0.fetch_add(7_000, std::sync::atomic::Ordering::SeqCst) + 7_000;
        world.queue.next_due(late).await;

        let text = encode(&registry).expect("encodes");
        for line in [
            "relevo_messages_accepted_total{source=\"smtp\"} 1",
            "relevo_messages_refused_total{class=\"5xx\"} 1",
            "relevo_queue_items 1",
            "relevo_queue_oldest_due_age_seconds 7",
            "relevo_stage_calls_total{stage=\"dkim\"} 3",
            "relevo_stage_faults_total{stage=\"dkim\"} 1",
            "relevo_stage_cpu_seconds_total{stage=\"dkim\"} 1.5",
        ] {
            assert!(text.lines().any(|l| l.trim_end_matches(".0") == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("example"), "no label from addresses");
    }
}
