//! `relevo serve` with a configuration of its own.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::metrics::Metrics;

/// The domain without tracking.
pub const PLAIN: &str = "plain.test";
/// The domain with clicks and opens tracked.
pub const TRACKED: &str = "tracked.test";

/// Domains of two more tenants, neither tracked.
pub const TENANTS: [&str; 2] = ["noisy.test", "quiet.test"];

/// Where a relay delivers to.
#[derive(Debug, Clone, Copy)]
pub enum NextHop {
    /// Everything to one host.
    Smarthost(SocketAddr),
    /// To the MX hosts that this server names, at this port.
    Mx {
        /// A DNS server.
        nameserver: SocketAddr,
        /// Of every MX host.
        port: u16,
    },
}

impl NextHop {
    fn configuration(self) -> String {
        match self {
            Self::Smarthost(to) => {
                let (host, port) = (to.ip(), to.port());
                format!("smarthost = {{ host = \"{host}\", port = {port}, tls = \"none\" }}\n")
            }
            Self::Mx { nameserver, port } => format!(
                "port = {port}\nip = \"ipv4\"\nallow_networks = [\"127.0.0.0/8\"]\n[dns]\nnameservers = [\"{nameserver}\"]\n"
            ),
        }
    }
}

/// How a relay is set up.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// `relevo`.
    pub binary: &'a Path,
    /// For configuration, keys, data and log; what is there already is used.
    pub directory: &'a Path,
    /// Where everything goes.
    pub next_hop: NextHop,
    /// After a failed attempt.
    pub retry: &'a str,
}

/// How a relay is started, beyond [`Setup`].
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// A command in front of the relay's: a tracer, say. It must become the relay by exec, so that
    /// the process that is signalled and measured is the relay.
    pub under: Vec<String>,
    /// Sections for the end of the configuration; `{http}` in them stands for the HTTP listener.
    pub sections: String,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
}

/// A relay that runs; killed when dropped.
pub struct Relay {
    child: Child,
    /// The relay port, for loopback.
    pub smtp: SocketAddr,
    /// The HTTP port.
    pub http: SocketAddr,
    /// An API key of the tenant of [`PLAIN`] and [`TRACKED`].
    pub key: String,
    log: PathBuf,
}

impl Relay {
    /// Makes keys once per directory, writes the configuration, starts, waits until both ports
    /// answer.
    pub fn start(setup: &Setup<'_>) -> Result<Self> {
        let mut relay = Self::launch(setup, &Launch::default())?;
        relay.wait_until_it_listens()?;
        Ok(relay)
    }

    /// As [`Self::start`], without waiting until it listens.
    pub fn launch(setup: &Setup<'_>, launch: &Launch) -> Result<Self> {
        let directory = setup.directory;
        fs::create_dir_all(directory)?;
        let (smtp, http) = (free_port()?, free_port()?);
        for domain in [PLAIN, TRACKED].into_iter().chain(TENANTS) {
            make_key(setup, domain)?;
        }
        let (key, api_keys) = api_key(setup)?;
        let config = directory.join("relevo.toml");
        fs::write(
            &config,
            configuration(setup, &api_keys, smtp, http)
                + &launch.sections.replace("{http}", &http.to_string()),
        )?;
        let log = directory.join("log");
        let mut words = launch.under.iter().map(OsString::from).chain([setup.binary.into()]);
        let child = Command::new(words.next().context("no command")?)
            .args(words)
            .args(["serve", "--config"])
            .arg(&config)
            .envs(launch.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("cannot run {}", setup.binary.display()))?;
        Ok(Self { child, smtp, http, key, log })
    }

    /// Whether it has ended, by itself or because somebody ended it.
    pub fn ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Ends it with SIGKILL, if it runs, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        // One that is gone already is what was wanted.
        let _ = self.child.kill();
        self.child.wait()?;
        Ok(())
    }

    /// How often its log says so.
    pub fn says(&self, what: &str) -> usize {
        fs::read_to_string(&self.log).unwrap_or_default().matches(what).count()
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

    /// Waits until both ports answer.
    pub fn wait_until_it_listens(&mut self) -> Result<()> {
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
        // Already gone after `stop`; otherwise an error is on its way and nobody needs this
        // process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago, below those that the system gives to clients: a relay that is
/// killed and started again must find it free, whatever connections there are.
pub fn free_port() -> Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id() % 200 * 100;
    for _ in 0..1000 {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + (start + n) % 20_000)?;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return Ok(listener.local_addr()?);
        }
    }
    bail!("no port of 127.0.0.1 is free")
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

/// A key for the API and its line of the configuration, made once per directory.
fn api_key(setup: &Setup<'_>) -> Result<(String, String)> {
    let file = setup.directory.join("api-key");
    if !file.exists() {
        let made = Command::new(setup.binary).args(["api-key", "new"]).output()?;
        ensure!(made.status.success(), "relevo api-key new: {}", String::from_utf8_lossy(&made.stderr));
        fs::write(&file, made.stdout)?;
    }
    let said = fs::read_to_string(&file)?;
    let key = said.lines().find_map(|line| line.strip_prefix("API key (shown this once): "));
    let entry = said.lines().find(|line| line.starts_with("api_keys"));
    Ok((key.context("no API key")?.to_owned(), entry.context("no API key")?.to_owned()))
}

/// Defaults wherever they do not stop a load from one address.
fn configuration(setup: &Setup<'_>, api_keys: &str, smtp: SocketAddr, http: SocketAddr) -> String {
    let key =
        |domain: &str| format!(r#"[{{ selector = "s1", algorithm = "rsa-sha256", key = "{domain}.pem" }}]"#);
    let tenants: String = TENANTS
        .iter()
        .map(|d| {
            let id = d.trim_end_matches(".test");
            format!("[[tenant]]\nid = \"{id}\"\n[[tenant.domain]]\nname = \"{d}\"\ndkim = {}\n", key(d))
        })
        .collect();
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
requests_per_second = 1000000
[delivery]
retry = ["{retry}"]
{next_hop}[[tenant]]
id = "bench"
{api_keys}
[[tenant.domain]]
name = "{PLAIN}"
dkim = {plain}
[[tenant.domain]]
name = "{TRACKED}"
dkim = {tracked}
tracking = {{ url = "https://t.{TRACKED}", opens = true, clicks = true }}
{tenants}"#,
        retry = setup.retry,
        next_hop = setup.next_hop.configuration(),
        plain = key(PLAIN),
        tracked = key(TRACKED),
    )
}
