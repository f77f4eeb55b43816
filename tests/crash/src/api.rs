//! Kills a relay under requests of its API, and holds what was answered against what happened.
//!
//! Clients repeat a request under its idempotency key until they have read its answer. Afterwards:
//! each answered request was accepted exactly once, and its recipient has a copy; who is suppressed
//! has none; a webhook told of every event; statistics count what the event log has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use relevo_bench::http_client::HttpClient;
use relevo_bench::relay::{Launch, NextHop, PLAIN, Relay, Setup};
use relevo_bench::sink::{self, Arrival, Observer};
use serde_json::{Value, json};

use crate::hook::Hook;

/// Clients at once.
const CLIENTS: usize = 6;
/// For everything that was accepted to arrive, and for every webhook to be told.
const DRAIN: Duration = Duration::from_secs(180);
/// Who must get nothing.
const SUPPRESSED: &str = "gone@ok.test";

/// What a run showed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Requests with an answer.
    pub(crate) answered: usize,
    /// Requests that had to be made more than once.
    pub(crate) repeated: usize,
    /// Copies beyond the first one.
    pub(crate) copies_repeated: usize,
    /// Events that a webhook was told.
    pub(crate) told: usize,
    /// Webhook deliveries beyond the first one of an event.
    pub(crate) told_repeated: usize,
    pub(crate) violations: Vec<String>,
}

/// Counts copies by recipient.
#[derive(Default)]
struct Copies(Mutex<BTreeMap<String, usize>>);

impl Observer for Copies {
    fn keep(&self) -> usize {
        0
    }

    fn recipient(&self, _: &str) {}

    fn message(&self, arrival: &Arrival<'_>) {
        let mut copies = self.0.lock();
        for recipient in arrival.recipients {
            *copies.entry(recipient.clone()).or_default() += 1;
        }
    }

    fn refused(&self, _: &str, _: bool) {}

    fn connected(&self) {}

    fn disconnected(&self) {}
}

/// What the clients share.
struct Clients {
    relay: Mutex<Option<(std::net::SocketAddr, String)>>,
    next: AtomicU64,
    over: AtomicBool,
    /// The id that each request was answered, by its serial number.
    answered: Mutex<BTreeMap<u64, String>>,
    repeated: AtomicU64,
    violations: Mutex<Vec<String>>,
}

/// Kills `kills` times.
pub(crate) fn run(binary: &Path, directory: &Path, kills: usize, seed: u64) -> Result<Outcome> {
    let copies = Arc::new(Copies::default());
    let next_hop = NextHop::Smarthost(sink::start(Arc::clone(&copies) as Arc<dyn Observer>)?);
    let hook = Hook::start()?;
    let setup = Setup { binary, directory, next_hop, retry: "1s" };
    let sections = "[webhooks]\nallow_http = true\nallow_networks = [\"127.0.0.0/8\"]\n".to_owned();
    let launch = Launch { sections, ..Launch::default() };
    let start = || -> Result<Relay> {
        let mut relay = Relay::launch(&setup, &launch)?;
        relay.wait_until_it_listens()?;
        Ok(relay)
    };
    let relay = start()?;
    prepare(&relay, &hook)?;
    relay.kill()?;

    let clients = Arc::new(Clients {
        relay: Mutex::new(None),
        next: AtomicU64::new(0),
        over: AtomicBool::new(false),
        answered: Mutex::default(),
        repeated: AtomicU64::new(0),
        violations: Mutex::default(),
    });
    let shared = Arc::clone(&clients);
    let load = std::thread::Builder::new().name("clients".to_owned()).spawn(move || load(&shared))?;
    let mut rng = StdRng::seed_from_u64(seed);
    for n in 1..=kills {
        let relay = start()?;
        *clients.relay.lock() = Some((relay.http, relay.key.clone()));
        sleep(Duration::from_millis(rng.random_range(20..1_500)));
        relay.kill()?;
        *clients.relay.lock() = None;
        eprintln!("crash: api, kill {n} of {kills}: {} answered", clients.answered.lock().len());
    }
    let relay = start()?;
    *clients.relay.lock() = Some((relay.http, relay.key.clone()));
    clients.over.store(true, Ordering::Relaxed);
    load.join().map_err(|_| anyhow::anyhow!("the clients panicked"))??;
    relay.drained(DRAIN)?;
    let outcome = judge(&relay, &clients, &copies, &hook)?;
    relay.stop()?;
    ensure!(outcome.answered > kills, "only {} requests were answered: this shows nothing", outcome.answered);
    Ok(outcome)
}

