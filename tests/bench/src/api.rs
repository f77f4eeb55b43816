//! The HTTP API: sending in turn with SMTP, a batch of personalised messages, renderings, clicks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::bench::{Bench, compile, note};
use crate::http_client::HttpClient;
use crate::ledger::{Ledger, histogram};
use crate::load::Schedule;
use crate::message::Addresses;
use crate::process;
use crate::relay::{PLAIN, Relay, TRACKED};
use crate::scene::{Scene, TAG};
use crate::sink::{Arrival, Behaviour, Observer};
use crate::throughput::{Percentiles, Plan, delivered, measure};

/// Connections of a load.
const SESSIONS: usize = 20;
/// Personalised messages of a batch.
const BATCH: usize = 1_000;
/// Batches that are measured.
const BATCHES: usize = 5;
/// Clicks per second.
const CLICKS: f64 = 2_000.0;
/// A line of content.
const LINE: &str = "It was a bright cold day in April and the clocks were striking thirteen.\n";

/// What the part measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Api {
    /// Messages per second by SMTP and by HTTP, measured in turn.
    pub(crate) rates: Vec<[f64; 2]>,
    /// Processor time of a message in us by SMTP and by HTTP.
    pub(crate) cpu_us: Vec<[f64; 2]>,
    /// From the request for 1,000 personalised messages of 4 KB to its answer.
    pub(crate) batch_ms: Vec<f64>,
    /// Processor time in `template` for one rendering of 4 KB with ten variables.
    pub(crate) render_us: f64,
    /// From when a click was due to its redirect, 2,000 a second.
    pub(crate) click_ms: Percentiles,
}

impl Api {
    /// Messages per second by HTTP over those by SMTP: the median of the pairs.
    pub(crate) fn ratio(&self) -> f64 {
        median(self.rates.iter().map(|[smtp, http]| http / smtp).collect())
    }

