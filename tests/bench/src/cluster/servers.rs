//! Processes of the servers of an engine.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::getuid;

use crate::group::Group;
use crate::peers::account;
use crate::process::{self, Cpu};

/// Servers of one kind; ended when dropped.
pub(crate) struct Servers {
    group: Group,
    /// Ours are waited for, or they stay behind as zombies.
    waiting: Vec<JoinHandle<()>>,
}

impl Servers {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { group: Group::new(&format!("{name}-{number}")), waiting: Vec::new() }
    }

    /// Starts one more; `owner` is an account without privileges, for servers that refuse root.
    pub(crate) fn start(
        &mut self,
        program: &Path,
        owner: Option<&str>,
        arguments: &[&str],
        log: &Path,
    ) -> Result<()> {
        let mut words = words(program, owner).into_iter();
        let mut command = self.group.command(words.next().unwrap_or_default());
        command.args(words).args(arguments);
        let log = File::options().create(true).append(true).open(log)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        self.group.add(child.id());
        self.waiting.push(thread::spawn(move || drop(child.wait())));
        Ok(())
    }

    /// Of all of them, also of those that have ended.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        self.group.cpu()
    }

    /// Octets that those that run had written to disks.
    pub(crate) fn written(&self) -> u64 {
        self.group.pids().into_iter().filter_map(|pid| process::written(pid).ok()).sum()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // What is left after an error is reported by the group.
        let _ = self.group.stop();
        self.waiting.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// A program as it is called for an account: only root can be another.
fn words(program: &Path, owner: Option<&str>) -> Vec<std::ffi::OsString> {
    let mut words: Vec<std::ffi::OsString> = Vec::new();
    if let Some(owner) = owner.filter(|_| getuid().is_root()) {
        words.extend(["setpriv", "--reuid", owner, "--regid", owner, "--clear-groups", "--"].map(Into::into));
    }
    words.push(program.into());
    words
}

/// Runs a program to its end; what it said.
pub(crate) fn call<A: AsRef<OsStr>>(program: &Path, owner: Option<&str>, arguments: &[A]) -> Result<String> {
    let mut words = words(program, owner).into_iter();
    let done = Command::new(words.next().unwrap_or_default())
        .args(words)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let said = |octets: &[u8]| String::from_utf8_lossy(octets).trim().to_owned();
    ensure!(done.status.success(), "{}: {}", program.display(), said(&done.stderr));
    Ok(said(&done.stdout))
}

/// Makes a directory; of this account, if we can give things away.
pub(crate) fn directory(path: &Path, owner: Option<&str>) -> Result<()> {
    let owner = owner.filter(|_| getuid().is_root()).map(account).transpose()?;
    crate::peers::directory(path, owner, 0o755)
}

/// Asks again and again until it is so.
pub(crate) fn until(
    what: &str,
    limit: Duration,
    log: &Path,
    mut is_so: impl FnMut() -> bool,
) -> Result<Duration> {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > limit {
            let log = fs::read_to_string(log).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(5).collect();
            bail!("{what}: not within {limit:?}; log (newest first):\n{}", end.join("\n"));
        }
        sleep(Duration::from_millis(50));
    }
    Ok(began.elapsed())
}
