//! Messages per second and what one costs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::ledger::{Arrived, Ledger};
use crate::load::{Load, Schedule, Sent, Until};
use crate::message::{Addresses, Message};
use crate::metrics::Metrics;
use crate::process::{self, Cpu};
use crate::relay::PLAIN;
use crate::series::Second;
use crate::server::{EngineCounters, Server};

/// Long enough for pools, caches and connections to be there.
pub(crate) const WARM_UP: Duration = Duration::from_secs(3);
/// A server that is slower than this with what it accepted is stuck.
const DRAIN: Duration = Duration::from_secs(300);

/// A load to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) size: usize,
    pub(crate) sessions: usize,
    /// Recipients of each message.
    pub(crate) recipients: u64,
    /// Sender domains in turn.
    pub(crate) senders: Vec<&'static str>,
    /// Each message has a text of its own.
    pub(crate) is_of_words: bool,
    pub(crate) schedule: Schedule,
    pub(crate) duration: Duration,
    /// It goes on until this is true.
    pub(crate) told: Option<Arc<AtomicBool>>,
}

impl Plan {
    /// A closed loop of messages of one untracked tenant to one recipient each.
    pub(crate) fn new(name: &str, kib: usize, sessions: usize, duration: Duration) -> Self {
        Self {
            name: name.to_owned(),
            size: kib << 10,
            sessions,
            recipients: 1,
            senders: vec![PLAIN],
            is_of_words: false,
            schedule: Schedule::Closed,
            duration,
            told: None,
        }
    }

    pub(crate) fn load(&self, to: &dyn Server, ledger: &Arc<Ledger>, addresses: &Addresses) -> Load {
        let message = if self.is_of_words { Message::of_words } else { Message::new };
        Load {
            to: to.entrances(),
            ledger: Arc::clone(ledger),
            messages: self.senders.iter().map(|domain| message(domain, self.size)).collect(),
            only: None,
            addresses: addresses.clone(),
            recipients: self.recipients,
            sessions: self.sessions,
            until: match &self.told {
                Some(told) => Until::Told(self.duration, Arc::clone(told)),
                None => Until::Elapsed(self.duration),
            },
            schedule: self.schedule,
        }
    }
}

/// What one load gave. Times per message are for all that was done for it, from MAIL to the settled
/// delivery.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) server: String,
    pub(crate) name: String,
    pub(crate) octets: usize,
    pub(crate) sessions: usize,
    pub(crate) recipients: u64,
    pub(crate) senders: Vec<&'static str>,
    pub(crate) paced_per_second: Option<f64>,
    pub(crate) messages: u64,
    pub(crate) accepted_per_second: f64,
    pub(crate) delivered_per_second: f64,
    /// Copies that arrived per second: one for each recipient.
    pub(crate) recipients_per_second: f64,
    /// Answers of 4xx, and recipients refused for good.
    pub(crate) deferred: u64,
    pub(crate) refused: u64,
    pub(crate) cpu_user_us: f64,
    pub(crate) cpu_system_us: f64,
    /// Inside components, by stage.
    pub(crate) stage_us: BTreeMap<String, f64>,
    pub(crate) stage_calls: BTreeMap<String, f64>,
    /// From the final dot to its 250.
    pub(crate) answer_ms: Percentiles,
    /// From when it was due to its 250.
    pub(crate) response_ms: Percentiles,
    /// From the 250 to the recipient's name at the next hop, as both ends saw it.
    pub(crate) to_next_hop_ms: Percentiles,
    /// The relay's own measure: upper bound of the bucket that holds the 99th percentile.
    pub(crate) first_attempt_p99_at_most_ms: Option<f64>,
    /// Durable commits for one message, and requests that shared one.
    pub(crate) commits_per_message: f64,
    pub(crate) group: f64,
    pub(crate) peak_kib: u64,
    /// Processor time of the load generator and the sink.
    pub(crate) harness_us: f64,
    /// Octets that the server had written to disks for one message.
    pub(crate) written_octets: Option<f64>,
    pub(crate) engine: Option<EngineFigures>,
    /// Share of the machine that other processes took meanwhile.
    pub(crate) others: f64,
    /// Second by second: accepted with the time since it was due, arrived with the time since the
    /// 250.
    pub(crate) accepted_series: Vec<Second>,
    pub(crate) arrived_series: Vec<Second>,
}

