//! What a plugin's calls came to: counters with fixed buckets, as Prometheus has them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use relevo_mailkit::policy::Decision;

use super::api::{Cost, Export, PluginFault};

/// Upper bounds of the buckets of CPU time, in microseconds.
pub const CPU_BUCKETS: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000];

/// Upper bounds of the buckets of memory, in octets.
pub const MEMORY_BUCKETS: [u64; 10] =
    [64 << 10, 256 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20, 128 << 20];

/// A histogram: observations at most as large as each bound and larger than the one before, then
/// those larger than all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// One more than there are bounds. Not cumulative.
    pub counts: Vec<u64>,
    /// Of all observations, in the unit of the bounds.
    pub sum: u64,
}

/// A plugin's counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginMetrics {
    /// Operations by the export that was called last, whatever came of them.
    pub calls: BTreeMap<&'static str, u64>,
    /// Faults by the names of blame and kind.
    pub faults: BTreeMap<(&'static str, &'static str), u64>,
    /// Messages by verdict; one with several verdicts counts for each.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// CPU time of operations in microseconds; bounds are [`CPU_BUCKETS`].
    pub cpu: HistogramSnapshot,
    /// The most memory of an instance in octets; bounds are [`MEMORY_BUCKETS`].
    pub memory: HistogramSnapshot,
    /// Log lines beyond the quota.
    pub log_dropped: u64,
}

/// A plugin's counters.
#[derive(Default)]
pub(crate) struct PluginCounters {
    calls: [AtomicU64; Export::COUNT],
    verdicts: [AtomicU64; VERDICTS.len()],
    cpu: Histogram<{ CPU_BUCKETS.len() + 1 }>,
    memory: Histogram<{ MEMORY_BUCKETS.len() + 1 }>,
    log_dropped: AtomicU64,
    /// Rare, unless a plugin does little else; then it is soon not called any more.
    faults: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

const VERDICTS: [&str; 4] = ["accept", "reject", "hold", "discard"];

struct Histogram<const N: usize> {
    counts: [AtomicU64; N],
    sum: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::default()), sum: AtomicU64::default() }
    }
}

impl<const N: usize> Histogram<N> {
    fn observe(&self, bounds: &[u64], value: u64) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn read(&self) -> HistogramSnapshot {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        HistogramSnapshot { counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

impl PluginCounters {
    /// An operation that came as far as `export`.
    pub(crate) fn operation(&self, export: Export, cost: &Cost, log_dropped: u64) {
        self.calls[export.index()].fetch_add(1, Ordering::Relaxed);
        self.cpu.observe(&CPU_BUCKETS, u64::try_from(cost.cpu.as_micros()).unwrap_or(u64::MAX));
        self.memory.observe(&MEMORY_BUCKETS, cost.memory as u64);
        self.log_dropped.fetch_add(log_dropped, Ordering::Relaxed);
    }

    pub(crate) fn fault(&self, fault: &PluginFault) {
        let mut faults = self.faults.lock();
        *faults.entry((fault.blame.name(), fault.kind.name())).or_default() += 1;
    }

    pub(crate) fn verdicts(&self, decision: &Decision, recipients: usize) {
        for name in decision.verdict_names(recipients) {
            if let Some(index) = VERDICTS.iter().position(|verdict| *verdict == name) {
                self.verdicts[index].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn read(&self) -> PluginMetrics {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PluginMetrics {
            calls: Export::ALL.map(|e| (e.name(), value(&self.calls[e.index()]))).into_iter().collect(),
            faults: self.faults.lock().clone(),
            verdicts: VERDICTS
                .iter()
                .zip(&self.verdicts)
                .map(|(name, count)| (*name, value(count)))
                .collect(),
            cpu: self.cpu.read(),
            memory: self.memory.read(),
            log_dropped: value(&self.log_dropped),
        }
    }
}
