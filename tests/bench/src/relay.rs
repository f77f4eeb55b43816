//! `relevo serve` with a configuration of its own.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::metrics::Metrics;

/// The domain without tracking.
pub const PLAIN: &str = "plain.test";
/// The domain with clicks and opens tracked.
pub const TRACKED: &str = "tracked.test";

/// How a relay is set up.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// `relevo`.
    pub binary: &'a Path,
    /// For configuration, keys, data and log; what is there already is used.
    pub directory: &'a Path,
    /// Everything is handed to it.
    pub next_hop: SocketAddr,
    /// After a failed attempt.
    pub retry: &'a str,
}

/// A relay that runs; killed when dropped.
pub struct Relay {
    child: Child,
    /// The relay port, for loopback.
    pub smtp: SocketAddr,
    http: SocketAddr,
    log: PathBuf,
}

impl Relay {
    /// Makes keys once per directory, writes the configuration, starts, waits until both ports answer.
    pub fn start(setup: &Setup<'_>) -> Result<Self> {
        let directory = setup.directory;
        fs::create_dir_all(directory)?;
        let (smtp, http) = (free_port()?, free_port()?);
        for domain in [PLAIN, TRACKED] {
            make_key(setup, domain)?;
        }
        let config = directory.join("relevo.toml");
        fs::write(&config, configuration(setup, smtp, http))?;
        let log = directory.join("log");
        let child = Command::new(setup.binary)
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("cannot run {}", setup.binary.display()))?;
        let mut relay = Self { child, smtp, http, log };
        relay.wait_until_it_listens()?;
        Ok(relay)
    }

    /// Of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As they are now.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::fetch(self.http)
    }

    /// Waits until the metrics are as wanted; `what` is for the error.
    pub fn wait(&self, what: &str, limit: Duration, done: impl Fn(&Metrics) -> bool) -> Result<Metrics> {
        let began = Instant::now();
        loop {
            let metrics = self.metrics()?;
            if done(&metrics) {
                return Ok(metrics);
            }
            ensure!(began.elapsed() < limit, "{what}: not within {limit:?}; {}", self.state(&metrics));
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits until nothing is queued and nothing is left to settle.
    pub fn drained(&self, limit: Duration) -> Result<Metrics> {
        self.wait("everything delivered", limit, |m| {
            m.get("relevo_queue_items") == 0.0 && m.get("relevo_delivery_in_flight") == 0.0
        })
    }

    fn state(&self, metrics: &Metrics) -> String {
        let mut text = String::new();
        for name in
            ["queue_items", "queue_due", "queue_leased", "delivery_connections", "delivery_sites_down"]
        {
            let _ = write!(text, "{name} {}, ", metrics.get(&format!("relevo_{name}")));
        }
        text + &self.tail()
    }

    fn tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        format!("log (newest first):\n{}", lines.join("\n"))
    }

    /// Ends it at once (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// It had ended by itself before.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("relevo ended by itself with {status}; {}", self.tail());
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop and waits.
    pub fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.context("no process id")?, rustix::process::Signal::TERM)?;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "relevo ended with {status}; {}", self.tail());
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        bail!("relevo did not stop within 30 s of SIGTERM; {}", self.tail())
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        // The first start compiles the components.
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(300) {
            if let Some(status) = self.child.try_wait()? {
                bail!("relevo ended with {status}; {}", self.tail());
            }
            if TcpStream::connect(self.smtp).is_ok() && TcpStream::connect(self.http).is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(50));
        }
        bail!("relevo does not listen after 300 s; {}", self.tail())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Already gone after `stop`; otherwise an error is on its way and nobody needs this process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

fn make_key(setup: &Setup<'_>, domain: &str) -> Result<()> {
    let file = setup.directory.join(format!("{domain}.pem"));
    if file.exists() {
        return Ok(());
    }
    let made = Command::new(setup.binary)
        .args([
            "key",
            "generate",
            "--domain",
            domain,
            "--selector",
            "s1",
            "--algorithm",
            "rsa-sha256",
            "--out",
        ])
        .arg(&file)
        .output()
        .with_context(|| format!("cannot run {}", setup.binary.display()))?;
    ensure!(made.status.success(), "relevo key generate: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

/// Defaults wherever they do not stop a load from one address.
fn configuration(setup: &Setup<'_>, smtp: SocketAddr, http: SocketAddr) -> String {
    let (host, port) = (setup.next_hop.ip(), setup.next_hop.port());
    let key =
        |domain: &str| format!(r#"[{{ selector = "s1", algorithm = "rsa-sha256", key = "{domain}.pem" }}]"#);
    format!(
        r#"hostname = "relay.test"
postmaster = "postmaster@{PLAIN}"
data_dir = "data"
min_free = "16MiB"
[smtp]
relay = ["{smtp}"]
trusted_networks = ["127.0.0.0/8"]
max_message_size = "100MiB"
recipients_per_hour = 1000000000
max_connections_per_peer = 1000
[http]
listen = ["{http}"]
[delivery]
retry = ["{retry}"]
smarthost = {{ host = "{host}", port = {port}, tls = "none" }}
[[tenant]]
id = "bench"
[[tenant.domain]]
name = "{PLAIN}"
dkim = {plain}
[[tenant.domain]]
name = "{TRACKED}"
dkim = {tracked}
tracking = {{ url = "https://t.{TRACKED}", opens = true, clicks = true }}
"#,
        retry = setup.retry,
        plain = key(PLAIN),
        tracked = key(TRACKED),
    )
}
