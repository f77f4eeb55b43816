//! Metrics of a node among others: its shards, their logs, and the engine.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use relevo_queue::shard_log::{AppendError, LogBounds, LogError, LogRecord, Seq, ShardLog};
use tokio::time::Instant;

use crate::member::Member;

/// Bounds of the times of takeovers, in seconds: reading a log takes from milliseconds to minutes.
const TAKEOVERS: [f64; 9] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 1200.0];
/// Bounds of the times of appends, in seconds: a quorum syncs in milliseconds.
const APPENDS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];

/// Counts of a member.
#[derive(Debug, Clone)]
pub struct MemberMetrics {
    homes: Histogram,
    takeovers: Histogram,
    pub(crate) lost: Counter,
}

impl Default for MemberMetrics {
    fn default() -> Self {
        let (homes, takeovers) = (Histogram::new(TAKEOVERS), Histogram::new(TAKEOVERS));
        Self { homes, takeovers, lost: Counter::default() }
    }
}

impl MemberMetrics {
    pub(crate) fn taken(&self, is_home: bool, took: Duration) {
        let times = if is_home { &self.homes } else { &self.takeovers };
        times.observe(took.as_secs_f64());
    }
}

/// What an engine failed with: `kind`.
type ErrorLabel = [(&'static str, &'static str); 1];

/// Counts of the logs of shards.
#[derive(Debug, Clone)]
pub struct LogMetrics {
    appends: Histogram,
    octets: Counter,
    read: Counter,
    trims: Counter,
    errors: Family<ErrorLabel, Counter>,
}

impl Default for LogMetrics {
    fn default() -> Self {
        let (octets, read, trims) = (Counter::default(), Counter::default(), Counter::default());
        Self { appends: Histogram::new(APPENDS), octets, read, trims, errors: Family::default() }
    }
}

impl LogMetrics {
    fn failed(&self, kind: &'static str) {
        self.errors.get_or_create(&[("kind", kind)]).inc();
    }

    fn failed_to_read(&self, error: &LogError) {
        self.failed(match error {
            LogError::Unavailable(_) => "unavailable",
            LogError::Trimmed(_) => "trimmed",
            LogError::Damaged(_) => "damaged",
        });
    }
}

/// Shows the metrics of a node.
pub fn register(registry: &mut Registry, member: &Arc<Member>, log: &LogMetrics) {
    let MemberMetrics { homes, takeovers, lost } = member.metrics().clone();
    let times = [
        (
            "cluster_takeover",
            "Time in which a shard of another node was opened, with what was read",
            takeovers,
        ),
        ("cluster_home_opening", "Time in which the home of this node was opened, with what was read", homes),
        ("shard_log_append", "Time in which a record was appended at a quorum", log.appends.clone()),
    ];
    for (name, help, times) in times {
        registry.register_with_unit(name, help, Unit::Seconds, times);
    }
    let counters = [
        (
            "cluster_shards_lost",
            "Shards that were lost: to another node, to a lapse, or with their disk",
            lost,
        ),
        ("shard_log_appended_octets", "Octets of records that were appended", log.octets.clone()),
        ("shard_log_read_records", "Records that were read, to take a shard over or back", log.read.clone()),
        (
            "shard_log_checkpoints",
            "Checkpoints that were written: the records before were trimmed",
            log.trims.clone(),
        ),
    ];
    for (name, help, counter) in counters {
        registry.register(name, help, counter);
    }
    registry.register("shard_log_errors", "Calls of a log that failed, by kind", log.errors.clone());
    registry.register_collector(Box::new(MemberGauges(member.clone())));
}

/// What a member is now.
struct MemberGauges(Arc<Member>);

impl fmt::Debug for MemberGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberGauges")
    }
}

impl Collector for MemberGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let state = self.0.gauges();
        let gauges = [
            ("cluster_shards_held", "Shards that this node serves", state.held),
            ("cluster_nodes_alive", "Nodes that are alive, as this node sees it", state.alive),
            ("cluster_shards_free", "Shards that nobody serves, as this node sees it", state.free),
            ("cluster_engine_is_away", "1: the engine does not answer", u64::from(state.is_away)),
            (
                "cluster_is_draining",
                "1: this node gives its shards to the others",
                u64::from(state.is_draining),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let (name, help) =
            ("cluster_lease_age", "Since the oldest lease of this node was renewed; 0 without leases");
        let gauge = ConstGauge::new(state.lease_age.as_secs_f64());
        gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?)
    }
}

