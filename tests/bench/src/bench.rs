//! The parts of a run, one after another.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::ceiling::ceiling;
use crate::load::Schedule;
use crate::memory;
use crate::options::{Options, Part, USAGE, builtin_sink};
use crate::process;
use crate::receivers::receivers;
use crate::relay::{NextHop, PLAIN, Relay, Setup, TRACKED, free_port};
use crate::report::{HALF_LOAD, Idle, LARGE, MANY, REFERENCE, Report};
use crate::scene::Scene;
use crate::throughput::{Plan, measure};

/// The benchmark as its command line asks for it.
///
/// # Errors
/// Anything that would make a figure mean something else than it says.
pub fn run() -> Result<ExitCode> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    if options.parts == [Part::Receivers] {
        // Nothing is started, and the machine does not matter.
        let report = Report { receivers: Some(receivers()?), ..Report::default() };
        report.write(&options.report)?;
        println!("{}", report.receivers_table());
        return Ok(ExitCode::SUCCESS);
    }
    let binary =
        PathBuf::from(std::env::var_os("RELEVO").context("RELEVO does not name the relay's binary")?);
    let binary = binary.canonicalize().with_context(|| format!("{}", binary.display()))?;
    let directory = options.directory.join(format!("run-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let directory = directory.canonicalize()?;
    let result = Bench::new(&options, &binary, &directory).and_then(Bench::run);
    if options.keep || result.is_err() {
        eprintln!("bench: the servers' files are in {}", directory.display());
    } else {
        std::fs::remove_dir_all(&directory)?;
    }
    let report = result?;
    report.write(&options.report)?;
    println!("{}", report.table());
    println!("{}", options.report.display());
    let missed = report.verdicts.iter().any(|v| !v.met);
    Ok(if options.strict && missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Messages per second to receivers that take their time.
const SITES_RATE: f64 = 50.0;
/// Of the direct load.
const CEILING: Duration = Duration::from_secs(5);

pub(crate) struct Bench<'a> {
    pub(crate) options: &'a Options,
    pub(crate) binary: &'a Path,
    pub(crate) directory: &'a Path,
    pub(crate) report: Report,
}

impl<'a> Bench<'a> {
    fn new(options: &'a Options, binary: &'a Path, directory: &'a Path) -> Result<Self> {
        let file_system = process::file_system(directory)?;
        ensure!(
            !matches!(file_system.as_str(), "tmpfs" | "ramfs"),
            "{} is on {file_system}, where a sync costs nothing: choose a disk with --directory",
            directory.display()
        );
        let version = Command::new(binary).arg("--version").output()?;
        let report = Report {
            relevo: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
            machine: process::machine(),
            file_system,
            sync_ms: process::sync_time(directory)?.as_secs_f64() * 1000.0,
            quick: options.quick,
            ..Report::default()
        };
        Ok(Self { options, binary, directory, report })
    }

    fn run(mut self) -> Result<Report> {
        note("what the machine could do at most");
        self.report.ceiling = Some(ceiling(&self.scene()?, self.options.duration.min(CEILING))?);
        for part in self.options.parts.clone() {
            match part {
                Part::Throughput => self.throughput()?,
                Part::Large => self.large()?,
                Part::Queue => self.queue()?,
                Part::Sites => self.sites()?,
                Part::Tenants => self.tenants()?,
                Part::Plugins => self.plugins()?,
                Part::Api => self.api()?,
                Part::Edge => self.edge()?,
                Part::Backlog => self.backlog()?,
                Part::Receivers => self.report.receivers = Some(receivers()?),
                Part::Cluster => self.cluster()?,
                Part::Peers => self.peers()?,
            }
        }
        self.report.judge();
        Ok(self.report)
    }

    /// A relay in the run's directory; parts that leave a queue behind choose another.
    pub(crate) fn setup(&self, next_hop: NextHop) -> Setup<'_> {
        Setup { binary: self.binary, directory: self.directory, next_hop, retry: "1m" }
    }

    pub(crate) fn scene(&self) -> Result<Scene> {
        Scene::read(&self.options.sink)
    }

    fn throughput(&mut self) -> Result<()> {
        let scene = self.scene()?;
        let setup = self.setup(scene.by_smarthost());
        let first_start_peak_kib = compile(&setup)?;
        let relay = Relay::start(&setup)?;
        let (after_start, after_load) = if self.options.quick { (2, 2) } else { (30, 60) };
        note("at rest");
        sleep(Duration::from_secs(after_start));
        let after_start_kib = process::memory(relay.pid())?.resident;
        for plan in self.plans() {
            note(&plan.name);
            self.report.loads.push(measure(&relay, &scene.ledger, &scene.addresses(), &plan)?);
        }
        if let Some(plan) = self.half_load() {
            note(&plan.name);
            self.report.loads.push(measure(&relay, &scene.ledger, &scene.addresses(), &plan)?);
        }
        note("at rest");
        sleep(Duration::from_secs(after_load));
        self.report.idle = Some(Idle {
            first_start_peak_kib,
            after_start_kib,
            after_start_seconds: after_start,
            after_load_kib: process::memory(relay.pid())?.resident,
            after_load_seconds: after_load,
        });
        relay.stop()
    }

    fn plans(&self) -> Vec<Plan> {
        let plan = |name: &str, kib, sessions| Plan::new(name, kib, sessions, self.options.duration);
        let plans = [
            plan(REFERENCE, 4, 20),
            plan(MANY, 4, 100),
            plan("4 KiB x 500", 4, 500),
            plan(LARGE, 100, 20),
            plan("100 KiB x 100", 100, 100),
            Plan { senders: vec![TRACKED], ..plan("4 KiB x 20 tracked", 4, 20) },
            Plan { senders: vec![PLAIN, TRACKED], ..plan("4 KiB x 20 mixed", 4, 20) },
            Plan { recipients: 50, ..plan("4 KiB x 20, 50 recipients", 4, 20) },
            Plan {
                recipients: 50,
                senders: vec![TRACKED],
                ..plan("4 KiB x 20, 50 recipients, tracked", 4, 20)
            },
        ];
        plans.into_iter().filter(|p| p.name.contains(&self.options.load)).collect()
    }

    /// Half of what the reference load got through.
    fn half_load(&self) -> Option<Plan> {
        let reference = self.report.loads.iter().find(|l| l.name == REFERENCE)?;
        let schedule = Schedule::Open(reference.rate() / 2.0);
        // Sessions enough that the rate is held when answers are slow for a moment.
        Some(Plan { schedule, ..Plan::new(HALF_LOAD, 4, 100, self.options.duration) })
    }

    fn large(&mut self) -> Result<()> {
        note("large message");
        let scene = self.scene()?;
        let relay = Relay::start(&self.setup(scene.by_smarthost()))?;
        self.report.large_message = Some(memory::large_message(&relay, &scene)?);
        relay.stop()
    }

    /// Receivers that behave like those of the Internet, each at its own address.
    fn sites(&mut self) -> Result<()> {
        for name in ["internet", "slow"] {
            note(&format!("receivers of sinks/{name}.toml"));
            let scene = Scene::read(&builtin_sink(name))?;
            let setup = Setup { retry: "2s", ..self.setup(scene.by_mx()) };
            let relay = Relay::start(&setup)?;
            // Slower than the receivers are together, so that what waits is what has to.
            let schedule = Schedule::Open(SITES_RATE);
            let plan =
                Plan { schedule, ..Plan::new(&format!("4 KiB, {name}"), 4, 50, self.options.duration) };
            self.report.loads.push(measure(&relay, &scene.ledger, &scene.addresses(), &plan)?);
            relay.stop()?;
        }
        Ok(())
    }

    fn queue(&mut self) -> Result<()> {
        note("long queue");
        let scene = self.scene()?;
        let dead = NextHop::Smarthost(free_port()?);
        let directory = self.directory.join("queue");
        let setup = Setup { directory: &directory, retry: "6h", ..self.setup(dead) };
        compile(&setup)?;
        let relay = Relay::start(&setup)?;
        let mut queue = memory::long_queue(&relay, &scene, self.options.queued)?;
        relay.kill()?;
        let began = Instant::now();
        let relay = Relay::start(&setup)?;
        queue.restart_seconds = began.elapsed().as_secs_f64();
        queue.restarted_kib = memory::after_restart(&relay)?;
        self.report.long_queue = Some(queue);
        relay.stop()
    }
}

/// The first start compiles the components; what it needs for that belongs to no figure but its
/// own, which is the peak of resident memory in KiB.
pub(crate) fn compile(setup: &Setup<'_>) -> Result<u64> {
    let first = Relay::start(setup)?;
    let peak = process::memory(first.pid())?.peak;
    first.stop()?;
    Ok(peak)
}

pub(crate) fn note(what: &str) {
    eprintln!("bench: {what}");
}
