//! Messages that wait for their time: personalised, by the HTTP API.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::api::runtime;
use crate::bench::note;
use crate::http_client::HttpClient;
use crate::message::{line, words};
use crate::relay::{PLAIN, Relay};
use crate::scene::Scene;

/// Messages of one request.
const REQUEST: u64 = 500;
/// Connections.
const SESSIONS: usize = 4;
/// Lines of words in each of the two parts of a message: 4 KiB together.
const LINES: usize = 28;
/// Messages between two notes.
const STEP: u64 = 100_000;

/// A request, and the numbers of its recipients.
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) serials: std::ops::Range<u64>,
}

/// Queues so many for a day from now; their requests, and the time that it took.
pub(crate) fn fill(relay: &Relay, scene: &Scene, messages: u64) -> Result<(Vec<Accepted>, Duration)> {
    let requests = messages.div_ceil(REQUEST);
    let sizes: VecDeque<u64> = (0..requests).map(|n| REQUEST.min(messages - n * REQUEST)).collect();
    let shared = Arc::new(Mutex::new((sizes, Vec::new())));
    let mut rng = StdRng::seed_from_u64(2);
    let words = words(&mut rng);
    // Texts of different requests may be the same: they are in different records.
    let texts: Vec<String> = (0..REQUEST)
        .map(|_| (0..LINES).map(|_| line(&words, &mut rng)).collect::<Vec<_>>().join("\n"))
        .collect();
    let texts: Arc<[String]> = texts.into();
    let began = Instant::now();
    runtime()?.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..SESSIONS {
            let session = Session {
                client: HttpClient::connect(relay.http).await?,
                key: relay.key.clone(),
                texts: Arc::clone(&texts),
                ledger: Arc::clone(&scene.ledger),
                addresses: scene.addresses(),
            };
            tasks.spawn(session.run(Arc::clone(&shared)));
        }
        while let Some(done) = tasks.join_next().await {
            done.context("a session panicked")??;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    let accepted = std::mem::take(&mut shared.lock().1);
    Ok((accepted, began.elapsed()))
}

struct Session {
    client: HttpClient,
    key: String,
    texts: Arc<[String]>,
    ledger: Arc<crate::ledger::Ledger>,
    addresses: crate::message::Addresses,
}

impl Session {
    async fn run(mut self, shared: Arc<Mutex<(VecDeque<u64>, Vec<Accepted>)>>) -> Result<()> {
        loop {
            let Some(size) = shared.lock().0.pop_front() else { return Ok(()) };
            let accepted = self.send(size).await?;
            let mut shared = shared.lock();
            shared.1.push(accepted);
            let filled = shared.1.len() as u64 * REQUEST;
            drop(shared);
            if filled.is_multiple_of(STEP) {
                note(&format!("{filled} messages queued"));
            }
        }
    }

    async fn send(&mut self, size: u64) -> Result<Accepted> {
        let serials = self.ledger.begin(size);
        let recipients: Vec<Value> = serials
            .clone()
            .zip(self.texts.iter().cycle())
            .map(|(serial, text)| {
                json!({"email": self.addresses.recipient(serial), "variables": {"n": serial, "text": text}})
            })
            .collect();
        let body = json!({
            "from": format!("news@{PLAIN}"),
            "recipients": recipients,
            "subject": "Offer {{ n }}",
            "html": "<html><body><p>{{ text }}</p></body></html>",
            "text": "{{ text }}",
            "scheduled_at": "in 1 day",
        });
        let answer = self.client.post("/emails", &self.key, &[], &serde_json::to_vec(&body)?).await?;
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 202, "a backlog: {} {said}", answer.status);
        let id = serde_json::from_str::<Value>(&said)?["id"].as_str().context("no id")?.to_owned();
        Ok(Accepted { id, serials })
    }
}

/// Has the messages of these requests sent now; how many those are.
pub(crate) fn send_now(relay: &Relay, scene: &Scene, requests: &[Accepted]) -> Result<u64> {
    runtime()?.block_on(async {
        let mut client = HttpClient::connect(relay.http).await?;
        let mut moved = 0;
        for request in requests {
            let wanted = request.serials.end - request.serials.start;
            request.serials.clone().for_each(|serial| scene.ledger.acknowledge(serial));
            let body = serde_json::to_vec(&json!({"scheduled_at": "in 0 seconds"}))?;
            let answer = client.patch(&format!("/emails/{}", request.id), &relay.key, &body).await?;
            let said = String::from_utf8_lossy(&answer.body);
            ensure!(answer.status == 200, "moving a message: {} {said}", answer.status);
            let found = serde_json::from_str::<Value>(&said)?["rescheduled"].as_u64();
            ensure!(found == Some(wanted), "of {wanted} messages {found:?} were moved");
            moved += wanted;
        }
        Ok(moved)
    })
}
