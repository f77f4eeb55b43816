//! Other mail servers under the same load: each durable before its 250 unless marked, each signing
//! with RSA-2048, each handing everything to the sink, each with its files in a directory of its
//! own.

mod exim;
mod haraka;
mod opensmtpd;
mod postfix;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::group::Group;
use crate::metrics::Metrics;
use crate::process::Cpu;
use crate::server::Server;

/// What a peer is given.
pub(crate) struct Ground<'a> {
    /// Where `peers/install` left its files.
    pub(crate) installed: &'a Path,
    /// Of this peer alone.
    pub(crate) directory: PathBuf,
    /// The sink.
    pub(crate) next_hop: SocketAddr,
    /// The domain that is signed for, with selector `s1`.
    pub(crate) domain: &'a str,
    /// PEM, RSA-2048.
    pub(crate) key: &'a Path,
    /// Connections that it must take at once.
    pub(crate) sessions: usize,
}

/// A peer as it is known before it runs.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Whether a 250 means that the message is synced.
    pub(crate) durable: bool,
    /// What was changed from its defaults, and why.
    pub(crate) tuning: &'static str,
    start: fn(&Ground<'_>) -> Result<Peer>,
}

/// All of them; the first one is what the targets are held against.
pub(crate) const ALL: [Kind; 4] = [postfix::KIND, exim::KIND, haraka::KIND, opensmtpd::KIND];

/// A peer that cannot run here is no error of the benchmark.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Missing(String);

/// Of a peer, for the report.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Description {
    pub(crate) name: &'static str,
    pub(crate) durable: bool,
    pub(crate) tuning: &'static str,
    /// None: it could not run.
    pub(crate) version: Option<String>,
    /// Why it could not run.
    pub(crate) missing: Option<String>,
    /// What went wrong when it was measured.
    pub(crate) failed: Option<String>,
    /// Whether the time of every process was counted.
    pub(crate) exact: bool,
}

/// A peer that runs; ended when dropped.
pub(crate) struct Peer {
    name: &'static str,
    version: String,
    smtp: SocketAddr,
    group: Group,
    children: Vec<Child>,
    log: PathBuf,
}

impl Kind {
    /// Starts it.
    ///
    /// # Errors
    /// Inner: it is not installed, or cannot run beside what is here. Outer: it was started and
    /// failed.
    pub(crate) fn start(&self, ground: &Ground<'_>) -> Result<Result<Peer, Missing>> {
        match (self.start)(ground).and_then(Peer::listening) {
            Ok(peer) => Ok(Ok(peer)),
            Err(error) => Ok(Err(error.downcast::<Missing>().with_context(|| self.name)?)),
        }
    }

    pub(crate) fn describe(&self, peer: Result<&Peer, Missing>) -> Description {
        Description {
            name: self.name,
            durable: self.durable,
            tuning: self.tuning,
            version: peer.as_ref().ok().map(|p| p.version.clone()),
            exact: peer.as_ref().is_ok_and(|p| p.group.is_exact()),
            failed: None,
            missing: peer.err().map(|why| why.to_string()),
        }
    }
}

impl Peer {
    fn new(name: &'static str, version: String, smtp: SocketAddr, ground: &Ground<'_>) -> Result<Self> {
        fs::create_dir_all(&ground.directory)?;
        let log = ground.directory.join("output");
        Ok(Self { name, version, smtp, group: Group::new(name), children: Vec::new(), log })
    }

    /// Starts a program that stays in the foreground.
    fn spawn(&mut self, program: &Path, set_up: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = self.group.command(program);
        let log = File::options().create(true).append(true).open(&self.log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        set_up(&mut command);
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        self.group.add(child.id());
        self.children.push(child);
        Ok(())
    }

    fn listening(mut self) -> Result<Self> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if TcpStream::connect(self.smtp).is_ok() {
                return Ok(self);
            }
            for child in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!("ended with {status} before it listened: {}", self.output());
                }
            }
            sleep(Duration::from_millis(100));
        }
        bail!("does not listen after 30 s: {}", self.output())
    }

    fn output(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().rev().take(8).collect::<Vec<_>>().join("\n")
    }

    /// Ends all its processes.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        // Ours are waited for beside, or they stay behind as zombies.
        let children = std::mem::take(&mut self.children);
        let waiting: Vec<_> =
            children.into_iter().map(|mut child| std::thread::spawn(move || child.wait())).collect();
        self.group.stop()?;
        waiting.into_iter().for_each(|thread| drop(thread.join()));
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Only after an error, which is what is reported.
        let _ = self.end();
    }
}

impl Server for Peer {
    fn name(&self) -> &str {
        self.name
    }

    fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    fn cpu(&self) -> Result<Cpu> {
        self.group.cpu()
    }

    fn main_process(&self) -> Option<u32> {
        None
    }

    fn metrics(&self) -> Result<Option<Metrics>> {
        Ok(None)
    }

    /// Removing a delivered message from its queue takes a moment after the next hop has it.
    fn settle(&self, _limit: Duration) -> Result<()> {
        sleep(Duration::from_millis(500));
        Ok(())
    }
}

/// The first that is there.
fn find(candidates: &[PathBuf]) -> Result<PathBuf> {
    let found = candidates.iter().find(|p| p.exists()).cloned();
    let name = || candidates.first().map_or(String::new(), |p| p.display().to_string());
    found.ok_or_else(|| Missing(format!("{} is not installed", name())).into())
}

/// What a program says, standard error included.
fn ask(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// User and group id of an account.
pub(crate) fn account(name: &str) -> Result<(u32, u32)> {
    let ids = ["-u", "-g"].map(|flag| ask(Path::new("id"), &[flag, name]));
    let [uid, gid] = ids.map(|id| id.ok().and_then(|text| text.trim().parse().ok()));
    uid.zip(gid).ok_or_else(|| Missing(format!("there is no account {name}")).into())
}

/// Makes a directory of this account.
pub(crate) fn directory(path: &Path, owner: Option<(u32, u32)>, mode: u32) -> Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if let Some((uid, gid)) = owner {
        chown(path, Some(uid), Some(gid))
            .with_context(|| format!("cannot give away {}; peers need root", path.display()))?;
    }
    Ok(())
}

/// A copy of the private key that this account can read.
fn key(ground: &Ground<'_>, owner: (u32, u32)) -> Result<PathBuf> {
    let copy = ground.directory.join("dkim.pem");
    fs::copy(ground.key, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o600))?;
    chown(&copy, Some(owner.0), Some(owner.1))?;
    reachable(&ground.directory)?;
    Ok(copy)
}

/// Servers that give up root must be able to enter the directories above theirs.
pub(crate) fn reachable(path: &Path) -> Result<()> {
    for above in path.ancestors() {
        let mode = fs::metadata(above)?.permissions().mode();
        ensure!(
            mode & 0o001 != 0,
            "{} is closed to the accounts of peers: choose another --directory",
            above.display()
        );
    }
    Ok(())
}