/// A suppressed address, and a webhook.
fn prepare(relay: &Relay, hook: &Hook) -> Result<()> {
    let suppressed = json!({"email": SUPPRESSED, "reason": "bounce"});
    let webhook = json!({"endpoint": hook.url(), "events": ["email.queued", "email.delivered"]});
    for (path, body) in [("/suppressions", suppressed), ("/webhooks", webhook)] {
        let (status, answer) = ask(relay, path, Some(&body))?;
        ensure!(status == 201, "{path}: {status} {answer}");
    }
    Ok(())
}

/// A request whose answer is JSON: GET, or POST of a body.
fn ask(relay: &Relay, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = HttpClient::connect(relay.http).await?;
        let answer = match body {
            Some(body) => client.post(path, &relay.key, &[], &serde_json::to_vec(body)?).await?,
            None => client.get("api.test", path, &relay.key).await?,
        };
        let json = serde_json::from_slice(&answer.body);
        Ok((answer.status, json.with_context(|| String::from_utf8_lossy(&answer.body).into_owned())?))
    })
}

fn load(clients: &Arc<Clients>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            tasks.spawn(client(Arc::clone(clients)));
        }
        while let Some(done) = tasks.join_next().await {
            done.context("a client panicked")?;
        }
        Ok(())
    })
}

/// Makes one request after another, each until it is answered.
async fn client(clients: Arc<Clients>) {
    while !clients.over.load(Ordering::Relaxed) {
        let serial = clients.next.fetch_add(1, Ordering::Relaxed);
        let mut tries = 0_u64;
        loop {
            let relay = clients.relay.lock().clone();
            let Some((address, key)) = relay else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            tries += 1;
            match request(address, &key, serial).await {
                Ok((202, answer)) => {
                    clients.note(serial, &answer);
                    break;
                }
                // Under way on a connection that this client has lost.
                Ok((409, _)) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Ok((status, answer)) => {
                    clients.violations.lock().push(format!("STRANGE: request {serial}: {status} {answer}"));
                    break;
                }
            }
        }
        clients.repeated.fetch_add(u64::from(tries > 1), Ordering::Relaxed);
    }
}

async fn request(to: std::net::SocketAddr, key: &str, serial: u64) -> Result<(u16, Value)> {
    let body = json!({
        "from": format!("news@{PLAIN}"),
        "to": [format!("r{serial}@ok.test"), SUPPRESSED],
        "subject": format!("Number {serial}"),
        "text": "Hello",
        "metadata": {"serial": serial.to_string()},
    });
    let name = format!("request-{serial}");
    let mut client = HttpClient::connect(to).await?;
    let fields = [("Idempotency-Key", name.as_str())];
    let answer = client.post("/emails", key, &fields, &serde_json::to_vec(&body)?).await?;
    Ok((answer.status, serde_json::from_slice(&answer.body)?))
}

impl Clients {
    fn note(&self, serial: u64, answer: &Value) {
        let id = answer["id"].as_str().unwrap_or_default().to_owned();
        let statuses: BTreeSet<_> = answer["recipients"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|recipient| recipient["status"].as_str().unwrap_or_default())
            .collect();
        if statuses != BTreeSet::from(["queued", "suppressed"]) {
            self.violations.lock().push(format!("STRANGE: request {serial} was answered {answer}"));
        }
        self.answered.lock().insert(serial, id);
    }
}

/// All events of the log.
fn events(relay: &Relay) -> Result<Vec<Value>> {
    let (mut all, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let (status, answer) = ask(relay, &format!("/events?after={cursor}&limit=1000"), None)?;
        ensure!(status == 200, "/events: {status} {answer}");
        let page = answer["events"].as_array().context("no events")?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page.iter().cloned());
        cursor = answer["cursor"].as_str().context("no cursor")?.to_owned();
    }
}

