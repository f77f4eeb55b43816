//! The power fails at random moments of a traced run: the data directory is rebuilt with what had
//! been synced by then, with luck for the rest, a relay is started on it, and every message
//! acknowledged before must come out of it unaltered.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use relevo_bench::relay::{Launch, NextHop, Relay, Setup};
use relevo_bench::sink::{self, Behaviour, Sites};
use relevo_queue::ItemId;

use crate::image::Replay;
use crate::kills::SECTIONS;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::mail::Mail;
use crate::synced::acknowledgements;
use crate::trace::Call;
use crate::tracer;
use crate::trigger::Trigger;
use crate::warm::Warm;

/// How long the traced relay is loaded.
const LOADED: Duration = Duration::from_secs(5);
/// For a relay on an image to deliver what it must.
const DRAIN: Duration = Duration::from_secs(60);

/// Half of the recipients are refused for now, so that much stays queued; the rest is delivered and
/// deleted.
const RECEIVERS: &str = r#"
seed = 3
[[domain]]
name = "ok.test"
[[domain]]
name = "later.test"
provider = "small"
temporary = 100
"#;

/// The domain whose recipients get their mail under the tracer.
const DELIVERED: &str = "@ok.test";

/// What was shown.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Recipients that were promised under the tracer.
    pub(crate) promises: usize,
    pub(crate) images: usize,
    /// Recipients that images had to hold, over all of them.
    pub(crate) held: usize,
    /// Calls that changed files or synced them.
    pub(crate) calls: usize,
    /// Syncs that were taken for nothing, because a write ran beside them.
    pub(crate) overlapped: usize,
    /// An index that was not synced any more was found out.
    pub(crate) control: bool,
}

/// A recipient of a message that was acknowledged.
struct Promise {
    serial: u64,
    recipient: String,
    acknowledged: usize,
    /// From here on it may have been delivered, and then be forgotten.
    left: usize,
}

/// Loads a relay under the tracer and then tries `images` images of its data directory.
///
/// # Errors
/// A message that was acknowledged is not in one of them, or a relay does not start on it.
pub(crate) fn run(binary: &Path, directory: &Path, warm: &Warm, images: usize, seed: u64) -> Result<Shown> {
    let traced = directory.join("traced");
    warm.furnish(&traced)?;
    let ledger = Arc::new(Ledger::default());
    let calls = traced_run(binary, &traced, &ledger, seed)?;
    let promises = promises(&calls, &ledger);
    ensure!(promises.len() > 20, "only {} recipients were promised under the tracer", promises.len());
    let mut rng = StdRng::seed_from_u64(seed);
    let bench = Bench { binary, directory, traced: &traced, warm, seed };
    let mut replay = Replay::new(&calls, &traced.join("data"));
    let mut shown = Shown { promises: promises.len(), images, ..Shown::default() };
    for (n, cut) in cuts(&calls, &promises, images, &mut rng).into_iter().enumerate() {
        replay.advance(cut)?;
        // Every third image has nothing at all of what was not synced.
        let (strict, mut luck) = (n % 3 == 0, StdRng::seed_from_u64(rng.random()));
        let must: Vec<&Promise> = promises.iter().filter(|p| p.must_be_there(cut)).collect();
        let image = bench.image(&format!("image-{n}"), &replay, || if strict { 0 } else { luck.random() })?;
        let missing = bench.missing(&image, &must)?;
        let kind = if strict { "nothing unsynced is left" } else { "some of the unsynced is left" };
        let place = format!("power loss {} of {images} at line {cut} of the trace, {kind}", n + 1);
        eprintln!("crash: {place}: {} recipients must be there", must.len());
        ensure!(missing.is_empty(), "{place}: {missing:?} are gone; the image is {}", image.display());
        fs::remove_dir_all(&image)?;
        shown.held += must.len();
    }
    (shown.calls, shown.overlapped) = (replay.applied, replay.overlapped);
    shown.control = bench.control(&calls, &promises)?;
    Ok(shown)
}

/// Where the power fails: half of the times at the moment at which a 250 is written, where it hurts
/// most.
fn cuts(calls: &[Call], promises: &[Promise], images: usize, rng: &mut StdRng) -> Vec<usize> {
    let first = promises.iter().map(|p| p.acknowledged).min().unwrap_or_default();
    let last = calls.iter().map(|c| c.began).max().unwrap_or_default().max(first + 1);
    let cut = |n: usize| match n % 2 {
        0 => rng.random_range(first..last),
        _ => promises.get(rng.random_range(0..promises.len())).map_or(first, |p| p.acknowledged),
    };
    let mut cuts: Vec<usize> = (0..images).map(cut).collect();
    cuts.sort_unstable();
    cuts
}

/// A loaded relay under the tracer, from an empty store on.
fn traced_run(binary: &Path, directory: &Path, ledger: &Arc<Ledger>, seed: u64) -> Result<Vec<Call>> {
    let receivers = Arc::new(Behaviour::parse(RECEIVERS)?);
    let sites = Sites::start(Arc::clone(&receivers), Arc::<Ledger>::clone(ledger))?;
    let setup = Setup { binary, directory, next_hop: NextHop::Smarthost(sites.smarthost), retry: "1s" };
    let to = directory.join("strace");
    let launch = Launch { under: tracer::all_calls(&to), sections: SECTIONS.to_owned(), ..Launch::default() };
    let mut relay = Relay::launch(&setup, &launch)?;
    relay.wait_until_it_listens()?;
    let load = Load::start(Arc::clone(ledger), Arc::new(Trigger::default()), receivers, seed)?;
    load.point_to(Some(relay.smtp));
    sleep(LOADED);
    relay.kill()?;
    load.point_to(None);
    load.stop()?;
    tracer::read(&to)
}

