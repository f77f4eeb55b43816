//! A month of a new sender before receivers that do not know its addresses, in a minute.
//!
//! Delivery runs as it does in the relay, with the rules that are built in: scheduling, connections,
//! shaping, warm-up, classification, retries. Time is simulated, and nothing is sent. The receivers
//! are assumed: `habits.rs` and `receiver.rs`, and README.md in words.
//!
//! Each receiver has a simulation of its own, in which nothing depends on the order of a hash map or
//! on other threads: the same seed gives the same month.

mod chance;
mod habits;
mod network;
mod queue;
mod receiver;
mod settings;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow};
use parking_lot::Mutex;
use relevo_classify::{DEFAULT_RULES, Rules};
use serde::Serialize;

use habits::{Habits, RECEIVERS};
pub(crate) use receiver::DayCounts;
use settings::KnownReplies;
use world::WorldDays;

/// What the sender does, apart from how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Scenario {
    pub(crate) days: u32,
    /// Messages in a day that the sender wants to send.
    pub(crate) daily: u32,
    /// Of 100,000 accepted messages: those that are complained about.
    pub(crate) complaints: u64,
    seed: u64,
}

/// A sender that is wanted: half as many complaints as a receiver takes note of.
const MONTH: Scenario = Scenario { days: 30, daily: 5_000, complaints: 50, seed: 20_261_129 };
/// The share of what is wanted that counts as full volume, of a hundred.
const FULL: u32 = 95;

/// How the sender goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// Without limits of receivers, and without a meaning of their replies.
    Plain,
    /// Shaping by provider, without warm-up.
    Shaped,
    /// Shaping, and `warmup = "auto"`.
    WarmedUp,
}

impl Way {
    const ALL: [Self; 3] = [Self::Plain, Self::Shaped, Self::WarmedUp];

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "neither",
            Self::Shaped => "shaping",
            Self::WarmedUp => "shaping and warm-up",
        }
    }
}

/// One way at one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AtReceiver {
    pub(crate) name: &'static str,
    pub(crate) total: DayCounts,
    /// How often the receiver blocked an address, and how often the relay suspended one there.
    pub(crate) blocks: u32,
    pub(crate) suspensions: u32,
    /// By day and address: the cap of warm-up, and what was accepted.
    pub(crate) caps: Vec<[(Option<u32>, u32); 2]>,
}

/// One way, all receivers together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Month {
    pub(crate) way: Way,
    pub(crate) days: Vec<DayCounts>,
    pub(crate) receivers: Vec<AtReceiver>,
    /// Messages that wait at the end.
    pub(crate) waiting: usize,
    /// The first day of those at the end that all had full volume.
    pub(crate) full_volume_on: Option<usize>,
}

impl Month {
    fn new(way: Way, scenario: Scenario, receivers: &[Habits], worlds: Vec<WorldDays>) -> Self {
        let mut days = vec![DayCounts::default(); worlds.first().map_or(0, |world| world.days.len())];
        let waiting = worlds.iter().map(|world| world.waiting).sum();
        let mut at = Vec::new();
        for (habits, world) in receivers.iter().zip(worlds) {
            let mut total = DayCounts::default();
            for (day, counts) in days.iter_mut().zip(&world.days) {
                day.add(*counts);
                total.add(*counts);
            }
            let (blocks, suspensions) = (world.blocks, world.suspensions);
            at.push(AtReceiver { name: habits.name, total, blocks, suspensions, caps: world.caps });
        }
        let wanted: u32 = receivers.iter().map(|habits| habits.of(scenario.daily)).sum();
        let full = |day: &DayCounts| day.delivered * 100 >= wanted * FULL;
        let short = days.iter().rposition(|day| !full(day)).map_or(0, |last| last + 1);
        let full_volume_on = (short < days.len()).then_some(short + 1);
        Self { way, days, receivers: at, waiting, full_volume_on }
    }

    pub(crate) fn total(&self) -> DayCounts {
        let mut total = DayCounts::default();
        self.days.iter().for_each(|day| total.add(*day));
        total
    }

    /// How often an address was blocked.
    pub(crate) fn blocks(&self) -> u32 {
        self.receivers.iter().map(|receiver| receiver.blocks).sum()
    }
}

/// All ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Receivers {
    pub(crate) scenario: Scenario,
    pub(crate) classification_rules: String,
    pub(crate) months: Vec<Month>,
}

/// Runs the month for each way.
///
/// # Errors
/// The classification rules cannot be read, or there is no runtime.
pub(crate) fn receivers() -> Result<Receivers> {
    simulate(MONTH, &RECEIVERS, &Way::ALL)
}

fn simulate(scenario: Scenario, receivers: &'static [Habits], ways: &[Way]) -> Result<Receivers> {
    let rules = Rules::parse(DEFAULT_RULES).context("the classification rules")?;
    let version = rules.version().to_owned();
    let classify = Arc::new(KnownReplies::new(rules));
    let mut months = Vec::new();
    for way in ways.iter().copied() {
        let worlds = worlds(way, scenario, receivers, &classify)?;
        months.push(Month::new(way, scenario, receivers, worlds));
    }
    Ok(Receivers { scenario, classification_rules: version, months })
}

/// All receivers, as many at once as there are processors.
fn worlds(
    way: Way,
    scenario: Scenario,
    receivers: &'static [Habits],
    classify: &Arc<KnownReplies>,
) -> Result<Vec<WorldDays>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((number, habits)) =
                    receivers.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed))
                {
                    let world = world::run(habits, way, scenario, classify);
                    done.lock().push((number, world));
                }
            });
        }
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(number, _)| *number);
    if done.len() != receivers.len() {
        return Err(anyhow!("a simulation broke"));
    }
    done.into_iter().map(|(_, world)| world).collect()
}

#[cfg(test)]
mod tests;