fn judge(relay: &Relay, clients: &Clients, copies: &Copies, hook: &Hook) -> Result<Outcome> {
    let events = events(relay)?;
    let mut outcome = Outcome {
        answered: clients.answered.lock().len(),
        repeated: usize::try_from(clients.repeated.load(Ordering::Relaxed))?,
        violations: std::mem::take(&mut *clients.violations.lock()),
        ..Outcome::default()
    };
    accepted_once(&events, clients, &mut outcome);
    arrived(clients, copies, &mut outcome);
    told(&events, hook, &mut outcome)?;
    counted(relay, &events, &mut outcome)?;
    Ok(outcome)
}

fn of<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["type"] == kind)
}

/// Each request has one set of messages, and that of its answer.
fn accepted_once(events: &[Value], clients: &Clients, outcome: &mut Outcome) {
    let mut accepted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in of(events, "email.queued") {
        let serial = event["metadata"]["serial"].as_str().unwrap_or("?");
        accepted.entry(serial).or_default().push(event["message_id"].as_str().unwrap_or_default());
    }
    for (serial, id) in &*clients.answered.lock() {
        match accepted.get(serial.to_string().as_str()).map(Vec::as_slice) {
            Some([one]) if one == id => {}
            Some(other) => outcome
                .violations
                .push(format!("REPEATED: request {serial} was answered {id}, and became {other:?}")),
            None => outcome.violations.push(format!("LOST: request {serial} was answered {id}")),
        }
    }
}

fn arrived(clients: &Clients, copies: &Copies, outcome: &mut Outcome) {
    let copies = copies.0.lock();
    for serial in clients.answered.lock().keys() {
        match copies.get(&format!("r{serial}@ok.test")) {
            None => outcome.violations.push(format!("LOST: no copy of request {serial} arrived")),
            Some(count) => outcome.copies_repeated += count - 1,
        }
    }
    if copies.contains_key(SUPPRESSED) {
        outcome.violations.push("STRANGE: a suppressed recipient got mail".to_owned());
    }
}

/// The webhook was told of every event at least once, and of an event always under the same id.
fn told(events: &[Value], hook: &Hook, outcome: &mut Outcome) -> Result<()> {
    let wanted: BTreeSet<String> = of(events, "email.queued")
        .chain(of(events, "email.delivered"))
        .filter_map(|event| event["cursor"].as_str().map(str::to_owned))
        .collect();
    let began = Instant::now();
    while !wanted.iter().all(|cursor| hook.told().contains_key(cursor)) {
        if began.elapsed() > DRAIN {
            let missing = wanted.iter().filter(|cursor| !hook.told().contains_key(*cursor)).count();
            outcome.violations.push(format!("LOST: a webhook was not told of {missing} events"));
            break;
        }
        sleep(Duration::from_millis(100));
    }
    for (cursor, ids) in &*hook.told() {
        outcome.told += 1;
        outcome.told_repeated += ids.len() - 1;
        if ids.iter().collect::<BTreeSet<_>>().len() > 1 {
            outcome.violations.push(format!("STRANGE: event {cursor} was told under the ids {ids:?}"));
        }
    }
    Ok(())
}

/// Statistics count what the event log has.
fn counted(relay: &Relay, events: &[Value], outcome: &mut Outcome) -> Result<()> {
    let newest = events.last().and_then(|event| event["cursor"].as_str()?.parse::<u64>().ok()).unwrap_or(0);
    let began = Instant::now();
    let stats = loop {
        let (status, stats) = ask(relay, "/stats?interval=total", None)?;
        ensure!(status == 200, "/stats: {status} {stats}");
        let read = stats["cursor"].as_str().and_then(|cursor| cursor.parse::<u64>().ok()).unwrap_or(0);
        if read >= newest {
            break stats;
        }
        ensure!(began.elapsed() < DRAIN, "statistics are behind the event log: {read} of {newest}");
        sleep(Duration::from_millis(100));
    };
    let count = |kind| of(events, kind).count();
    let recipients: usize =
        of(events, "email.queued").map(|event| event["recipients"].as_array().map_or(0, Vec::len)).sum();
    let expected = [
        ("accepted", recipients),
        ("delivered", count("email.delivered")),
        ("suppressed", count("email.suppressed")),
    ];
    for (name, expected) in expected {
        let found = &stats["totals"]["counts"][name];
        if found != &json!(expected) {
            outcome.violations.push(format!("STRANGE: statistics count {found} {name}, the log {expected}"));
        }
    }
    Ok(())
}
