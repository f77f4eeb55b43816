//! Nothing that was accepted may be lost: kills a loaded relay, cuts its power, reads its system
//! calls. See README.md beside this crate.

mod acknowledge;
mod api;
mod hook;
mod image;
mod kills;
mod ledger;
mod load;
mod mail;
mod options;
mod outages;
mod power;
mod pulse;
mod relay_log;
mod synced;
mod trace;
mod tracer;
mod trigger;
mod verdict;
mod warm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use relevo_bench::process::file_system;

use crate::options::{Options, Part, USAGE};
use crate::verdict::Verdict;
use crate::warm::Warm;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crash: FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let Some(options) = Options::parse(std::env::args().skip(1), clock)? else {
        println!("{USAGE}");
        return Ok(());
    };
    let binary =
        PathBuf::from(std::env::var_os("RELEVO").context("RELEVO does not name the relay's binary")?);
    let binary = binary.canonicalize().with_context(|| format!("{}", binary.display()))?;
    tracer::check()?;
    let directory = options.directory.join(format!("run-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let directory = directory.canonicalize()?;
    println!("crash: seed {}, on {}", options.seed, file_system(&directory)?);
    let warm = Warm::start(&binary, &directory.join("warm"))?;
    for part in &options.parts {
        let (began, directory) = (Instant::now(), directory.join(format!("{part:?}").to_lowercase()));
        warm.furnish(&directory)?;
        let done = match part {
            Part::Acknowledge => acknowledge::run(&binary, &directory)
                .and_then(|()| acknowledge::failed_sync(&binary, &directory)),
            Part::Power => power(&binary, &directory, &warm, &options),
            Part::Outages => outages(&binary, &directory, &warm, &options),
            Part::Kills => kills(&binary, &directory, &options),
            Part::Api => api(&binary, &directory, &options),
        };
        done.with_context(|| {
            format!("seed {}; the relay's files are in {}", options.seed, directory.display())
        })?;
        println!("crash: {part:?} took {:.0} s\n", began.elapsed().as_secs_f64());
    }
    if !options.keep {
        std::fs::remove_dir_all(&directory)?;
    }
    println!("crash: nothing was lost (seed {})", options.seed);
    Ok(())
}

fn power(binary: &Path, directory: &Path, warm: &Warm, options: &Options) -> Result<()> {
    if options.images == 0 {
        return Ok(());
    }
    let shown = power::run(binary, directory, warm, options.images, options.seed)?;
    println!(
        "{} losses of power over {} writes and syncs of {} promised recipients: {} times a recipient had to be there, and was",
        shown.images, shown.calls, shown.promises, shown.held
    );
    println!("syncs taken for nothing because a write ran beside them: {}", shown.overlapped);
    ensure!(shown.control, "an index that was not synced any more was not found out: this part cannot fail");
    println!("negative control: an index that was not synced any more was found out");
    Ok(())
}

fn outages(binary: &Path, directory: &Path, warm: &Warm, options: &Options) -> Result<()> {
    if options.outages == 0 {
        return Ok(());
    }
    if let Some(why) = outages::obstacle(directory) {
        println!("SKIPPED outages: they need root, loop devices and ext4: {why}");
        return Ok(());
    }
    let shown = outages::run(binary, directory, warm, options.outages, options.seed)?;
    println!("outages                      {:>9}", options.outages);
    report(&shown.verdict)?;
    ensure!(shown.control, "a relay whose syncs do nothing was not found out: this part cannot fail");
    println!("negative control: a relay whose syncs do nothing was found out");
    Ok(())
}

/// Prints what a run showed; fails if anything is wrong with it.
fn report(verdict: &Verdict) -> Result<()> {
    println!("{verdict}");
    for violation in verdict.violations.iter().take(50) {
        println!("{violation}");
    }
    ensure!(verdict.violations.is_empty(), "{} violations", verdict.violations.len());
    Ok(())
}

fn api(binary: &Path, directory: &Path, options: &Options) -> Result<()> {
    if options.kills == 0 {
        return Ok(());
    }
    let outcome = api::run(binary, directory, options.kills.div_ceil(2), options.seed)?;
    println!("requests answered            {:>9}", outcome.answered);
    println!("  made more than once        {:>9}", outcome.repeated);
    println!("copies repeated by a kill    {:>9}", outcome.copies_repeated);
    println!("events told by a webhook     {:>9}", outcome.told);
    println!("  told more than once        {:>9}", outcome.told_repeated);
    for violation in outcome.violations.iter().take(50) {
        println!("{violation}");
    }
    ensure!(outcome.violations.is_empty(), "{} violations", outcome.violations.len());
    Ok(())
}

fn kills(binary: &Path, directory: &Path, options: &Options) -> Result<()> {
    if options.kills == 0 {
        return Ok(());
    }
    let outcome = kills::run(binary, directory, options.kills, options.seed)?;
    println!("kills                        {:>9}", options.kills);
    for (phase, count) in &outcome.phases {
        println!("  {phase:<38} {count:>4}");
    }
    println!("segments emptied             {:>9}", outcome.emptied);
    println!("attempts put off             {:>9}", outcome.put_off);
    report(&outcome.verdict)?;
    ensure!(
        outcome.blind.is_empty(),
        "spoiled ledgers that were not found out, or nothing in them to be spoiled: {:?}",
        outcome.blind
    );
    println!("negative controls: five spoiled ledgers were found out");
    Ok(())
}
