//! The gateway at the edge under `wasmtime serve`, in turn with the native API in the same run.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::{Capture, median, rendering, runtime, sessions_to, tracked_path};
use crate::bench::{Bench, compile, note};
use crate::http_client::HttpClient;
use crate::ledger::Ledger;
use crate::process;
use crate::relay::{Relay, TRACKED, free_port};
use crate::scene::{Scene, TAG};
use crate::sink::{Behaviour, Observer};

/// Fresh processes that are started.
const STARTS: usize = 10;
/// Instances that are alive at once when their memory is measured.
const INSTANCES: u64 = 100;
/// Between the clicks of a session, 200 a second in all. What is reported to the core after the
/// redirect keeps an instance for as long as the core takes.
const BETWEEN_CLICKS: Duration = Duration::from_millis(100);
/// What callers show, and its SHA-256.
const CALLER: &str = "rv_bench";
const CALLER_HASH: &str = "sha256:33d713763bbae4b48d6f9d7c53794620d2ea3013f7a667e55a99ff9cc04e988b";

/// What the part measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Edge {
    /// The program and its version.
    pub(crate) host: String,
    /// Of the composition.
    pub(crate) octets: u64,
    /// From the start of a process, whose compiled code is a file, to its first answer.
    pub(crate) first_answer_ms: Vec<f64>,
    pub(crate) loads: Vec<EdgeLoad>,
    /// What a waiting request adds to the host's resident memory.
    pub(crate) instance_kib: u64,
    /// Resident after the loads.
    pub(crate) host_kib: u64,
}

/// The same requests to both.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EdgeLoad {
    pub(crate) name: String,
    /// Requests per second through the gateway.
    pub(crate) rate: f64,
    /// Processor time of a request in the host of the gateway, and in the core behind it.
    pub(crate) host_us: f64,
    pub(crate) core_us: f64,
    /// The same at the native API.
    pub(crate) native_rate: f64,
    pub(crate) native_us: f64,
    /// Requests to the gateway that the host refused for want of instances (500 or 503).
    pub(crate) refused: u64,
}

impl Edge {
    pub(crate) fn first_answer(&self) -> f64 {
        median(self.first_answer_ms.clone())
    }
}

/// Who is asked: with which key, and how much processor time that takes where.
#[derive(Clone, Copy)]
struct Asked<'a> {
    to: SocketAddr,
    key: &'a str,
    host: Option<u32>,
    core: u32,
}

/// Requests per second, and us of a request in the host and in the core.
struct Measured {
    rate: f64,
    host_us: f64,
    core_us: f64,
    refused: u64,
}

