//! Fresh mail while very many messages wait for dead destinations.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::bench::{Bench, compile, note};
use crate::compare::median;
use crate::memory::{quiet, small};
use crate::message::Addresses;
use crate::options::builtin_sink;
use crate::process;
use crate::relay::{PLAIN, Relay, Setup};
use crate::report::REFERENCE;
use crate::scene::{Scene, TAG};
use crate::throughput::{Figures, Plan, measure};

/// One refuses connections, the other swallows them (`sinks/backlog.toml`).
const DEAD: [&str; 2] = ["refused.test", "blackhole.test"];
/// Loads with and without the backlog.
const ROUNDS: usize = 3;
/// Messages between two notes while it is filled.
const STEP: u64 = 100_000;

/// Fresh mail beside a backlog.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Backlog {
    pub(crate) queued: u64,
    pub(crate) filled_per_second: f64,
    /// Medians of messages per second.
    pub(crate) empty_rate: f64,
    pub(crate) beside_rate: f64,
    /// The largest resident memory during the loads beside it.
    pub(crate) resident_kib: u64,
    /// Until it listens again with all of it queued, after SIGKILL.
    pub(crate) restart_seconds: f64,
    pub(crate) restarted_kib: u64,
    pub(crate) empty: Vec<Figures>,
    pub(crate) beside: Vec<Figures>,
}

impl Bench<'_> {
    pub(crate) fn backlog(&mut self) -> Result<()> {
        let scene = Scene::read(&builtin_sink("backlog"))?;
        // Once an hour for each site: the backlog is there, but not on its way all the time.
        let directory = self.directory.join("backlog");
        let setup = Setup { directory: &directory, retry: "1h", ..self.setup(scene.by_mx()) };
        compile(&setup)?;
        let relay = Relay::start(&setup)?;
        let plan = Plan::new(REFERENCE, 4, 20, self.options.duration);
        let rounds = || -> Result<Vec<Figures>> {
            let rounds = if self.options.quick { 1 } else { ROUNDS };
            (0..rounds).map(|_| measure(&relay, &scene.ledger, &scene.addresses(), &plan)).collect()
        };
        note("fresh mail with an empty queue");
        let empty = rounds()?;
        let filling = fill(&relay, &scene, self.options.backlog)?;
        note("fresh mail beside the backlog");
        let beside = rounds()?;
        let resident_kib = beside.iter().map(|f| f.peak_kib).max().unwrap_or_default();
        relay.kill()?;
        let began = Instant::now();
        let relay = Relay::start(&setup)?;
        let restart_seconds = began.elapsed().as_secs_f64();
        let rate = |figures: &[Figures]| median(figures.iter().map(Figures::rate));
        #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
        let filled_per_second = self.options.backlog as f64 / filling.as_secs_f64();
        self.report.backlog = Some(Backlog {
            queued: self.options.backlog,
            filled_per_second,
            empty_rate: rate(&empty),
            beside_rate: rate(&beside),
            resident_kib,
            restart_seconds,
            restarted_kib: process::memory(relay.pid())?.resident,
            empty,
            beside,
        });
        // What it would still have to say to dead destinations interests nobody.
        relay.kill()
    }
}

/// Over SMTP, in turn for both destinations; until no attempt is under way any more.
fn fill(relay: &Relay, scene: &Scene, messages: u64) -> Result<Duration> {
    let began = Instant::now();
    let mut filled = 0;
    while filled < messages {
        let step = STEP.min(messages - filled);
        for (domain, count) in DEAD.into_iter().zip([step / 2, step - step / 2]) {
            small(relay, scene, &Addresses::at(TAG, domain), PLAIN, count).run()?;
        }
        filled += step;
        note(&format!("{filled} of {messages} messages queued"));
    }
    let elapsed = began.elapsed();
    quiet(relay)?;
    #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
    let (queued, wanted) = (relay.metrics()?.get("relevo_queue_items"), messages as f64);
    ensure!(queued >= wanted, "{queued} messages are queued, {wanted} were accepted");
    Ok(elapsed)
}
