//! A load generator and a next hop that are not ours: Postfix's `smtp-source` and `smtp-sink`.
//!
//! `smtp-source` does not pipeline. Unless sessions are kept, it opens a connection for each
//! message.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::relay::{PLAIN, free_port};
use crate::server::Server;

/// Messages that warm a server up and tell how many make the wanted duration.
const WARM_UP: u64 = 2_000;
/// A server that delivers nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// A load for `smtp-source`.
#[derive(Debug, Clone)]
pub(crate) struct SourceLoad {
    pub(crate) name: &'static str,
    /// Octets of the body.
    pub(crate) octets: usize,
    pub(crate) sessions: usize,
    /// Sessions carry one message after another, in place of a connection for each.
    pub(crate) kept: bool,
    /// Messages per second over Postfix with OpenDKIM.
    pub(crate) rate_target: f64,
    /// Processor time over that of Postfix with OpenDKIM.
    pub(crate) cpu_target: f64,
}

/// The loads that are compared, with their targets.
pub(crate) const LOADS: [SourceLoad; 4] = [
    SourceLoad {
        name: "4 KiB x 20, connection each",
        octets: 4 << 10,
        sessions: 20,
        kept: false,
        rate_target: 5.0,
        cpu_target: 0.15,
    },
    SourceLoad {
        name: "4 KiB x 20, sessions kept",
        octets: 4 << 10,
        sessions: 20,
        kept: true,
        rate_target: 5.0,
        cpu_target: 0.15,
    },
    SourceLoad {
        name: "4 KiB x 100, sessions kept",
        octets: 4 << 10,
        sessions: 100,
        kept: true,
        rate_target: 5.0,
        cpu_target: 0.15,
    },
    SourceLoad {
        name: "100 KiB x 20, sessions kept",
        octets: 100 << 10,
        sessions: 20,
        kept: true,
        rate_target: 4.0,
        cpu_target: 0.2,
    },
];

/// One run of `smtp-source` against a server that delivers to `smtp-sink`.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SourceFigures {
    pub(crate) messages: u64,
    /// Messages over the time until `smtp-source` has its last 250.
    pub(crate) accepted_per_second: f64,
    /// Messages over the time until `smtp-sink` has the last one.
    pub(crate) delivered_per_second: f64,
    /// Processor time of the server, from the first message until everything is settled.
    pub(crate) cpu_us: f64,
}

impl SourceFigures {
    /// Messages per second that the server got through from end to end.
    pub(crate) fn rate(&self) -> f64 {
        self.accepted_per_second.min(self.delivered_per_second)
    }
}

/// `smtp-sink` with its counter of messages; ended when dropped.
pub(crate) struct SmtpSink {
    child: Child,
    address: SocketAddr,
    messages: Arc<AtomicU64>,
}

impl SmtpSink {
    /// Starts one on a free port of loopback.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub(crate) fn start() -> Result<Self> {
        let address = free_port()?;
        let mut child = Command::new("smtp-sink")
            .args(["-c", "-u", "postfix", &address.to_string(), "1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run smtp-sink")?;
        let mut output = child.stdout.take().context("smtp-sink has no output")?;
        let messages = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&messages);
        std::thread::spawn(move || {
            let (mut buffer, mut rest) = ([0; 4096], String::new());
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                rest.push_str(&String::from_utf8_lossy(&buffer[..read]));
                if let Some(count) = newest_count(&rest) {
                    counter.store(count, Ordering::Relaxed);
                }
                rest = rest.rsplit_once('\r').map_or(rest.clone(), |(_, unfinished)| unfinished.to_owned());
            }
        });
        Ok(Self { child, address, messages })
    }

    /// The next hop for a server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Messages that arrived since the start.
    fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Waits until `count` messages arrived since the start. Returns when the last one did.
    fn wait(&self, count: u64) -> Result<Instant> {
        let (mut newest, mut moved) = (self.messages(), Instant::now());
        loop {
            let now = self.messages();
            if now != newest {
                (newest, moved) = (now, Instant::now());
            }
            ensure!(now <= count, "{now} messages arrived, {count} were sent");
            if now == count {
                return Ok(moved);
            }
            ensure!(
                moved.elapsed() < PATIENCE,
                "{now} of {count} messages arrived, then none for {PATIENCE:?}"
            );
            sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        // One that is gone already is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last complete `mesg=N` of what `smtp-sink -c` prints: `sess=1 quit=1 mesg=7` and a carriage
/// return.
fn newest_count(text: &str) -> Option<u64> {
    let complete = &text[..text.rfind('\r')?];
    complete.rsplit_once("mesg=")?.1.split(['\r', ' ']).next()?.parse().ok()
}

/// Warms up, sends for about `duration`, waits until everything is delivered and settled.
pub(crate) fn measure(
    server: &dyn Server,
    sink: &SmtpSink,
    load: &SourceLoad,
    duration: Duration,
) -> Result<SourceFigures> {
    let warm = run(server, sink, load, WARM_UP)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of messages")]
    let messages = ((warm.rate() * duration.as_secs_f64()) as u64).max(WARM_UP);
    run(server, sink, load, messages)
}

#[expect(clippy::cast_precision_loss, reason = "counts of minutes")]
fn run(server: &dyn Server, sink: &SmtpSink, load: &SourceLoad, messages: u64) -> Result<SourceFigures> {
    let already = sink.messages();
    let before = server.cpu()?;
    let began = Instant::now();
    send(server.smtp(), load, messages)?;
    let accepted = began.elapsed();
    let delivered = sink.wait(already + messages)?.saturating_duration_since(began);
    server.settle(PATIENCE)?;
    let cpu = server.cpu()?.since(before);
    let count = messages as f64;
    Ok(SourceFigures {
        messages,
        accepted_per_second: count / accepted.as_secs_f64(),
        delivered_per_second: count / delivered.as_secs_f64(),
        cpu_us: cpu.total().as_secs_f64() * 1e6 / count,
    })
}

/// Runs `smtp-source`, which ends with an error at the first reply that is not positive.
fn send(to: SocketAddr, load: &SourceLoad, messages: u64) -> Result<()> {
    let mut command = Command::new("smtp-source");
    command.args(["-C", "10", "-N", "-f", &format!("load@{PLAIN}"), "-t", "r@sink.test"]);
    command.args(["-s", &load.sessions.to_string()]);
    command.args(["-m", &messages.to_string(), "-l", &load.octets.to_string()]);
    if load.kept {
        command.arg("-d");
    }
    let output = command.arg(to.to_string()).output().context("cannot run smtp-source")?;
    if !output.status.success() {
        bail!("smtp-source: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::newest_count;

    #[test]
    fn the_newest_complete_count_is_read() {
        assert_eq!(
            newest_count("sess=1 quit=0 mesg=7\rsess=2 quit=0 mesg=12\rsess=2 quit=1 mesg=1"),
            Some(12)
        );
        assert_eq!(newest_count("sess=1 quit=0 mesg=7"), None);
        assert_eq!(newest_count(""), None);
    }
}