/// A log whose calls are counted.
#[derive(Debug)]
pub(crate) struct CountedLog {
    log: Arc<dyn ShardLog>,
    metrics: LogMetrics,
}

impl CountedLog {
    pub(crate) fn new(log: Arc<dyn ShardLog>, metrics: LogMetrics) -> Self {
        Self { log, metrics }
    }

    fn note<T>(&self, result: Result<T, LogError>) -> Result<T, LogError> {
        result.inspect_err(|error| self.metrics.failed_to_read(error))
    }
}

#[async_trait]
impl ShardLog for CountedLog {
    async fn append(&self, expected: Seq, record: &[u8]) -> Result<(), AppendError> {
        let begun = Instant::now();
        let appended = self.log.append(expected, record).await;
        match &appended {
            Ok(()) => {
                self.metrics.appends.observe(begun.elapsed().as_secs_f64());
                self.metrics.octets.inc_by(record.len() as u64);
            }
            Err(AppendError::Fenced(_)) => self.metrics.failed("fenced"),
            Err(AppendError::Unknown(_)) => self.metrics.failed("unknown"),
            Err(AppendError::Unavailable(_)) => self.metrics.failed("unavailable"),
        }
        appended
    }

    async fn read(&self, from: Seq, octets: usize) -> Result<Vec<LogRecord>, LogError> {
        let records = self.note(self.log.read(from, octets).await)?;
        self.metrics.read.inc_by(records.len() as u64);
        Ok(records)
    }

    async fn bounds(&self) -> Result<LogBounds, LogError> {
        self.note(self.log.bounds().await)
    }

    async fn trim(&self, below: Seq) -> Result<(), LogError> {
        self.note(self.log.trim(below).await)?;
        self.metrics.trims.inc();
        Ok(())
    }

    fn max_record(&self) -> usize {
        self.log.max_record()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use relevo_queue::shard_log::memory::MemoryLog;

    use super::*;
    use crate::member::{NodeName, ShardHost, ShardLoad};
    use crate::memory::MemoryEngine;

    #[derive(Debug)]
    struct Nothing;

    #[async_trait]
    impl ShardHost for Nothing {
        async fn take(&self, _: u16) -> Result<(), crate::engine::EngineError> {
            Ok(())
        }
        async fn lose(&self, _: u16) {}
        fn is_broken(&self, _: u16) -> bool {
            false
        }
        async fn close(&self, _: u16) {}

        fn set_draining(&self, _: bool) {}

        fn is_idle(&self) -> bool {
            true
        }

        fn load(&self, _: u16) -> Option<ShardLoad> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_is_counted() {
        let engine = MemoryEngine::new();
        let node = NodeName { name: "a".into(), address: "a:1".into(), peer_address: None, home: 1 };
        let member = Arc::new(Member::new(Arc::new(engine.clone()), Arc::new(Nothing), node));
        let (mut registry, metrics) = (Registry::default(), LogMetrics::default());
        register(&mut registry, &member, &metrics);
        let shown = || {
            let mut out = String::new();
            text::encode(&mut out, &registry).expect("encodes");
            out
        };
        let has = |line: &str| assert!(shown().lines().any(|shown| shown == line), "{line} in\n{}", shown());
        has("cluster_shards_held 0");
        member.round().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        for line in [
            "cluster_shards_held 1",
            "cluster_nodes_alive 1",
            "cluster_engine_is_away 0",
            "cluster_home_opening_seconds_count 1",
            "cluster_takeover_seconds_count 0",
        ] {
            has(line);
        }
        engine.cut(true);
        member.round().await;
        has("cluster_engine_is_away 1");

        let log = CountedLog::new(Arc::new(MemoryLog::default()), metrics);
        log.append(0, b"record").await.expect("appends");
        log.append(0, b"late").await.expect_err("fenced");
        log.read(1, 10).await.expect("reads");
        log.trim(2).await.expect("trims");
        log.read(1, 10).await.expect_err("trimmed");
        for line in [
            "shard_log_append_seconds_count 1",
            "shard_log_appended_octets_total 6",
            "shard_log_read_records_total 1",
            "shard_log_checkpoints_total 1",
            "shard_log_errors_total{kind=\"fenced\"} 1",
            "shard_log_errors_total{kind=\"trimmed\"} 1",
        ] {
            has(line);
        }
    }
}
