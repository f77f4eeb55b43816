//! Load on a running relay: throughput, cost per message, memory. See README.md beside this crate.
//!
//! Three processes' worth of work in two: the relay under test is a process of its own, so that its processor time and
//! memory are its own; load generator and next hop are threads of this one and share a clock.
//!
//! What starts a relay, talks to it and takes what it sends is public: other harnesses stand on it.

pub mod ledger;
pub mod load;
pub mod message;
pub mod metrics;
pub mod process;
pub mod relay;
pub mod sink;

mod memory;
mod options;
mod report;
mod throughput;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::ledger::Ledger;
use crate::options::{Options, Part};
use crate::relay::{Relay, Setup, free_port};
use crate::report::{HALF_LOAD, Idle, REFERENCE, Report};
use crate::throughput::{Plan, measure};

/// The benchmark as its command line asks for it.
pub fn run() -> Result<ExitCode> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        println!("{}", options::USAGE);
        return Ok(ExitCode::SUCCESS);
    };
    let binary =
        PathBuf::from(std::env::var_os("RELEVO").context("RELEVO does not name the relay's binary")?);
    let binary = binary.canonicalize().with_context(|| format!("{}", binary.display()))?;
    let directory = options.directory.join(format!("relay-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let directory = directory.canonicalize()?;
    let result = Bench::new(&options, &binary, &directory).and_then(Bench::run);
    if options.keep || result.is_err() {
        eprintln!("bench: the relay's files are in {}", directory.display());
    } else {
        std::fs::remove_dir_all(&directory)?;
    }
    let report = result?;
    if let Some(parent) = options.report.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&options.report, serde_json::to_string_pretty(&report)? + "\n")?;
    println!("{}", report.table());
    println!("{}", options.report.display());
    let missed = report.verdicts.iter().any(|v| !v.met);
    Ok(if options.strict && missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct Bench<'a> {
    options: &'a Options,
    setup: Setup<'a>,
    ledger: Arc<Ledger>,
    report: Report,
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
        let ledger = Arc::new(Ledger::new()?);
        let next_hop = sink::start(Arc::clone(&ledger) as Arc<dyn sink::Observer>)?;
        let report = Report {
            relevo: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
            machine: process::machine(),
            file_system,
            sync_ms: process::sync_time(directory)?.as_secs_f64() * 1000.0,
            quick: options.quick,
            ..Report::default()
        };
        let setup = Setup { binary, directory, next_hop, retry: "1m" };
        Ok(Self { options, setup, ledger, report })
    }

    fn run(mut self) -> Result<Report> {
        // The first start compiles the components; what it needs for that belongs to no figure but its own.
        let first = Relay::start(&self.setup)?;
        let first_start_peak_kib = process::memory(first.pid())?.peak;
        first.stop()?;
        for part in &self.options.parts {
            match part {
                Part::Throughput => self.throughput(first_start_peak_kib)?,
                Part::Large => {
                    note("large message");
                    let relay = Relay::start(&self.setup)?;
                    self.report.large_message = Some(memory::large_message(&relay, &self.ledger)?);
                    relay.stop()?;
                }
                Part::Queue => self.queue()?,
            }
        }
        self.report.judge();
        Ok(self.report)
    }

    fn throughput(&mut self, first_start_peak_kib: u64) -> Result<()> {
        let relay = Relay::start(&self.setup)?;
        let (after_start, after_load) = if self.options.quick { (2, 2) } else { (30, 60) };
        note("at rest");
        sleep(Duration::from_secs(after_start));
        let after_start_kib = process::memory(relay.pid())?.resident;
        for plan in self.plans() {
            note(&plan.name);
            self.report.loads.push(measure(&relay, &self.ledger, &plan)?);
        }
        if let Some(plan) = self.half_load() {
            note(&plan.name);
            self.report.loads.push(measure(&relay, &self.ledger, &plan)?);
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
        let plan = |name: &str, kib: usize, sessions, tracked| Plan {
            name: name.to_owned(),
            size: kib << 10,
            sessions,
            tracked,
            pace: None,
            duration: self.options.duration,
        };
        let plans = [
            plan(REFERENCE, 4, 20, false),
            plan("4 KiB x 100", 4, 100, false),
            plan("100 KiB x 20", 100, 20, false),
            plan("100 KiB x 100", 100, 100, false),
            plan("4 KiB x 20 tracked", 4, 20, true),
        ];
        plans.into_iter().filter(|p| p.name.contains(&self.options.load)).collect()
    }

    /// Half of what the reference load got through.
    fn half_load(&self) -> Option<Plan> {
        let reference = self.report.loads.iter().find(|l| l.name == REFERENCE)?;
        let rate = reference.accepted_per_second.min(reference.delivered_per_second) / 2.0;
        Some(Plan {
            name: HALF_LOAD.to_owned(),
            size: reference.octets,
            sessions: reference.sessions,
            tracked: reference.tracked,
            pace: Some(rate),
            duration: self.options.duration,
        })
    }

    fn queue(&mut self) -> Result<()> {
        note("long queue");
        let dead: SocketAddr = free_port()?;
        let setup = Setup { next_hop: dead, retry: "6h", ..self.setup };
        let relay = Relay::start(&setup)?;
        let mut queue = memory::long_queue(&relay, &self.ledger, self.options.queued)?;
        relay.stop()?;
        let began = Instant::now();
        let relay = Relay::start(&setup)?;
        queue.restart_seconds = began.elapsed().as_secs_f64();
        queue.restarted_kib = memory::after_restart(&relay)?;
        self.report.long_queue = Some(queue);
        relay.stop()
    }
}

fn note(what: &str) {
    eprintln!("bench: {what}");
}
