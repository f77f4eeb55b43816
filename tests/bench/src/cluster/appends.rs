//! Appends to the log of a shard without a relay: what an engine gives at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use relevo_queue::shard_log::ShardLog;
use serde::Serialize;
use tokio::task::JoinSet;

use super::engine::{EngineKind, LogEngine};
use crate::ledger::histogram;
use crate::throughput::Percentiles;

/// Octets of a record. A group of 20 messages of 4 KiB has some 64 KiB.
const SIZES: [usize; 3] = [4 << 10, 64 << 10, 256 << 10];
/// Logs that are appended to at the same time.
const LOGS: [u16; 2] = [1, 3];

/// One record after another, each acknowledged before the next one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AppendFigures {
    pub(crate) engine: EngineKind,
    pub(crate) logs: u16,
    pub(crate) octets: usize,
    /// Of all logs together.
    pub(crate) per_second: f64,
    pub(crate) answer_ms: Percentiles,
    /// Processor time of all servers for one append.
    pub(crate) cpu_us: f64,
    /// Octets that all servers wrote to disks for one of a record.
    pub(crate) written: f64,
}

/// Each size over one log and over several, for `duration` each.
pub(crate) fn appends(engine: &LogEngine, duration: Duration) -> Result<Vec<AppendFigures>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connected = runtime.block_on(engine.connect())?;
    let mut figures = Vec::new();
    for count in LOGS {
        // Numbers that no node has.
        let logs = (0..count).map(|n| runtime.block_on(connected.log(0xf000 + n)));
        let logs = logs.collect::<Result<Vec<_>, _>>()?;
        for octets in SIZES {
            let before = engine.counters()?;
            let (times, elapsed) = runtime.block_on(run(&logs, octets, duration))?;
            let after = engine.counters()?;
            #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
            let (appended, written, size) =
                (times.len() as f64, after.written.saturating_sub(before.written) as f64, octets as f64);
            figures.push(AppendFigures {
                engine: engine.kind(),
                logs: count,
                octets,
                per_second: appended / elapsed.as_secs_f64(),
                answer_ms: Percentiles::of(&times),
                cpu_us: after.cpu.since(before.cpu).total().as_secs_f64() * 1e6 / appended,
                written: written / (appended * size),
            });
        }
    }
    Ok(figures)
}

async fn run(
    logs: &[Arc<dyn ShardLog>],
    octets: usize,
    duration: Duration,
) -> Result<(Histogram<u64>, Duration)> {
    let (mut tasks, began) = (JoinSet::new(), Instant::now());
    for log in logs {
        tasks.spawn(writer(Arc::clone(log), octets, began + duration));
    }
    let mut times = histogram()?;
    while let Some(done) = tasks.join_next().await {
        times.add(done.context("a writer panicked")??)?;
    }
    Ok((times, began.elapsed()))
}

async fn writer(log: Arc<dyn ShardLog>, octets: usize, end: Instant) -> Result<Histogram<u64>> {
    let (mut record, mut times) = (vec![0; octets], histogram()?);
    // Records are compressed: no engine can make them smaller.
    StdRng::seed_from_u64(1).fill_bytes(&mut record);
    let mut last = log.bounds().await?.last;
    while Instant::now() < end {
        let began = Instant::now();
        log.append(last, &record).await.map_err(|error| anyhow!("append after {last}: {error}"))?;
        times.saturating_record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        last += 1;
    }
    Ok(times)
}