impl Promise {
    fn must_be_there(&self, cut: usize) -> bool {
        self.acknowledged <= cut && cut <= self.left
    }
}

/// Every recipient of every message whose 250 a client read, with the places of the 250 and of the
/// attempt that succeeded.
fn promises(calls: &[Call], ledger: &Ledger) -> Vec<Promise> {
    let said: HashMap<ItemId, usize> = acknowledgements(calls).into_iter().map(|s| (s.id, s.at)).collect();
    let mut left: HashMap<String, usize> = HashMap::new();
    for call in calls.iter().filter(|c| c.name == "sendto") {
        let Ok(octets) = call.octets(1) else { continue };
        for command in String::from_utf8_lossy(octets).lines() {
            if let Some((address, _)) =
                command.strip_prefix("RCPT TO:<").and_then(|rest| rest.split_once('>'))
            {
                left.entry(address.to_owned()).or_insert(call.began);
            }
        }
    }
    let book = ledger.book();
    let mut promises = Vec::new();
    for (serial, sent) in &book.sent {
        let Some(at) = sent.acknowledged.and_then(|id| said.get(&id)) else { continue };
        promises.extend(sent.recipients.iter().map(|recipient| Promise {
            serial: *serial,
            recipient: recipient.clone(),
            acknowledged: *at,
            // Who is always put off stays.
            left: match left.get(recipient) {
                Some(left) if recipient.ends_with(DELIVERED) => *left,
                _ => usize::MAX,
            },
        }));
    }
    promises.sort_by_key(|p| p.acknowledged);
    promises
}

/// Relays on images.
struct Bench<'a> {
    binary: &'a Path,
    directory: &'a Path,
    traced: &'a Path,
    warm: &'a Warm,
    seed: u64,
}

impl Bench<'_> {
    /// A relay's directory with the image as its data.
    fn image(&self, name: &str, replay: &Replay<'_>, luck: impl FnMut() -> u8) -> Result<PathBuf> {
        let directory = self.directory.join(name);
        replay.image(luck, &directory.join("data"))?;
        self.warm.furnish(&directory)?;
        Ok(directory)
    }

    /// Starts a relay on it, lets it deliver, and returns the promised recipients who got nothing,
    /// or not what was sent.
    fn missing(&self, directory: &Path, must: &[&Promise]) -> Result<Vec<String>> {
        let receivers = Arc::new(Behaviour::parse(RECEIVERS)?);
        let ledger = Arc::new(Ledger::default());
        for promise in must {
            ledger.sends(&Mail::new(self.seed, promise.serial, |n| receivers.domain_of(n).to_owned()));
        }
        // This time everybody is taken.
        let next_hop = NextHop::Smarthost(sink::start(Arc::<Ledger>::clone(&ledger))?);
        let relay = Relay::start(&Setup { binary: self.binary, directory, next_hop, retry: "1s" })?;
        let metrics = relay.drained(DRAIN)?;
        let quarantined = metrics.get("relevo_queue_quarantined");
        relay.stop()?;
        let book = ledger.book();
        let arrived = |promise: &&&Promise| {
            let copies = book.copies.get(&promise.recipient);
            copies.is_some_and(|copies| copies.iter().all(|copy| copy.intact))
        };
        let mut missing: Vec<String> =
            must.iter().filter(|p| !arrived(p)).map(|p| p.recipient.clone()).collect();
        if quarantined > 0.0 {
            missing.push(format!("{quarantined} damaged entries in quarantine"));
        }
        Ok(missing)
    }

    /// A relay whose index was never synced again would lose mail: is that found?
    fn control(&self, calls: &[Call], promises: &[Promise]) -> Result<bool> {
        let first = promises.iter().map(|p| p.acknowledged).min().unwrap_or_default();
        let cut = promises.iter().map(|p| p.acknowledged).max().unwrap_or_default() + 1;
        let index = self.traced.join("data/index.redb");
        let dropped = |c: &&Call| {
            let about = c.file(0).is_ok_and(|file| *file == index);
            !(c.name == "fdatasync" && about && c.ended > first)
        };
        let calls: Vec<Call> = calls.iter().filter(dropped).cloned().collect();
        let mut replay = Replay::new(&calls, &self.traced.join("data"));
        replay.advance(cut)?;
        let image = self.image("control", &replay, || 0)?;
        let must: Vec<&Promise> = promises.iter().filter(|p| p.must_be_there(cut)).collect();
        match self.missing(&image, &must) {
            Ok(missing) => Ok(!missing.is_empty()),
            // The store may also find out by itself that its index is older than its segments, and
            // not open.
            Err(refused) if format!("{refused:#}").contains("relevo queue recover") => Ok(true),
            Err(error) => Err(error),
        }
    }
}
