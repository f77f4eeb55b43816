//! What plugins' calls came to, read from the sandbox when somebody looks.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use relevo_runtime::policy::{CPU_BUCKETS, HistogramSnapshot, MEMORY_BUCKETS, PluginMetrics};

use crate::active::ActivePlugin;
use crate::plugins::Plugins;
use crate::record::RecordingHandle;

/// Counters of every plugin that is in use, by tenant, plugin and the beginning of the digest. A
/// version begins at zero.
pub struct PluginCollector(Arc<Plugins>);

impl PluginCollector {
    /// Shows them in `registry`.
    pub fn register(registry: &mut Registry, plugins: Arc<Plugins>) {
        registry.register_collector(Box::new(Self(plugins)));
    }
}

impl fmt::Debug for PluginCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginCollector").finish_non_exhaustive()
    }
}

type MetricLabel = (&'static str, String);

/// One plugin at one moment.
struct MetricRow {
    labels: Vec<MetricLabel>,
    metrics: PluginMetrics,
    /// State, and how often it opened.
    breaker: (&'static str, u64),
    /// Calls that the quota of CPU time did not allow.
    over_quota: u64,
    /// Messages that were recorded, and that were not, whatever version was asked.
    recorded: Option<(u64, u64)>,
}

impl MetricRow {
    fn of(plugin: &ActivePlugin) -> Option<Self> {
        let mut metrics = plugin.policy.as_ref().ok()?.metrics();
        let (over_quota, log_dropped) = plugin.over_quotas();
        metrics.log_dropped += log_dropped;
        let recorded = plugin.recording.as_ref().map(RecordingHandle::counts);
        Some(Self { labels: labels(plugin), metrics, breaker: plugin.breaker(), over_quota, recorded })
    }

    fn with(&self, more: &[(&'static str, &str)]) -> Vec<MetricLabel> {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        self.labels.iter().cloned().chain(more).collect()
    }
}

impl Collector for PluginCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let plugins = self.0.active.all();
        let rows: Vec<MetricRow> =
            plugins.values().flat_map(|t| t.values()).filter_map(|p| MetricRow::of(p)).collect();
        if plugins.is_empty() {
            return Ok(());
        }
        up(&mut encoder, plugins.values().flat_map(|of_tenant| of_tenant.values()))?;
        let help = "Events of deliveries that plugins were not told: there were too many, or telling failed";
        let dropped = ConstCounter::new(self.0.outcomes.dropped());
        dropped.encode(encoder.encode_descriptor(
            "plugin_events_dropped",
            help,
            None,
            MetricType::Counter,
        )?)?;
        counters(&mut encoder, "plugin_calls", "Calls of a plugin, by what was called last", &rows, |row| {
            row.metrics.calls.iter().map(|(export, n)| (row.with(&[("export", export)]), *n)).collect()
        })?;
        counters(&mut encoder, "plugin_faults", "Calls of a plugin that broke", &rows, |row| {
            let faults = row.metrics.faults.iter();
            faults.map(|((who, kind), n)| (row.with(&[("who", who), ("kind", kind)]), *n)).collect()
        })?;
        counters(&mut encoder, "plugin_verdicts", "Messages by what a plugin said", &rows, |row| {
            row.metrics.verdicts.iter().map(|(verdict, n)| (row.with(&[("verdict", verdict)]), *n)).collect()
        })?;
        let help = "Log lines of a plugin beyond its quotas of lines for a call and octets for a second";
        counters(&mut encoder, "plugin_log_dropped", help, &rows, |row| {
            vec![(row.with(&[]), row.metrics.log_dropped)]
        })?;
        let help = "How often a plugin was not called any more after repeated faults";
        counters(&mut encoder, "plugin_breaker_opened", help, &rows, |row| {
            vec![(row.with(&[]), row.breaker.1)]
        })?;
        let help =
            "Calls of a plugin that were not made because its tenant's CPU time for plugins was used up";
        counters(&mut encoder, "plugin_over_quota", help, &rows, |row| {
            vec![(row.with(&[]), row.over_quota)]
        })?;
        let recorded: Vec<&MetricRow> = rows.iter().filter(|row| row.recorded.is_some()).collect();
        let help = "Messages that were recorded for replays";
        counters(&mut encoder, "plugin_recorded", help, &recorded, |row| {
            row.recorded.iter().map(|(written, _)| (row.with(&[]), *written)).collect()
        })?;
        let help = "Messages that were not recorded: too many at once, or they could not be written";
        counters(&mut encoder, "plugin_recordings_dropped", help, &recorded, |row| {
            row.recorded.iter().map(|(_, dropped)| (row.with(&[]), *dropped)).collect()
        })?;
        breakers(&mut encoder, &rows)?;
        let help = "Time on the processor of a call of a plugin, in seconds";
        histograms(&mut encoder, "plugin_cpu_seconds", help, &rows, &CPU_BUCKETS, 1e6, |m| &m.cpu)?;
        let help = "The most memory of an instance of a plugin, in octets";
        histograms(&mut encoder, "plugin_memory_bytes", help, &rows, &MEMORY_BUCKETS, 1.0, |m| &m.memory)
    }
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: &[impl Borrow<MetricRow>],
    values: impl Fn(&MetricRow) -> Vec<(Vec<MetricLabel>, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in rows.iter().flat_map(|row| values(row.borrow())) {
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Also of those whose version cannot be used, which have nothing else to be counted.
fn up<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    plugins: impl Iterator<Item = &'a Arc<ActivePlugin>>,
) -> fmt::Result {
    let help = "1 while a plugin can be asked; 0 while its version or its settings cannot be used, and its failure policy answers";
    let mut metric = encoder.encode_descriptor("plugin_up", help, None, MetricType::Gauge)?;
    for plugin in plugins {
        let up = i64::from(plugin.problem().is_none());
        ConstGauge::new(up).encode(metric.encode_family(&labels(plugin))?)?;
    }
    Ok(())
}

fn labels(plugin: &ActivePlugin) -> Vec<MetricLabel> {
    let config = &plugin.settings.config;
    vec![
        ("tenant", config.tenant.clone()),
        ("plugin", config.name.clone()),
        ("digest", format!("{:.12}", plugin.digest)),
    ]
}

fn breakers(encoder: &mut DescriptorEncoder<'_>, rows: &[MetricRow]) -> fmt::Result {
    let help = "1 while a plugin is not called after repeated faults";
    let mut metric = encoder.encode_descriptor("plugin_breaker_open", help, None, MetricType::Gauge)?;
    for row in rows {
        let open = i64::from(row.breaker.0 != "closed");
        ConstGauge::new(open).encode(metric.encode_family(&row.labels)?)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "the text format has doubles")]
fn histograms(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: &[MetricRow],
    bounds: &[u64],
    per_unit: f64,
    of: impl Fn(&PluginMetrics) -> &HistogramSnapshot,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for row in rows {
        let snapshot = of(&row.metrics);
        let upper = bounds.iter().map(|b| *b as f64 / per_unit).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = upper.zip(snapshot.counts.iter().copied()).collect();
        let count = snapshot.counts.iter().sum();
        let mut family = metric.encode_family(&row.labels)?;
        family.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
            snapshot.sum as f64 / per_unit,
            count,
            &buckets,
            None,
        )?;
    }
    Ok(())
}