impl Bench<'_> {
    /// The part `edge`, where there is a host for it.
    pub(crate) fn edge(&mut self) -> Result<()> {
        let Ok(version) = Command::new("wasmtime").arg("--version").output() else {
            note("edge: not measured, `wasmtime` is not on the PATH");
            return Ok(());
        };
        let gateway = &self.options.gateway;
        let octets = fs::metadata(gateway).with_context(|| format!("{}", gateway.display()))?.len();
        let compiled = self.directory.join("gateway.cwasm");
        let done = Command::new("wasmtime").arg("compile").arg(gateway).arg("-o").arg(&compiled).status()?;
        ensure!(done.success(), "wasmtime compile: {done}");

        let ledger = Arc::new(Ledger::new(TAG)?);
        let capture = Arc::new(Capture { ledger: Arc::clone(&ledger), last: Mutex::default() });
        let observer = Arc::clone(&capture) as Arc<dyn Observer>;
        let scene = Scene::start(Behaviour::read(&self.options.sink)?, ledger, observer)?;
        let setup = self.setup(scene.by_smarthost());
        compile(&setup)?;
        let relay = Relay::start(&setup)?;
        let variables = variables(&relay, self.directory)?;

        note("first answers at the edge");
        let first_answer_ms =
            (0..STARTS).map(|_| Ok(Host::start(&compiled, &variables)?.1)).collect::<Result<_>>()?;
        let (host, _) = Host::start(&compiled, &variables)?;
        let instance_kib = instance(&host)?;
        let loads = self.edge_loads(&relay, &host, &scene, &capture)?;
        self.report.edge = Some(Edge {
            host: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
            octets,
            first_answer_ms,
            loads,
            instance_kib,
            host_kib: process::memory(host.pid())?.resident,
        });
        drop(host);
        relay.stop()
    }

    fn edge_loads(
        &self,
        relay: &Relay,
        host: &Host,
        scene: &Scene,
        capture: &Capture,
    ) -> Result<Vec<EdgeLoad>> {
        let path: Arc<str> = tracked_path(relay, scene, capture)?.into();
        let rendering: Arc<[u8]> = rendering()?.into();
        let edge = Asked { to: host.address, key: CALLER, host: Some(host.pid()), core: relay.pid() };
        let native = Asked { to: relay.http, key: &relay.key, host: None, core: relay.pid() };
        let mut loads = Vec::new();
        let mut both = |name: &str, measure: &dyn Fn(Asked<'_>) -> Result<Measured>| -> Result<()> {
            note(&format!("{name} at the edge and natively"));
            let (edge, native) = (measure(edge)?, measure(native)?);
            loads.push(EdgeLoad {
                name: name.to_owned(),
                rate: edge.rate,
                host_us: edge.host_us,
                core_us: edge.core_us,
                native_rate: native.rate,
                native_us: native.core_us,
                refused: edge.refused,
            });
            Ok(())
        };
        both("redirect", &|asked| self.requests(asked, Request::Click(Arc::clone(&path))))?;
        both("redirects without a pause", &|asked| self.requests(asked, Request::Clicks(Arc::clone(&path))))?;
        both("render", &|asked| self.requests(asked, Request::Render(Arc::clone(&rendering))))?;
        both("send", &|asked| {
            let before = asked.host.map(process::cpu).transpose()?;
            let sent = self.send_to(relay, scene, asked.to, asked.key)?;
            let host = asked.host.map(process::cpu).transpose()?;
            let host_us = match (before, host) {
                (Some(before), Some(host)) => per(host.since(before), sent.accepted),
                _ => 0.0,
            };
            Ok(Measured { rate: sent.rate, host_us, core_us: sent.cpu_us, refused: 0 })
        })?;
        Ok(loads)
    }

    /// A closed loop.
    #[expect(clippy::cast_precision_loss, reason = "counts of minutes")]
    fn requests(&self, asked: Asked<'_>, request: Request) -> Result<Measured> {
        let (count, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let before = (asked.host.map(process::cpu).transpose()?, process::cpu(asked.core)?);
        let (began, until) = (Instant::now(), Instant::now() + self.options.duration);
        sessions_to(asked.to, asked.key, |mut client, key| {
            let (request, count, refused) = (request.clone(), Arc::clone(&count), Arc::clone(&refused));
            async move {
                while Instant::now() < until {
                    let served = request.send(&mut client, &key).await?;
                    let counter = if served { &count } else { &refused };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        })?;
        let (elapsed, count) = (began.elapsed(), count.load(Ordering::Relaxed));
        let host_us = match (before.0, asked.host.map(process::cpu).transpose()?) {
            (Some(before), Some(after)) => per(after.since(before), count),
            _ => 0.0,
        };
        let core_us = per(process::cpu(asked.core)?.since(before.1), count);
        let rate = count as f64 / elapsed.as_secs_f64();
        Ok(Measured { rate, host_us, core_us, refused: refused.load(Ordering::Relaxed) })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of minutes")]
fn per(cpu: process::Cpu, count: u64) -> f64 {
    cpu.total().as_secs_f64() * 1e6 / count.max(1) as f64
}

/// What is asked again and again.
#[derive(Clone)]
enum Request {
    /// At a rate.
    Click(Arc<str>),
    /// As fast as answers come. A host without a free instance may refuse some.
    Clicks(Arc<str>),
    Render(Arc<[u8]>),
}

impl Request {
    /// Returns false if the host had no instance for it.
    async fn send(&self, client: &mut HttpClient, key: &str) -> Result<bool> {
        if matches!(self, Self::Click(_)) {
            tokio::time::sleep(BETWEEN_CLICKS).await;
        }
        let (answer, wanted) = match self {
            Self::Click(path) | Self::Clicks(path) => {
                (client.get(&format!("t.{TRACKED}"), path, "").await?, 302)
            }
            Self::Render(body) => (client.post("/render", key, &[], body).await?, 200),
        };
        if matches!(self, Self::Clicks(_)) && matches!(answer.status, 500 | 503) {
            return Ok(false);
        }
        ensure!(answer.status == wanted, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(true)
    }
}

/// `wasmtime serve`, killed when dropped.
struct Host {
    child: Child,
    address: SocketAddr,
}

impl Host {
    /// Starts one; returns it with the milliseconds until its first answer.
    fn start(compiled: &Path, variables: &HashMap<String, String>) -> Result<(Self, f64)> {
        let address = free_port()?;
        let mut command = Command::new("wasmtime");
        // Room for more instances than there are connections: a composition is several.
        command.args(["serve", "-Scli", "--allow-precompiled", "-Opooling-total-core-instances=8000"]);
        command.args(["-Opooling-total-memories=4000", "-Opooling-total-tables=8000"]);
        command.arg(format!("--addr={address}"));
        command.args(variables.iter().map(|(name, value)| format!("--env={name}={value}")));
        command.arg(compiled).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let host = Self { child: command.spawn().context("wasmtime serve")?, address };
        while began.elapsed() < Duration::from_secs(60) {
            let Ok(mut connection) = TcpStream::connect(address) else {
                sleep(Duration::from_micros(200));
                continue;
            };
            connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "/healthz: {answer}");
            return Ok((host, began.elapsed().as_secs_f64() * 1000.0));
        }
        anyhow::bail!("wasmtime serve does not answer within 60 s")
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Settings of the gateway, with a key of the relay for it.
fn variables(relay: &Relay, directory: &Path) -> Result<HashMap<String, String>> {
    let body = serde_json::to_vec(&json!({"name": "edge", "scopes": ["relay"]}))?;
    let made = runtime()?.block_on(async {
        HttpClient::connect(relay.http).await?.post("/api-keys", &relay.key, &[], &body).await
    })?;
    let made: Value = serde_json::from_slice(&made.body)?;
    let token = made["token"].as_str().with_context(|| format!("no key for the gateway: {made}"))?;
    let tracking: PathBuf = directory.join("data/tracking.key");
    let tracking = fs::read_to_string(&tracking).with_context(|| format!("{}", tracking.display()))?;
    let variables = [
        ("RELEVO_RELAY_URL", format!("http://{}", relay.http)),
        ("RELEVO_RELAY_TOKEN", token.to_owned()),
        ("RELEVO_API_KEYS", CALLER_HASH.to_owned()),
        ("RELEVO_TRACKING_KEYS", format!("own:{}", tracking.trim())),
        ("RELEVO_TENANT", "bench".to_owned()),
    ];
    Ok(variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Resident KiB that a waiting request adds.
fn instance(host: &Host) -> Result<u64> {
    let before = process::memory(host.pid())?.resident;
    let head = format!(
        "POST /emails HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {CALLER}\r\nContent-Length: 4096\r\n\r\n{{"
    );
    let waiting: Vec<TcpStream> = (0..INSTANCES)
        .map(|_| {
            let mut connection = TcpStream::connect(host.address)?;
            connection.write_all(head.as_bytes())?;
            Ok(connection)
        })
        .collect::<Result<_>>()?;
    // Until every body is waited for.
    sleep(Duration::from_secs(3));
    let after = process::memory(host.pid())?.resident;
    drop(waiting);
    Ok(after.saturating_sub(before) / INSTANCES)
}
