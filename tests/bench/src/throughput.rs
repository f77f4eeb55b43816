//! Messages per second and what one costs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::ledger::Ledger;
use crate::load::{Load, Sent, Until};
use crate::message::Message;
use crate::metrics::Metrics;
use crate::process::{self, Cpu};
use crate::relay::{PLAIN, Relay, TRACKED};

/// Long enough for pools, caches and connections to be there.
const WARM_UP: Duration = Duration::from_secs(3);
/// A relay that is slower than this with what it accepted is stuck.
const DRAIN: Duration = Duration::from_secs(300);

/// A load to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) size: usize,
    pub(crate) sessions: usize,
    pub(crate) tracked: bool,
    pub(crate) pace: Option<f64>,
    pub(crate) duration: Duration,
}

/// What one load gave. Times per message are for all that was done for it, from MAIL to the settled delivery.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) name: String,
    pub(crate) octets: usize,
    pub(crate) sessions: usize,
    pub(crate) tracked: bool,
    pub(crate) paced_per_second: Option<f64>,
    pub(crate) messages: u64,
    pub(crate) accepted_per_second: f64,
    pub(crate) delivered_per_second: f64,
    pub(crate) cpu_user_us: f64,
    pub(crate) cpu_system_us: f64,
    /// Inside components, by stage.
    pub(crate) stage_us: BTreeMap<String, f64>,
    pub(crate) stage_calls: BTreeMap<String, f64>,
    /// From the final dot to its 250.
    pub(crate) answer_ms: Percentiles,
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
    /// Share of the machine that other processes took meanwhile.
    pub(crate) others: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Percentiles {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of minutes")]
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |q: f64| histogram.value_at_quantile(q) as f64 / 1000.0;
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: histogram.max() as f64 / 1000.0 }
    }
}

/// Everything that is read before and after.
struct Snapshot {
    at: Instant,
    metrics: Metrics,
    relay: Cpu,
    harness: Cpu,
    busy: Duration,
}

impl Snapshot {
    fn take(relay: &Relay, metrics: Metrics) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            metrics,
            relay: process::cpu(relay.pid())?,
            harness: process::cpu(std::process::id())?,
            busy: process::busy()?,
        })
    }
}

/// Warms up, loads, waits until everything is delivered.
pub(crate) fn measure(relay: &Relay, ledger: &Arc<Ledger>, plan: &Plan) -> Result<Figures> {
    let domain = if plan.tracked { TRACKED } else { PLAIN };
    let load = Load {
        to: relay.smtp,
        ledger: Arc::clone(ledger),
        message: Arc::new(Message::new(domain, plan.size)),
        sessions: plan.sessions,
        until: Until::Elapsed(WARM_UP.min(plan.duration)),
        pace: plan.pace,
    };
    load.clone().run()?;
    let metrics = relay.drained(DRAIN)?;

    ledger.clear();
    process::reset_peak(relay.pid())?;
    let before = Snapshot::take(relay, metrics)?;
    let sent = Load { until: Until::Elapsed(plan.duration), ..load }.run()?;
    let metrics = relay.drained(DRAIN)?;
    let after = Snapshot::take(relay, metrics)?;
    figures(relay, ledger, plan, &sent, &before, &after)
}

#[expect(clippy::cast_precision_loss, reason = "counts of minutes")]
fn figures(
    relay: &Relay,
    ledger: &Ledger,
    plan: &Plan,
    sent: &Sent,
    before: &Snapshot,
    after: &Snapshot,
) -> Result<Figures> {
    let arrived = ledger.counts();
    ensure!(sent.accepted > 0, "{}: nothing was accepted", plan.name);
    ensure!(
        arrived.messages == sent.accepted,
        "{}: {} messages accepted, {} arrived",
        plan.name,
        sent.accepted,
        arrived.messages
    );
    ensure!(arrived.repeated == 0, "{}: {} messages arrived twice", plan.name, arrived.repeated);
    ensure!(arrived.unsigned == 0, "{}: {} messages have no signature", plan.name, arrived.unsigned);

    let messages = sent.accepted as f64;
    let each = |duration: Duration| duration.as_secs_f64() * 1e6 / messages;
    let counted = after.metrics.since(&before.metrics);
    let per_message = |values: BTreeMap<String, f64>, scale: f64| -> BTreeMap<String, f64> {
        values.into_iter().map(|(stage, v)| (stage, v * scale / messages)).filter(|s| s.1 > 0.0).collect()
    };
    let cpu = after.relay.since(before.relay);
    let harness = after.harness.since(before.harness).total();
    let machine = std::thread::available_parallelism()?.get() as f64 * (after.at - before.at).as_secs_f64();
    let others = (after.busy.saturating_sub(before.busy)).saturating_sub(cpu.total() + harness);
    Ok(Figures {
        name: plan.name.clone(),
        octets: plan.size,
        sessions: plan.sessions,
        tracked: plan.tracked,
        paced_per_second: plan.pace,
        messages: sent.accepted,
        accepted_per_second: messages / sent.elapsed.as_secs_f64(),
        delivered_per_second: messages / (arrived.last - sent.began).as_secs_f64(),
        cpu_user_us: each(cpu.user),
        cpu_system_us: each(cpu.system),
        stage_us: per_message(counted.labelled("relevo_stage_cpu_seconds_total"), 1e6),
        stage_calls: per_message(counted.labelled("relevo_stage_calls_total"), 1.0),
        answer_ms: Percentiles::of(&sent.latency),
        to_next_hop_ms: Percentiles::of(&ledger.waits()),
        first_attempt_p99_at_most_ms: counted
            .quantile("relevo_delivery_first_attempt_seconds", 0.99)
            .filter(|bound| bound.is_finite())
            .map(|bound| bound * 1000.0),
        commits_per_message: counted.get("relevo_queue_commits_total") / messages,
        group: counted.get("relevo_queue_committed_total")
            / counted.get("relevo_queue_commits_total").max(1.0),
        peak_kib: process::memory(relay.pid())?.peak,
        harness_us: each(harness),
        others: others.as_secs_f64() / machine,
    })
}