impl Figures {
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu_user_us + self.cpu_system_us
    }

    /// What the server got through from end to end.
    pub(crate) fn rate(&self) -> f64 {
        self.accepted_per_second.min(self.delivered_per_second)
    }

    /// Time in components over the time of the process.
    pub(crate) fn wasm_share(&self) -> f64 {
        self.stage_us.values().sum::<f64>() / self.cpu_us()
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Percentiles {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of minutes")]
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |q: f64| histogram.value_at_quantile(q) as f64 / 1000.0;
        let max = histogram.max() as f64 / 1000.0;
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max }
    }
}

/// What a load cost the engine of a cluster.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct EngineFigures {
    pub(crate) appends_per_second: f64,
    pub(crate) messages_per_append: f64,
    /// Octets of its logs for one message.
    pub(crate) octets: f64,
    /// Octets that all its servers wrote to disks for one message.
    pub(crate) written_octets: f64,
    /// Processor time of all its servers for one message.
    pub(crate) cpu_us: f64,
}

impl EngineFigures {
    /// From what was counted before and after; none without an engine.
    #[expect(clippy::cast_precision_loss, reason = "counts of minutes")]
    fn of(before: &Snapshot, after: &Snapshot, messages: f64, seconds: f64) -> Option<Self> {
        let (before, after) = (before.engine?, after.engine?);
        let appends = (after.appends - before.appends) as f64;
        let each = |before: u64, after: u64| (after as f64 - before as f64) / messages;
        Some(Self {
            appends_per_second: appends / seconds,
            messages_per_append: messages / appends.max(1.0),
            octets: each(before.octets, after.octets),
            written_octets: each(before.written, after.written),
            cpu_us: after.cpu.since(before.cpu).total().as_secs_f64() * 1e6 / messages,
        })
    }
}

/// Everything that is read before and after.
struct Snapshot {
    at: Instant,
    metrics: Metrics,
    server: Cpu,
    harness: Cpu,
    busy: Duration,
    written: Option<u64>,
    engine: Option<EngineCounters>,
}

impl Snapshot {
    fn take(server: &dyn Server) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            metrics: server.metrics()?.unwrap_or_default(),
            server: server.cpu()?,
            harness: process::cpu(std::process::id())?,
            busy: process::busy()?,
            written: server.written()?,
            engine: server.engine()?,
        })
    }
}

/// Warms up, loads, waits until everything is delivered.
pub(crate) fn measure(
    server: &dyn Server,
    ledger: &Arc<Ledger>,
    addresses: &Addresses,
    plan: &Plan,
) -> Result<Figures> {
    let load = plan.load(server, ledger, addresses);
    ledger.clear();
    let warm = Load { until: Until::Elapsed(WARM_UP.min(plan.duration)), ..load.clone() }.run()?;
    delivered(server, ledger, warm.accepted * plan.recipients).context("warming up")?;

    ledger.clear();
    if let Some(pid) = server.main_process() {
        process::reset_peak(pid)?;
    }
    let before = Snapshot::take(server)?;
    let sent = load.run()?;
    let arrived = delivered(server, ledger, sent.accepted * plan.recipients)?;
    let after = Snapshot::take(server)?;
    ensure!(sent.accepted > 0, "{}: nothing was accepted", plan.name);
    ensure!(arrived.repeated == 0, "{}: {} messages arrived twice", plan.name, arrived.repeated);
    ensure!(arrived.unsigned == 0, "{}: {} messages have no signature", plan.name, arrived.unsigned);
    figures(server, ledger, plan, &sent, &before, &after)
}