    pub(crate) fn batch(&self) -> f64 {
        median(self.batch_ms.clone())
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

impl Bench<'_> {
    /// The part `api`.
    pub(crate) fn api(&mut self) -> Result<()> {
        let ledger = Arc::new(Ledger::new(TAG)?);
        let capture = Arc::new(Capture { ledger: Arc::clone(&ledger), last: Mutex::default() });
        let observer = Arc::clone(&capture) as Arc<dyn Observer>;
        let scene = Scene::start(Behaviour::read(&self.options.sink)?, ledger, observer)?;
        let setup = self.setup(scene.by_smarthost());
        compile(&setup)?;
        let relay = Relay::start(&setup)?;
        let (mut rates, mut cpu_us) = (Vec::new(), Vec::new());
        for pair in 1..=self.options.pairs {
            note(&format!("4 KiB x {SESSIONS} by SMTP and by HTTP, pair {pair}"));
            let plan = Plan::new("4 KiB x 20 by SMTP", 4, SESSIONS, self.options.duration);
            let smtp = measure(&relay, &scene.ledger, &scene.addresses(), &plan)?;
            let (rate, cpu) = self.send(&relay, &scene)?;
            rates.push([smtp.rate(), rate]);
            cpu_us.push([smtp.cpu_us(), cpu]);
        }
        note("batches");
        let batch_ms = (0..BATCHES).map(|_| batch(&relay, &scene)).collect::<Result<_>>()?;
        note("renderings");
        let render_us = self.render(&relay)?;
        note("clicks");
        let click_ms = self.click(&relay, &scene, &capture)?;
        self.report.api = Some(Api { rates, cpu_us, batch_ms, render_us, click_ms });
        relay.stop()
    }

    /// Messages per second and processor time of one, by `POST /emails`.
    fn send(&self, relay: &Relay, scene: &Scene) -> Result<(f64, f64)> {
        let sent = self.send_to(relay, scene, relay.http, &relay.key)?;
        Ok((sent.rate, sent.cpu_us))
    }

    /// The same by way of a server that hands over to the relay.
    #[expect(clippy::cast_precision_loss, reason = "counts of minutes")]
    pub(crate) fn send_to(
        &self,
        relay: &Relay,
        scene: &Scene,
        to: SocketAddr,
        key: &str,
    ) -> Result<SentByHttp> {
        scene.ledger.clear();
        let before = process::cpu(relay.pid())?;
        let (until, count) = (Instant::now() + self.options.duration, AtomicU64::new(0));
        let began = Instant::now();
        let load = Arc::new(SendLoad {
            ledger: Arc::clone(&scene.ledger),
            addresses: scene.addresses(),
            content: content(4096),
            count,
        });
        sessions_to(to, key, |mut client, key| {
            let load = Arc::clone(&load);
            async move {
                while Instant::now() < until {
                    load.send(&mut client, &key).await?;
                }
                Ok(())
            }
        })?;
        let elapsed = began.elapsed();
        let accepted = load.count.load(Ordering::Relaxed);
        let arrived = delivered(relay, &scene.ledger, accepted)?;
        ensure!(arrived.unsigned == 0, "{} messages have no signature", arrived.unsigned);
        let cpu = process::cpu(relay.pid())?.since(before).total();
        let slowest = elapsed.max(arrived.last.saturating_duration_since(began));
        let cpu_us = cpu.as_secs_f64() * 1e6 / accepted as f64;
        Ok(SentByHttp { accepted, rate: accepted as f64 / slowest.as_secs_f64(), cpu_us })
    }

    /// Processor time of a rendering in us.
    fn render(&self, relay: &Relay) -> Result<f64> {
        let source = Arc::new(rendering()?);
        let before = relay.metrics()?;
        let until = Instant::now() + self.options.duration.min(Duration::from_secs(5));
        sessions(relay, |mut client, key| {
            let source = Arc::clone(&source);
            async move {
                while Instant::now() < until {
                    let answer = client.post("/render", &key, &[], &source).await?;
                    ensure!(answer.status == 200, "/render: {}", String::from_utf8_lossy(&answer.body));
                }
                Ok(())
            }
        })?;
        let counted = relay.metrics()?.since(&before);
        let of = |family: &str| counted.labelled(family).get("template").copied().unwrap_or(0.0);
        Ok(of("relevo_stage_cpu_seconds_total") * 1e6 / of("relevo_stage_calls_total").max(1.0))
    }

    /// Clicks at a fixed rate, on links of a message that arrived.
    fn click(&self, relay: &Relay, scene: &Scene, capture: &Capture) -> Result<Percentiles> {
        let path = Arc::new(tracked_path(relay, scene, capture)?);
        let host = format!("t.{TRACKED}");
        let time = self.options.duration.min(Duration::from_secs(10));
        let (schedule, began) = (Schedule::Open(CLICKS), Instant::now());
        let seen = Arc::new((AtomicU64::new(0), Mutex::new(histogram()?)));
        sessions(relay, |mut client, _| {
            let (path, host, seen) = (Arc::clone(&path), host.clone(), Arc::clone(&seen));
            async move {
                loop {
                    let ticket = seen.0.fetch_add(1, Ordering::Relaxed);
                    let due = began + schedule.due(ticket).unwrap_or_default();
                    if due >= began + time {
                        return Ok(());
                    }
                    tokio::time::sleep_until(due.into()).await;
                    let answer = client.get(&host, &path, "").await?;
                    ensure!(answer.status == 302, "a click: {}", answer.status);
                    let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
                    seen.1.lock().saturating_record(micros);
                }
            }
        })?;
        let histogram: Histogram<u64> = seen.1.lock().clone();
        Ok(Percentiles::of(&histogram))
    }
}

/// A load of `POST /emails`.
pub(crate) struct SentByHttp {
    pub(crate) accepted: u64,
    /// Messages per second.
    pub(crate) rate: f64,
    /// Processor time of a message in the relay.
    pub(crate) cpu_us: f64,
}

/// What the sessions of a load by HTTP share.
struct SendLoad {
    ledger: Arc<Ledger>,
    addresses: Addresses,
    content: (String, String),
    count: AtomicU64,
}

impl SendLoad {
    async fn send(&self, client: &mut HttpClient, key: &str) -> Result<()> {
        let serial = self.ledger.begin(1).start;
        let (html, text) = &self.content;
        let body = json!({
            "from": format!("news@{PLAIN}"),
            "to": self.addresses.recipient(serial),
            "subject": format!("Offer {serial}"),
            "html": html,
            "text": text,
        });
        let answer = client.post("/emails", key, &[], &serde_json::to_vec(&body)?).await?;
        ensure!(answer.status == 202, "POST /emails: {}", String::from_utf8_lossy(&answer.body));
        self.ledger.acknowledge(serial);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Runs a load over [`SESSIONS`] connections.
fn sessions<F>(relay: &Relay, session: impl FnMut(HttpClient, String) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    sessions_to(relay.http, &relay.key, session)
}

/// The same to any server.
pub(crate) fn sessions_to<F>(
    to: SocketAddr,
    key: &str,
    mut session: impl FnMut(HttpClient, String) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    runtime()?.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..SESSIONS {
            tasks.spawn(session(HttpClient::connect(to).await?, key.to_owned()));
        }
        while let Some(done) = tasks.join_next().await {
            done.context("a session panicked")??;
        }
        Ok(())
    })
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A request to render 4 KB with ten variables.
pub(crate) fn rendering() -> Result<Vec<u8>> {
    let names: Vec<String> = (0..10).map(|n| format!("v{n}")).collect();
    let holes: String = names.iter().map(|name| format!("<p>{{{{ {name} }}}}</p>\n")).collect();
    let html = format!("<html><body>{}{holes}</body></html>", LINE.repeat(3_900 / LINE.len()));
    let variables: serde_json::Map<String, Value> =
        names.into_iter().map(|name| (name, json!("a value"))).collect();
    let source = json!({"subject": "Hello {{ v0 }}", "html": html, "text": "x", "variables": variables});
    Ok(serde_json::to_vec(&source)?)
}

/// HTML and text of so many octets together; a quarter of them text.
fn content(octets: usize) -> (String, String) {
    let lines = octets / LINE.len();
    let html = format!("<html><body><p>{}</p></body></html>", LINE.repeat(lines - lines / 4));
    (html, LINE.repeat(lines / 4))
}

/// Milliseconds from a request for personalised messages to its answer.
fn batch(relay: &Relay, scene: &Scene) -> Result<f64> {
    scene.ledger.clear();
    let serials = scene.ledger.begin(BATCH as u64);
    let recipients: Vec<Value> = serials
        .clone()
        .map(|serial| json!({"email": scene.addresses().recipient(serial), "variables": {"n": serial}}))
        .collect();
    let (html, text) = content(4096);
    let body = json!({
        "from": format!("news@{PLAIN}"),
        "recipients": recipients,
        "subject": "Offer {{ n }}",
        "html": html,
        "text": text,
    });
    let body = serde_json::to_vec(&body)?;
    let took = runtime()?.block_on(async {
        let mut client = HttpClient::connect(relay.http).await?;
        let began = Instant::now();
        let answer = client.post("/emails", &relay.key, &[], &body).await?;
        ensure!(answer.status == 202, "a batch: {}", String::from_utf8_lossy(&answer.body));
        Ok::<_, anyhow::Error>(began.elapsed())
    })?;
    serials.for_each(|serial| scene.ledger.acknowledge(serial));
    delivered(relay, &scene.ledger, BATCH as u64)?;
    Ok(took.as_secs_f64() * 1000.0)
}

/// The path of a genuine link: that of a message that arrived.
pub(crate) fn tracked_path(relay: &Relay, scene: &Scene, capture: &Capture) -> Result<String> {
    scene.ledger.clear();
    let serial = scene.ledger.begin(1).start;
    let body = json!({
        "from": format!("news@{TRACKED}"),
        "to": scene.addresses().recipient(serial),
        "subject": "Click",
        "html": "<a href=\"https://shop.example/offer\">Offer</a>",
    });
    runtime()?.block_on(async {
        let mut client = HttpClient::connect(relay.http).await?;
        let answer = client.post("/emails", &relay.key, &[], &serde_json::to_vec(&body)?).await?;
        ensure!(answer.status == 202, "a tracked message: {}", String::from_utf8_lossy(&answer.body));
        Ok(())
    })?;
    scene.ledger.acknowledge(serial);
    delivered(relay, &scene.ledger, 1)?;
    let message = String::from_utf8_lossy(&capture.last.lock()).replace("=\r\n", "").replace("=3D", "=");
    let start = format!("https://t.{TRACKED}");
    let link = message.split('"').find_map(|text| text.strip_prefix(&start));
    Ok(link.filter(|path| path.starts_with("/c/")).context("no link in the tracked message")?.to_owned())
}

/// Keeps the last message that arrived.
pub(crate) struct Capture {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) last: Mutex<Vec<u8>>,
}

impl Observer for Capture {
    fn keep(&self) -> usize {
        16 << 10
    }

    fn recipient(&self, address: &str) {
        self.ledger.recipient(address);
    }

    fn message(&self, arrival: &Arrival<'_>) {
        self.ledger.message(arrival);
        *self.last.lock() = arrival.head.to_vec();
    }

    fn refused(&self, address: &str, permanent: bool) {
        self.ledger.refused(address, permanent);
    }

    fn connected(&self) {
        self.ledger.connected();
    }

    fn disconnected(&self) {
        self.ledger.disconnected();
    }
}
