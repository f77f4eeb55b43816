//! Builds the fuzz targets, shows that each can fail, and runs each for a while.
//!
//! No cargo-fuzz and no nightly compiler: the libraries have no unsafe code, so of what a sanitizer
//! build gives only the coverage is wanted, and that is a pass of LLVM which the stable compiler
//! runs too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, cargo, run};

const TARGETS: [&str; 13] = [
    "smtp_server",
    "smtp_client",
    "address",
    "validate",
    "recheck",
    "policy",
    "html",
    "api",
    "judge",
    "classify",
    "reports",
    "content",
    "tls",
];

/// What libFuzzer is told by the code under test: the blocks that were reached, and what was
/// compared with what.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Turns the seeded bugs on, as `relevo_fuzz::SEEDED_BUG` says.
const SEEDED_BUG: &str = "RELEVO_FUZZ_SEEDED_BUG";

/// A target that has not found its seeded bug by then will not find a real one.
const SEEDED_SECONDS: u64 = 20;

/// Octets of an input: everything that is decided in these libraries is decided within fewer.
const MAX_INPUT: usize = 4096;

/// `[NAME...] [--seconds N] [--report]`
///
/// The seeded bugs and the committed corpus decide: they say the same every time. What exploring
/// finds is new; it fails the task too, unless `--report` asks for it to be printed only, so that a
/// change is not held up by the luck of a run.
pub(crate) fn all(workspace: &Workspace, args: &[String]) -> Result<()> {
    let Asked { names, seconds, report } = parse(args)?;
    let fuzz = Fuzz::build(workspace)?;
    in_pairs(&names, |name| fuzz.seeded(name))?;
    in_pairs(&names, |name| fuzz.run(name, Effort::Corpus))?;
    match in_pairs(&names, |name| fuzz.run(name, Effort::Seconds(seconds))) {
        Err(found) if report => {
            println!("fuzz: exploring FOUND something that the corpus does not have yet: {found:#}");
            Ok(())
        }
        explored => explored,
    }
}

struct Asked {
    names: Vec<&'static str>,
    seconds: u64,
    report: bool,
}

/// How long a target runs.
#[derive(Clone, Copy)]
enum Effort {
    /// Each input of the committed corpus once.
    Corpus,
    /// From there on, so long.
    Seconds(u64),
}

fn parse(args: &[String]) -> Result<Asked> {
    let (mut names, mut seconds, mut report) = (Vec::new(), 60, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            seconds = args.next().and_then(|n| n.parse().ok()).context("--seconds needs a number")?;
        } else if arg == "--report" {
            report = true;
        } else {
            let name = TARGETS.into_iter().find(|name| name == arg);
            names.push(name.with_context(|| format!("{arg} is none of {}", TARGETS.join(", ")))?);
        }
    }
    let names = if names.is_empty() { TARGETS.to_vec() } else { names };
    Ok(Asked { names, seconds, report })
}

/// Two at a time. The first error after all have run.
fn in_pairs(names: &[&'static str], task: impl Fn(&'static str) -> Result<()> + Sync) -> Result<()> {
    let mut first = Ok(());
    for pair in names.chunks(2) {
        let results: Vec<Result<()>> = thread::scope(|scope| {
            let started: Vec<_> = pair.iter().map(|name| scope.spawn(|| task(name))).collect();
            started.into_iter().map(|t| t.join().unwrap_or_else(|_| bail!("a task panicked"))).collect()
        });
        for error in results.into_iter().filter_map(Result::err) {
            eprintln!("xtask: {error:#}");
            first = first.and(Err(error));
        }
    }
    first.context("fuzzing failed")
}

struct Fuzz {
    /// `tests/fuzz`.
    sources: PathBuf,
    binaries: PathBuf,
    /// Corpora that grow, and inputs that crash: never in the source tree.
    work: PathBuf,
}

impl Fuzz {
    fn build(workspace: &Workspace) -> Result<Self> {
        let sources = workspace.root.join("tests/fuzz");
        let target = workspace.target.join("fuzz");
        let host = host(&workspace.root)?;
        let mut build = cargo();
        // With an explicit target the flags are not for build scripts and macros.
        build
            .args(["build", "--locked", "--release", "--bins", "--target", &host])
            .current_dir(&sources)
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", COVERAGE);
        run(&mut build).context("the fuzz targets do not build")?;
        Ok(Self { sources, binaries: target.join(host).join("release"), work: target.join("work") })
    }

    /// With its seeded bug the target must fail.
    fn seeded(&self, name: &str) -> Result<()> {
        let start = Instant::now();
        let output = self.start(name, "seeded", Effort::Seconds(SEEDED_SECONDS), true)?;
        let Some(crash) = reproducer(&self.directory(name, "seeded"))? else {
            show(name, &output);
            bail!("{name}: the seeded bug was not found in {SEEDED_SECONDS} s: this target cannot fail");
        };
        if output.status.success() {
            bail!("{name}: fails and says that it does not");
        }
        println!(
            "fuzz {name}: the seeded bug was found after {:.1} s, with {} octets",
            start.elapsed().as_secs_f64(),
            fs::metadata(&crash).map_or(0, |m| m.len())
        );
        Ok(())
    }