/// Waits until so many copies arrived or were refused for good, and the server has written that
/// down.
pub(crate) fn delivered(server: &dyn Server, ledger: &Ledger, copies: u64) -> Result<Arrived> {
    let began = Instant::now();
    loop {
        let arrived = ledger.counts();
        if arrived.messages + arrived.refused >= copies {
            ensure!(
                arrived.messages + arrived.refused == copies,
                "{copies} copies were sent, {} arrived",
                arrived.messages
            );
            server.settle(DRAIN)?;
            return Ok(ledger.counts());
        }
        ensure!(
            began.elapsed() < DRAIN,
            "{}: {} of {copies} copies arrived, {} refused, within {DRAIN:?}",
            server.name(),
            arrived.messages,
            arrived.refused
        );
        sleep(Duration::from_millis(20));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of minutes")]
fn figures(
    server: &dyn Server,
    ledger: &Ledger,
    plan: &Plan,
    sent: &Sent,
    before: &Snapshot,
    after: &Snapshot,
) -> Result<Figures> {
    let arrived = ledger.counts();
    let messages = sent.accepted as f64;
    let each = |duration: Duration| duration.as_secs_f64() * 1e6 / messages;
    let counted = after.metrics.since(&before.metrics);
    let per_message = |values: BTreeMap<String, f64>, scale: f64| -> BTreeMap<String, f64> {
        values.into_iter().map(|(stage, v)| (stage, v * scale / messages)).filter(|s| s.1 > 0.0).collect()
    };
    let cpu = after.server.since(before.server);
    let harness = after.harness.since(before.harness).total();
    let machine = std::thread::available_parallelism()?.get() as f64 * (after.at - before.at).as_secs_f64();
    let engine = before.engine.zip(after.engine).map_or(Duration::ZERO, |(b, a)| a.cpu.since(b.cpu).total());
    let others = (after.busy.saturating_sub(before.busy)).saturating_sub(cpu.total() + harness + engine);
    let delivering = arrived.last.saturating_duration_since(sent.began).as_secs_f64();
    Ok(Figures {
        server: server.name().to_owned(),
        name: plan.name.clone(),
        octets: plan.size,
        sessions: plan.sessions,
        recipients: plan.recipients,
        senders: plan.senders.clone(),
        paced_per_second: match plan.schedule {
            Schedule::Closed => None,
            Schedule::Open(rate) => Some(rate),
        },
        messages: sent.accepted,
        accepted_per_second: messages / sent.elapsed.as_secs_f64(),
        delivered_per_second: messages / delivering,
        recipients_per_second: arrived.messages as f64 / delivering,
        deferred: arrived.deferred,
        refused: arrived.refused,
        cpu_user_us: each(cpu.user),
        cpu_system_us: each(cpu.system),
        stage_us: per_message(counted.labelled("relevo_stage_cpu_seconds_total"), 1e6),
        stage_calls: per_message(counted.labelled("relevo_stage_calls_total"), 1.0),
        answer_ms: Percentiles::of(&sent.latency),
        response_ms: Percentiles::of(&sent.response),
        to_next_hop_ms: Percentiles::of(&ledger.waits()),
        first_attempt_p99_at_most_ms: counted
            .quantile("relevo_delivery_first_attempt_seconds", 0.99)
            .filter(|bound| bound.is_finite())
            .map(|bound| bound * 1000.0),
        commits_per_message: counted.get("relevo_queue_commits_total") / messages,
        group: counted.get("relevo_queue_commit_requests_total")
            / counted.get("relevo_queue_commits_total").max(1.0),
        peak_kib: server.main_process().map(process::memory).transpose()?.map_or(0, |m| m.peak),
        harness_us: each(harness),
        written_octets: before.written.zip(after.written).map(|(b, a)| a.saturating_sub(b) as f64 / messages),
        engine: EngineFigures::of(before, after, messages, delivering),
        others: others.as_secs_f64() / machine,
        accepted_series: sent.series.points(),
        arrived_series: ledger.arrivals(),
    })
}
