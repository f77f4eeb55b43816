//! Webhooks over real stores, and a server that answers as a test says.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use relevo_fetch::Fetcher;
use relevo_mailkit::event::{Event, Queued};
use relevo_mailkit::labels::Labels;
use relevo_queue::{EmbeddedStore, EventLog, ItemId, Millis, NewEvent, StoreConfig};
use relevo_resolve::{Addresses, MailRoute, Resolve, ResolveError};
use relevo_store::{ControlStore, StoreUrl};
use relevo_webhooks::{NewWebhook, WebhookConfig, WebhookMetrics, WebhookParts, Webhooks};
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// No name has an address: hooks are named by theirs.
struct NoDns;

#[async_trait]
impl Resolve for NoDns {
    async fn route(&self, domain: &str) -> Result<MailRoute, ResolveError> {
        Err(ResolveError::NoMailHost(domain.to_owned()))
    }

    async fn addresses(&self, _: &str) -> Result<Addresses, ResolveError> {
        let addresses: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap()];
        Ok(Addresses { addresses, ttl: Duration::from_secs(60) })
    }

    async fn txt(&self, _: &str) -> Result<Vec<String>, ResolveError> {
        Ok(Vec::new())
    }
}

pub fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Millis::try_from(since.as_millis()).unwrap()
}

/// The stores of a relay, and webhooks that run until they are killed.
pub struct World {
    pub events: Arc<EmbeddedStore>,
    pub metrics: WebhookMetrics,
    pub webhooks: Webhooks,
    store: Arc<ControlStore>,
    config: WebhookConfig,
    running: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl World {
    /// Retries follow at once.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut WebhookConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = StoreConfig { min_free: 0, reserve: 0, ..StoreConfig::default() };
        let events = EmbeddedStore::open(directory.path(), config).unwrap();
        let store = open(directory.path()).await;
        let mut config = WebhookConfig {
            allow_http: true,
            retry: vec![Duration::from_millis(20); 3],
            ..WebhookConfig::default()
        };
        change(&mut config);
        let metrics = WebhookMetrics::default();
        let webhooks = webhooks(&events, &store, &config, &metrics);
        let mut world =
            Self { events, metrics, webhooks, store, config, running: None, _directory: directory };
        world.run();
        world
    }

    /// Runs webhooks over the same stores, as after a start.
    pub fn run(&mut self) {
        self.webhooks = webhooks(&self.events, &self.store, &self.config, &self.metrics);
        let webhooks = self.webhooks.clone();
        self.running = Some(tokio::spawn(async move { webhooks.run().await }));
    }

    /// Ends everything at once: requests under way, too.
    pub async fn kill(&mut self) {
        let running = self.running.take().unwrap();
        running.abort();
        let _ = running.await;
    }

    /// An endpoint of `acme`.
    pub async fn endpoint(&self, url: &str) -> String {
        self.endpoint_with(url, |_| {}).await
    }

    pub async fn endpoint_with(&self, url: &str, change: impl FnOnce(&mut NewWebhook)) -> String {
        let mut new = NewWebhook { url: url.to_owned(), enabled: true, ..NewWebhook::default() };
        change(&mut new);
        self.webhooks.create("acme", new).await.unwrap().id
    }

    /// Writes `email.queued` with this subject.
    pub async fn tell(&self, subject: &str) {
        self.tell_with(subject, Labels::default()).await;
    }

    pub async fn tell_with(&self, subject: &str, labels: Labels) {
        let queued = Queued { subject: subject.to_owned(), ..Queued::default() };
        let event = NewEvent {
            tenant: "acme".to_owned(),
            at: now(),
            item: Some(ItemId::new(now(), [7; 10])),
            labels,
            event: Event::Queued(queued),
        };
        self.events.append(vec![event]).await.unwrap();
    }

    /// Waits until the newest delivery of an endpoint has this state; returns its id and attempts.
    pub async fn wait(&self, endpoint: &str, status: &str) -> (String, i64) {
        let endpoint = endpoint.to_owned();
        wait_for(status, async || {
            let found = self.webhooks.deliveries("acme", &endpoint, None, "", 1).await.unwrap();
            let delivery = found.first()?.delivery.clone();
            let id = relevo_webhooks::delivery_id(&delivery);
            (delivery.status.name() == status).then_some((id, delivery.attempts))
        })
        .await
    }
}

async fn open(directory: &Path) -> Arc<ControlStore> {
    let url = StoreUrl::File(directory.join("control.sqlite"));
    Arc::new(ControlStore::open(&url).await.unwrap())
}

fn webhooks(
    events: &Arc<EmbeddedStore>,
    store: &Arc<ControlStore>,
    config: &WebhookConfig,
    metrics: &WebhookMetrics,
) -> Webhooks {
    let allowed = vec!["127.0.0.0/8".parse().unwrap()];
    Webhooks::new(WebhookParts {
        endpoints: store.clone(),
        deliveries: store.clone(),
        events: events.clone(),
        node: "n1".to_owned(),
        fetcher: Fetcher::new(Arc::new(NoDns), RootCertStore::empty(), allowed).unwrap(),
        now: Arc::new(now),
        metrics: metrics.clone(),
        config: config.clone(),
    })
}

/// Asks until there is an answer; a minute is for a machine under load.
pub async fn wait_for<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(found) = ask().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within a minute: {what}");
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    pub fn field(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| {
            line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        });
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn subject(&self) -> String {
        self.json()["data"]["subject"].as_str().unwrap().to_owned()
    }
}

/// A server that answers its n-th request, from 0, as it is told; with nothing it stays silent.
#[derive(Clone)]
pub struct Hook {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Hook {
    pub async fn start(answer: impl Fn(usize) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook =
            Self { url: format!("http://{}/hook", listener.local_addr().unwrap()), requests: Arc::default() };
        let (requests, answer) = (hook.requests.clone(), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (requests, answer) = (requests.clone(), answer.clone());
                tokio::spawn(async move { serve(stream, &requests, &*answer).await });
            }
        });
        hook
    }

    /// Answers every request with a status.
    pub async fn with_status(status: u16) -> Self {
        Self::start(move |_| Some(answer(status))).await
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for so many requests.
    pub async fn wait(&self, count: usize) -> Vec<Request> {
        wait_for("requests", async || Some(self.requests()).filter(|all| all.len() >= count)).await
    }
}

pub fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} Status\r\nContent-Length: 4\r\n\r\nsaid")
}

async fn serve(
    mut stream: TcpStream,
    requests: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(usize) -> Option<String> + Send + Sync),
) {
    let mut seen = Vec::new();
    let end = loop {
        if let Some(at) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if !more(&mut stream, &mut seen).await {
            return;
        }
    };
    let head = String::from_utf8(seen[..end].to_vec()).unwrap();
    let length = Request { head: head.clone(), body: Vec::new() }.field("content-length").parse().unwrap();
    while seen.len() - end < length {
        if !more(&mut stream, &mut seen).await {
            return;
        }
    }
    let number = {
        let mut requests = requests.lock().unwrap();
        requests.push(Request { head, body: seen[end..].to_vec() });
        requests.len() - 1
    };
    match answer(number) {
        Some(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        None => std::future::pending().await,
    }
}

async fn more(stream: &mut TcpStream, seen: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4_096];
    let read = stream.read(&mut buffer).await.unwrap_or(0);
    seen.extend_from_slice(&buffer[..read]);
    read > 0
}
