//! A set of processes that belong together, whatever they fork: a control group, or without one a
//! tree.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Cpu, cpu_with_children};

/// Processes of one server. Its time on the processor includes those that have ended.
#[derive(Debug)]
pub(crate) struct Group {
    /// In the hierarchy of version 2, which accounts without any controller being on.
    directory: Option<PathBuf>,
    /// Processes that were started directly; what they forked is found through them when there is
    /// no control group.
    roots: Vec<u32>,
}

impl Group {
    /// An empty one. Without a writable cgroup2 (not root, some containers) it follows parents
    /// instead, and misses the time of processes whose parent did not wait for them.
    pub(crate) fn new(name: &str) -> Self {
        let directory =
            hierarchy().map(|base| base.join(format!("relevo-bench-{}-{name}", std::process::id())));
        let directory = directory.filter(|d| fs::create_dir(d).is_ok() && d.join("cpu.stat").exists());
        Self { directory, roots: Vec::new() }
    }

    /// Whether processes are counted that nobody waits for.
    pub(crate) fn is_exact(&self) -> bool {
        self.directory.is_some()
    }

    /// A command that runs inside.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(directory) = &self.directory else { return Command::new(program) };
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#])
            .arg(directory)
            .arg(program.as_ref());
        command
    }

    /// A process of [`Group::command`] was started.
    pub(crate) fn add(&mut self, pid: u32) {
        self.roots.push(pid);
    }

    /// Time on the processor of all of them.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let Some(directory) = &self.directory else {
            let trees = self.roots.iter().flat_map(|root| tree(*root));
            return Ok(trees.filter_map(|pid| cpu_with_children(pid).ok()).fold(Cpu::default(), Cpu::plus));
        };
        parse(&fs::read_to_string(directory.join("cpu.stat"))?)
    }

    /// Those that run.
    pub(crate) fn pids(&self) -> Vec<u32> {
        match &self.directory {
            Some(directory) => {
                let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
                text.lines().filter_map(|l| l.parse().ok()).collect()
            }
            None => self.roots.iter().flat_map(|root| tree(*root)).collect(),
        }
    }

    /// Ends all of them: SIGTERM, and after some seconds SIGKILL.
    pub(crate) fn stop(&mut self) -> Result<()> {
        for (signal, patience) in [(Signal::TERM, 10), (Signal::KILL, 10)] {
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(patience) {
                let pids = self.pids();
                if pids.is_empty() {
                    self.roots.clear();
                    self.remove();
                    return Ok(());
                }
                for pid in pids.into_iter().filter_map(|p| Pid::from_raw(i32::try_from(p).ok()?)) {
                    // Gone meanwhile is as well.
                    let _ = kill_process(pid, signal);
                }
                sleep(Duration::from_millis(100));
            }
        }
        ensure!(self.pids().is_empty(), "processes that SIGKILL does not end");
        self.remove();
        Ok(())
    }

    /// Removes the control group. It is busy as long as a process that has ended was not waited
    /// for; one that stays is no reason to lose what was measured.
    fn remove(&mut self) {
        let Some(directory) = self.directory.take() else { return };
        let began = Instant::now();
        while let Err(error) = fs::remove_dir(&directory) {
            if began.elapsed() > Duration::from_secs(5) {
                eprintln!("bench: {} stays: {error}", directory.display());
                return;
            }
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // An error is on its way already; what is left is a directory without processes.
        let _ = self.stop();
    }
}

/// Where version 2 is mounted.
fn hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|l| l.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(|point| Path::new(point).to_owned())
}

/// `cpu.stat`, microseconds.
fn parse(text: &str) -> Result<Cpu> {
    let field = |name: &str| -> Result<Duration> {
        let line = text.lines().find_map(|l| l.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        Ok(Duration::from_micros(line.trim().parse()?))
    };
    Ok(Cpu { user: field("user_usec ")?, system: field("system_usec ")? })
}

/// A process and all that descend from it.
fn tree(root: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found: Vec<u32> = parents.iter().map(|p| p.0).filter(|pid| *pid == root).collect();
    let mut at = 0;
    while let Some(pid) = found.get(at).copied() {
        found.extend(parents.iter().filter(|p| p.1 == pid).map(|p| p.0));
        at += 1;
    }
    found
}

/// None for a process that is gone, or only waits to be waited for.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| state != "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: &str = "(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done) & wait; exec sleep 60";

    fn works(mut group: Group) {
        let mut child = group.command("sh").args(["-c", WORK]).spawn().expect("sh");
        group.add(child.id());
        let began = Instant::now();
        // The inner process has ended when its time is that of its parent.
        while group.cpu().expect("cpu").total() < Duration::from_millis(50) {
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", group.cpu());
            sleep(Duration::from_millis(20));
        }
        let stopper = std::thread::spawn(move || child.wait());
        group.stop().expect("stopped");
        assert!(stopper.join().expect("no panic").is_ok_and(|status| !status.success()));
    }

    #[test]
    fn counts_and_ends_what_was_forked() {
        works(Group::new("test"));
        works(Group { directory: None, roots: Vec::new() });
    }

    #[test]
    fn reads_the_statistics() {
        let cpu = parse("usage_usec 30\nuser_usec 10\nsystem_usec 20\n").expect("good");
        assert_eq!((cpu.user, cpu.total()), (Duration::from_micros(10), Duration::from_micros(30)));
        assert!(parse("usage_usec 30\n").is_err());
    }
}