    fn run(&self, name: &str, effort: Effort) -> Result<()> {
        let output = self.start(name, "crashes", effort, false)?;
        let crash = reproducer(&self.directory(name, "crashes"))?;
        let executions = executions(&String::from_utf8_lossy(&output.stderr));
        if let Some(crash) = crash {
            show(name, &output);
            let input = fs::read(&crash).with_context(|| format!("cannot read {}", crash.display()))?;
            println!("fuzz {name}: {executions} executions, 1 crash");
            bail!("{name}: {} has the input; in base64: {}", crash.display(), base64(&input));
        }
        if !output.status.success() || executions == 0 {
            show(name, &output);
            bail!("{name}: {}", output.status);
        }
        println!("fuzz {name}: {executions} executions, 0 crashes");
        Ok(())
    }

    fn directory(&self, name: &str, kind: &str) -> PathBuf {
        self.work.join(name).join(kind)
    }

    /// Runs a target from the committed corpus. New inputs go to the first directory on the command
    /// line.
    fn start(&self, name: &str, kind: &str, effort: Effort, seeded: bool) -> Result<Output> {
        let (artifacts, grown) =
            (self.directory(name, kind), self.directory(name, &format!("{kind}-corpus")));
        for directory in [&artifacts, &grown] {
            // From the committed corpus every time, so that a run says what it says for everybody.
            if directory.exists() {
                fs::remove_dir_all(directory)
                    .with_context(|| format!("cannot empty {}", directory.display()))?;
            }
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let mut command = Command::new(self.binaries.join(name));
        command
            .arg(match effort {
                Effort::Corpus => "-runs=0".to_owned(),
                Effort::Seconds(seconds) => format!("-max_total_time={seconds}"),
            })
            .arg(format!("-artifact_prefix={}/", artifacts.display()));
        command.args([
            &format!("-max_len={MAX_INPUT}"),
            "-print_final_stats=1",
            "-timeout=10",
            "-rss_limit_mb=2048",
        ]);
        let dictionary = self.sources.join("dictionaries").join(format!("{name}.dict"));
        if dictionary.is_file() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        command.arg(grown).arg(self.sources.join("corpus").join(name)).env_remove(SEEDED_BUG);
        if seeded {
            command.env(SEEDED_BUG, "1");
        }
        command.output().with_context(|| format!("cannot run the target {name}"))
    }
}

/// The target triple of this toolchain.
fn host(root: &Path) -> Result<String> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-vV")
        .current_dir(root)
        .output()
        .context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it runs on")
}

/// The input that made a target fail, if one did.
fn reproducer(directory: &Path) -> Result<Option<PathBuf>> {
    let mut entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    entries.next().transpose().map(|entry| entry.map(|e| e.path())).context("reading the inputs that crash")
}

fn executions(stderr: &str) -> u64 {
    let stat = stderr.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let last = stderr.lines().rev().find_map(|line| line.strip_prefix('#')?.split_whitespace().next());
    stat.or(last).and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

/// The end of what a target said: the assertion is there.
fn show(name: &str, output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for line in &lines[lines.len().saturating_sub(60)..] {
        eprintln!("{name}| {line}");
    }
}

fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in octets.chunks(3) {
        let bits =
            group.iter().chain([&0, &0]).take(3).fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet));
        for place in 0..4_usize {
            let sextet = bits >> (18 - 6 * place) & 63;
            let padding = place > group.len();
            out.push(if padding { '=' } else { char::from(ALPHABET[sextet as usize]) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{TARGETS, base64, executions, parse};

    #[test]
    fn executions_are_read_from_what_libfuzzer_prints() {
        let done = "#12\tINITED cov: 3\n#99\tNEW cov: 4\nDone 120 runs in 1 second(s)\nstat::number_of_executed_units: 120\n";
        assert_eq!(executions(done), 120);
        assert_eq!(executions("#12\tINITED cov: 3\n#99\tNEW cov: 4\npanicked\n"), 99);
        assert_eq!(executions(""), 0);
    }

    #[test]
    fn inputs_are_shown_in_base64() {
        assert_eq!(
            ["", "f", "fo", "foo", "foob"].map(|s| base64(s.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }

    #[test]
    fn arguments() {
        let args = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(
            parse(&args("html --seconds 5"))
                .is_ok_and(|a| a.names == ["html"] && a.seconds == 5 && !a.report)
        );
        assert!(
            parse(&args("--report"))
                .is_ok_and(|a| a.names.len() == TARGETS.len() && a.seconds == 60 && a.report)
        );
        assert!(parse(&args("nothing")).is_err() && parse(&args("--seconds x")).is_err());
    }
}
