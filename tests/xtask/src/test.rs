//! Runs the tests and adds up what the test binaries say.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::build;
use crate::workspace::{Workspace, cargo, run};

/// All tests, those of one crate, or those whose name contains `name`. The last line is
/// `N passed, N failed`.
pub(crate) fn run_all(workspace: &Workspace, name: Option<&str>) -> Result<()> {
    build::guests(workspace)?;
    let mut command = cargo();
    // Without --no-fail-fast the totals would stop at the first binary that fails.
    command.args(["test", "--no-fail-fast"]).current_dir(&workspace.root);
    match name.map(|name| (name, package(workspace, name))) {
        None => command.arg("--workspace"),
        Some((_, Some(package))) => command.args(["--package", package]),
        Some((name, None)) => command.args(["--workspace", name]),
    };
    let mut totals = Totals::default();
    let mut is_success = totals.run(&mut command)?;
    if name.is_none() {
        // The store once more, with a log in memory below it.
        let mut again = cargo();
        again.args([
            "test",
            "--no-fail-fast",
            "--workspace",
            "--test",
            "queue",
            "--test",
            "events",
            "--test",
            "backlog",
        ]);
        again.current_dir(&workspace.root).env("RELEVO_TEST_SHARD_LOG", "1");
        is_success &= totals.run(&mut again)?;
    }
    println!("{} passed, {} failed", totals.passed, totals.failed);
    if !is_success || totals.failed > 0 {
        bail!("tests failed");
    }
    match name {
        Some(name) if totals.passed == 0 => bail!("no test and no crate is called {name}"),
        _ => Ok(()),
    }
}

/// Builds the components and plugins, every test and the binary beside them.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    build::guests(workspace)?;
    run(cargo().args(["test", "--quiet", "--workspace", "--no-run"]).current_dir(&workspace.root))
}

fn package<'a>(workspace: &'a Workspace, name: &str) -> Option<&'a str> {
    let ours = format!("relevo-{name}");
    workspace.packages.iter().find(|package| *package == name || **package == ours).map(String::as_str)
}

#[derive(Default, Debug, PartialEq)]
struct Totals {
    passed: u64,
    failed: u64,
}

impl Totals {
    /// Runs cargo, prints what it prints, and adds up. Returns whether cargo was content.
    fn run(&mut self, command: &mut Command) -> Result<bool> {
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
        for line in BufReader::new(child.stdout.take().context("cargo has no output")?).split(b'\n') {
            let line = line.context("reading what cargo prints")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.add(&line);
        }
        Ok(child.wait().context("waiting for cargo")?.success())
    }

    /// Counts a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split(';') {
            let Some((number, what)) = count.trim().split_once(' ') else { continue };
            let number: u64 = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn totals_are_summed_over_binaries() {
        let mut totals = Totals::default();
        for line in [
            "test a::b ... ok",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        ] {
            totals.add(line);
        }
        assert_eq!(totals, Totals { passed: 15, failed: 2 });
    }
}
