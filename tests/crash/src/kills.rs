//! Kills a loaded relay again and again on one data directory, then lets it come to rest and
//! judges.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use relevo_bench::relay::{Launch, NextHop, Relay, Setup};
use relevo_bench::sink::{Arrival, Behaviour, Observer, Sites};

use crate::ledger::Ledger;
use crate::load::Load;
use crate::mail::RECEIVERS;
use crate::pulse::Pulse;
use crate::relay_log::RelayLog;
use crate::tracer;
use crate::trigger::{Moment, Trigger};
use crate::verdict::{Verdict, controls, judge};

/// Segments that are soon full and soon emptied, and events that are old at the next start, so that
/// kills meet all of it.
pub(crate) const SECTIONS: &str = "[queue]\nsegment_size = \"256KiB\"\ncompact_min_age = \"1s\"\nspool_memory = \"192KiB\"\n[events]\nretention = \"2s\"\n";
/// From when a receiver has a copy until its acknowledgement is settled on disk: up to 400 ms of
/// the slow receiver, and a commit, which on a busy machine may wait for others.
pub(crate) const IN_FLIGHT: Duration = Duration::from_secs(2);
/// For everything that was accepted to arrive.
pub(crate) const DRAIN: Duration = Duration::from_secs(180);

/// When to kill.
#[derive(Debug, Clone, Copy)]
enum Aim {
    /// Whenever.
    Random(Duration),
    /// While it starts: recovery itself is killed.
    Start(Duration),
    /// At something that the harness sees, after it was seen so often, a little later.
    Moment(Moment, u32, Duration),
    /// At a thread's Nth call of a kind, before the kernel does it.
    Call(&'static str, u32),
}

impl Aim {
    /// All kinds take turns, so that a short run has them all; the moment within a kind is left to
    /// chance.
    fn choose(turn: usize, rng: &mut StdRng) -> Self {
        let (skip, after) = (rng.random_range(0..60), Duration::from_micros(rng.random_range(0..8000)));
        match turn % 10 {
            0 => Self::Random(Duration::from_millis(rng.random_range(50..3000))),
            1 => Self::Call("fdatasync", rng.random_range(1..80)),
            2 => Self::Moment(Moment::Delivery, skip, after),
            // Twice in a row, soon after a kill that left much to recover.
            3 | 4 => Self::Start(Duration::from_micros(rng.random_range(500..50_000))),
            5 => Self::Call("pwrite64", rng.random_range(1..400)),
            6 => Self::Moment(Moment::Bounce, skip / 4, after),
            7 => Self::Call("?unlink,unlinkat", rng.random_range(1..8)),
            8 => Self::Moment(Moment::Accept, skip, after),
            _ => Self::Call("?rename,renameat2", rng.random_range(1..6)),
        }
    }
}

/// The sink's news go to the ledger, and to the trigger.
pub(crate) struct Watch {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) trigger: Arc<Trigger>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Observer for Watch {
    fn keep(&self) -> usize {
        self.ledger.keep()
    }

    fn recipient(&self, address: &str) {
        self.ledger.recipient(address);
    }

    fn message(&self, arrival: &Arrival<'_>) {
        self.ledger.message(arrival);
        self.trigger.at(Moment::Delivery);
    }

    fn refused(&self, address: &str, permanent: bool) {
        self.ledger.refused(address, permanent);
        if permanent {
            self.trigger.at(Moment::Bounce);
        }
    }

    fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a run was like.
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// Kills by what the relay was doing, as far as that can be seen.
    pub(crate) phases: BTreeMap<String, usize>,
    /// Spoiled ledgers that were not found out.
    pub(crate) blind: Vec<&'static str>,
    pub(crate) put_off: u64,
    pub(crate) emptied: usize,
}

/// Kills `kills` times.
pub(crate) fn run(binary: &Path, directory: &Path, kills: usize, seed: u64) -> Result<Outcome> {
    let pulse = Pulse::start()?;
    let receivers = Arc::new(Behaviour::parse(RECEIVERS)?);
    let (ledger, trigger) = (Arc::new(Ledger::new(pulse.clone())), Arc::new(Trigger::default()));
    let connections = Arc::new(AtomicUsize::new(0));
    let watch = Watch {
        ledger: Arc::clone(&ledger),
        trigger: Arc::clone(&trigger),
        connections: Arc::clone(&connections),
    };
    let sites = Sites::start(Arc::clone(&receivers), Arc::new(watch))?;
    let setup = Setup { binary, directory, next_hop: NextHop::Smarthost(sites.smarthost), retry: "1s" };
    let mut run = Run {
        load: Load::start(Arc::clone(&ledger), Arc::clone(&trigger), receivers, seed)?,
        log: RelayLog::new(directory),
        rng: StdRng::seed_from_u64(seed),
        phases: BTreeMap::new(),
        emptied: 0,
        setup,
        trigger,
    };
    let mut killed = Vec::new();
    for n in 1..=kills {
        let phase = run.life(n - 1)?;
        // What the dead relay had sent is still being read; it belongs before the kill.
        settled(&connections)?;
        killed.push(pulse.now());
        eprintln!("crash: kill {n} of {kills}: {phase}");
        *run.phases.entry(phase).or_default() += 1;
    }
    let Run { load, phases, emptied, .. } = run;
    load.point_to(None);
    load.stop()?;
    let relay = Relay::start(&setup)?;
    let metrics = relay.drained(DRAIN)?;
    ensure!(metrics.get("relevo_queue_quarantined") == 0.0, "damaged entries went to quarantine");
    relay.stop()?;
    let book = ledger.book();
    let verdict = judge(&book, &killed, IN_FLIGHT);
    ensure!(
        verdict.acknowledged > kills,
        "only {} messages were accepted: this shows nothing",
        verdict.acknowledged
    );
    let blind = if verdict.violations.is_empty() { controls(&book, &killed, IN_FLIGHT) } else { Vec::new() };
    Ok(Outcome { verdict, phases, blind, put_off: book.put_off, emptied })
}

/// Waits until the sink has read everything of a relay that is gone.
pub(crate) fn settled(connections: &AtomicUsize) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let began = Instant::now();
    while connections.load(Ordering::Relaxed) > 0 {
        ensure!(began.elapsed() < PATIENCE, "connections of a relay that was killed stay open");
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

struct Run<'a> {
    setup: Setup<'a>,
    load: Load,
    trigger: Arc<Trigger>,
    log: RelayLog,
    rng: StdRng,
    phases: BTreeMap<String, usize>,
    emptied: usize,
}

impl Run<'_> {
    /// From a start to a kill. What was hit.
    fn life(&mut self, turn: usize) -> Result<String> {
        /// Then it is killed even though what was aimed at did not happen.
        const LONGEST: Duration = Duration::from_secs(6);
        let aim = Aim::choose(turn, &mut self.rng);
        let trace = self.setup.directory.join("strace");
        let mut launch = Launch {
            sections: SECTIONS.to_owned(),
            environment: vec![(
                "RELEVO_LOG".to_owned(),
                "warn,relevo_queue=debug,relevo::serve=info".to_owned(),
            )],
            ..Launch::default()
        };
        if let Aim::Call(call, nth) = aim {
            launch.under = tracer::kill_at(&trace, call, nth);
        }
        self.log.begin()?;
        let mut relay = Relay::launch(&self.setup, &launch)?;
        if let Aim::Start(after) = aim {
            sleep(after);
            relay.kill()?;
            let ready = self.log.end()?.ready;
            return Ok(if ready { "just started" } else { "start, recovery" }.to_owned());
        }
        // A kill within the start is an end, not an error.
        if let Err(error) = relay.wait_until_it_listens() {
            ensure!(matches!(aim, Aim::Call(..)) && relay.ended()?, "{error:#}");
        }
        self.load.point_to(Some(relay.smtp));
        let began = Instant::now();
        let until = if let Aim::Random(after) = aim { after } else { LONGEST };
        if let Aim::Moment(moment, skip, after) = aim {
            self.trigger.arm(moment, relay.pid(), skip, after);
        }
        while began.elapsed() < until && !relay.ended()? {
            sleep(Duration::from_millis(2));
        }
        let (by_itself, sending) = (relay.ended()?, self.load.sending());
        self.trigger.disarm();
        relay.kill()?;
        self.load.point_to(None);
        let lived = self.log.end()?;
        ensure!(!lived.panicked, "the relay panicked; see its log");
        self.emptied += lived.emptied;
        let phase = match aim {
            Aim::Call(..) if by_itself => last_call(&trace)?,
            Aim::Moment(moment, ..) if by_itself => format!("{moment:?}").to_lowercase(),
            _ => format!("random, {sending} transactions under way"),
        };
        Ok(if lived.emptying { format!("compaction ({phase})") } else { phase })
    }
}

/// The call at which the tracer killed, and what it was about.
fn last_call(trace: &Path) -> Result<String> {
    let text = std::fs::read(trace).with_context(|| format!("{}", trace.display()))?;
    let calls = crate::trace::read(text.as_slice())?;
    // A thread that dies within a call may leave one without a name.
    let mut named = calls.iter().rev().filter(|c| !c.name.starts_with('?'));
    let last = named.clone().next();
    let call = named.find(|c| c.result.is_none()).or(last);
    let call = call.context("the tracer saw no call")?;
    let about = call.file(0).cloned().or_else(|_| call.path(0)).ok().map(|file| {
        let name =
            |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let directory = file.parent().map(name).unwrap_or_default();
        match directory.as_str() {
            "segments" | "bodies" | "spool" | "quarantine" => directory,
            _ => name(&file),
        }
    });
    Ok(format!("{} {}", call.name, about.unwrap_or_default()).trim_end().to_owned())
}
