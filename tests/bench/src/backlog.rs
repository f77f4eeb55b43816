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
/// Loads on the relay without a backlog and on the one with it, in turn.
const PAIRS: usize = 5;
/// Messages between two notes while it is filled.
const STEP: u64 = 100_000;

/// Fresh mail beside a backlog.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Backlog {
    pub(crate) queued: u64,
    pub(crate) filled_per_second: f64,
    /// Medians of messages per second, and of the ratio of each pair.
    pub(crate) empty_rate: f64,
    pub(crate) beside_rate: f64,
    pub(crate) ratio: f64,
    /// The largest resident memory during the loads beside it.
    pub(crate) resident_kib: u64,
    /// Until it listens again with all of it queued, after SIGKILL.
    pub(crate) restart_seconds: f64,
    pub(crate) restarted_kib: u64,
    /// With an empty queue, then beside the backlog.
    pub(crate) pairs: Vec<[Figures; 2]>,
}

impl Bench<'_> {
    pub(crate) fn backlog(&mut self) -> Result<()> {
        let scene = Scene::read(&builtin_sink("backlog"))?;
        let directories = ["empty", "backlog"].map(|name| self.directory.join(name));
        // Once an hour for each site: the backlog is there, but not on its way all the time.
        let [empty, setup] = directories.each_ref().map(|directory| Setup {
            directory,
            retry: "1h",
            ..self.setup(scene.by_mx())
        });
        for setup in [&empty, &setup] {
            compile(setup)?;
        }
        let relay = Relay::start(&setup)?;
        let filling = fill(&relay, &scene, self.options.backlog)?;
        // Two relays, so that they can take turns: what the machine gives changes while the backlog
        // is filled.
        let empty = Relay::start(&empty)?;
        let plan = Plan::new(REFERENCE, 4, 20, self.options.duration);
        let rate = |relay: &Relay| measure(relay, &scene.ledger, &scene.addresses(), &plan);
        let mut pairs = Vec::new();
        for n in 1..=if self.options.quick { 1 } else { PAIRS } {
            note(&format!("fresh mail with an empty queue and beside the backlog, pair {n}"));
            // Who is first has the colder machine.
            if n % 2 == 1 {
                pairs.push([rate(&empty)?, rate(&relay)?]);
            } else {
                let beside = rate(&relay)?;
                pairs.push([rate(&empty)?, beside]);
            }
        }
        empty.stop()?;
        let resident_kib = pairs.iter().map(|[_, beside]| beside.peak_kib).max().unwrap_or_default();
        relay.kill()?;
        let began = Instant::now();
        let relay = Relay::start(&setup)?;
        let restart_seconds = began.elapsed().as_secs_f64();
        let rate = |side: usize| median(pairs.iter().map(|pair| pair[side].rate()));
        #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
        let filled_per_second = self.options.backlog as f64 / filling.as_secs_f64();
        self.report.backlog = Some(Backlog {
            queued: self.options.backlog,
            filled_per_second,
            empty_rate: rate(0),
            beside_rate: rate(1),
            ratio: median(pairs.iter().map(|[empty, beside]| beside.rate() / empty.rate())),
            resident_kib,
            restart_seconds,
            restarted_kib: process::memory(relay.pid())?.resident,
            pairs,
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
