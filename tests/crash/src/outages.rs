//! The power fails under load, for real as far as one kernel can: the data directory is on an ext4
//! image, and `EXT4_IOC_SHUTDOWN` drops what the file system did not write.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use relevo_bench::relay::{Launch, NextHop, Relay, Setup};
use relevo_bench::sink::{Behaviour, Sites};

use crate::kills::{DRAIN, IN_FLIGHT, SECTIONS, Watch, settled};
use crate::ledger::Ledger;
use crate::load::Load;
use crate::mail::RECEIVERS;
use crate::pulse::Pulse;
use crate::tracer;
use crate::trigger::Trigger;
use crate::verdict::{Verdict, judge};
use crate::warm::Warm;

/// Of an image; it is sparse.
const SIZE: u64 = 1 << 30;

/// What a run was like.
pub(crate) struct Shown {
    pub(crate) verdict: Verdict,
    /// A relay whose syncs did nothing was found out.
    pub(crate) control: bool,
}

/// Why this machine cannot do it, if it cannot.
pub(crate) fn obstacle(directory: &Path) -> Option<String> {
    match Medium::new(&directory.join("trial"), 16 << 20) {
        Ok(mut medium) => medium.cut().err().map(|error| format!("{error:#}")),
        Err(error) => Some(format!("{error:#}")),
    }
}

/// Cuts the power `outages` times, then lets the relay come to rest and judges.
pub(crate) fn run(binary: &Path, directory: &Path, warm: &Warm, outages: usize, seed: u64) -> Result<Shown> {
    let outage = Outages { binary, warm, seed };
    let verdict = outage.run(&directory.join("synced"), outages, false)?;
    ensure!(verdict.acknowledged > 20 * outages, "only {} messages were accepted", verdict.acknowledged);
    let control = match outage.run(&directory.join("unsynced"), 2, true) {
        Ok(spoiled) => spoiled.violations.iter().any(|violation| violation.starts_with("LOST")),
        // The store may find out by itself that its index is older than its segments, and not open.
        Err(refused) if format!("{refused:#}").contains("relevo queue recover") => true,
        Err(error) => return Err(error),
    };
    Ok(Shown { verdict, control })
}

struct Outages<'a> {
    binary: &'a Path,
    warm: &'a Warm,
    seed: u64,
}

impl Outages<'_> {
    /// `is_unsynced`: the relay's syncs return at once, and do nothing.
    fn run(&self, directory: &Path, outages: usize, is_unsynced: bool) -> Result<Verdict> {
        fs::create_dir_all(directory)?;
        let mut medium = Medium::new(&directory.join("data"), SIZE)?;
        self.warm.furnish(directory)?;
        medium.remount()?;
        let (pulse, mut rng) = (Pulse::start()?, StdRng::seed_from_u64(self.seed));
        let receivers = Arc::new(Behaviour::parse(RECEIVERS)?);
        let (ledger, trigger) = (Arc::new(Ledger::new(pulse.clone())), Arc::new(Trigger::default()));
        let connections = Arc::new(AtomicUsize::new(0));
        let watch = Watch {
            ledger: Arc::clone(&ledger),
            trigger: Arc::clone(&trigger),
            connections: Arc::clone(&connections),
        };
        let sites = Sites::start(Arc::clone(&receivers), Arc::new(watch))?;
        let next_hop = NextHop::Smarthost(sites.smarthost);
        let setup = Setup { binary: self.binary, directory, next_hop, retry: "1s" };
        let load = Load::start(Arc::clone(&ledger), trigger, receivers, self.seed)?;
        let mut launch = Launch { sections: SECTIONS.to_owned(), ..Launch::default() };
        if is_unsynced {
            launch.under = tracer::without_syncs(&directory.join("strace"));
        }
        let mut cuts = Vec::new();
        for n in 1..=outages {
            let mut relay = Relay::launch(&setup, &launch)?;
            relay.wait_until_it_listens().with_context(|| log_of(directory))?;
            load.point_to(Some(relay.smtp));
            sleep(Duration::from_millis(rng.random_range(300..4000)));
            let sending = load.sending();
            medium.cut()?;
            relay.kill()?;
            load.point_to(None);
            settled(&connections)?;
            cuts.push(pulse.now());
            medium.remount()?;
            eprintln!("crash: outage {n} of {outages}: {sending} transactions under way");
        }
        load.stop()?;
        let relay = Relay::start(&setup).with_context(|| log_of(directory))?;
        let drained = relay.drained(if is_unsynced { DRAIN / 6 } else { DRAIN });
        if !is_unsynced {
            let quarantined = drained?.get("relevo_queue_quarantined");
            ensure!(quarantined == 0.0, "{quarantined} damaged entries went to quarantine");
        }
        relay.stop()?;
        Ok(judge(&ledger.book(), &cuts, IN_FLIGHT))
    }
}

/// The end of a relay's log: why it did not start.
fn log_of(directory: &Path) -> String {
    let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
    let last: Vec<&str> = log.lines().rev().take(5).collect();
    last.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// An image with a file system that is mounted. Unmounted when dropped.
struct Medium {
    path: PathBuf,
    image: PathBuf,
}

impl Medium {
    fn new(path: &Path, size: u64) -> Result<Self> {
        fs::create_dir_all(path)?;
        let medium = Self { path: path.to_owned(), image: path.with_extension("ext4") };
        File::create(&medium.image)?.set_len(size)?;
        command("mkfs.ext4", &["-q", "-F"], &[&medium.image])?;
        medium.mount()?;
        Ok(medium)
    }

    fn mount(&self) -> Result<()> {
        command("mount", &["-o", "loop,noatime"], &[&self.image, &self.path])
    }

    /// Drops what was not written, and writes nothing any more.
    #[allow(unsafe_code, reason = "an ioctl that the library does not know")]
    fn cut(&mut self) -> Result<()> {
        use rustix::ioctl::{Opcode, Setter, ioctl};
        const EXT4_IOC_SHUTDOWN: Opcode = 0x8004_587d;
        const NO_LOG_FLUSH: u32 = 2;
        let directory = File::open(&self.path)?;
        // SAFETY: the kernel reads a u32 and keeps nothing of it.
        let cut = unsafe { ioctl(&directory, Setter::<EXT4_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH)) };
        cut.context("EXT4_IOC_SHUTDOWN")
    }

    /// As at the next start: what had been written is there.
    fn remount(&mut self) -> Result<()> {
        for _ in 0..50 {
            if command("umount", &[], &[&self.path]).is_ok() {
                return self.mount();
            }
            sleep(Duration::from_millis(100));
        }
        bail!("{} stays in use", self.path.display())
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        // What is left is seen by whoever removes the directory.
        let _ = command("umount", &[], &[&self.path]);
        let _ = fs::remove_file(&self.image);
    }
}

fn command(program: &str, options: &[&str], paths: &[&Path]) -> Result<()> {
    let done = Command::new(program).args(options).args(paths).output();
    let done = done.with_context(|| format!("{program} cannot be run"))?;
    ensure!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}
