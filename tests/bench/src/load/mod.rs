//! The load generator: sessions that send one message after another (closed loop), or at a fixed
//! rate (open loop).

mod client;
mod schedule;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

pub use self::client::Client;
pub use self::schedule::Schedule;
use crate::ledger::{Ledger, histogram};
use crate::message::{Addresses, Attachment, Message};
use crate::series::Series;

/// When a load ends.
#[derive(Debug, Clone)]
pub enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After this time, and not before this is true.
    Told(Duration, Arc<AtomicBool>),
    /// After so many messages.
    Messages(u64),
}

/// What to send, how, and for how long.
#[derive(Clone)]
pub struct Load {
    /// Ports without AUTH and TLS: sessions connect to them in turn.
    pub to: Vec<SocketAddr>,
    /// Where serial numbers come from and replies are noted.
    pub ledger: Arc<Ledger>,
    /// What is sent, in turn: of different tenants, tracked or not. One that is to come more often
    /// is there more often.
    pub messages: Arc<[Message]>,
    /// The index of the one that is sent at present; none: all of them.
    pub only: Option<Arc<AtomicUsize>>,
    /// Whom it is for.
    pub addresses: Addresses,
    /// Of each message.
    pub recipients: u64,
    /// Connections.
    pub sessions: usize,
    /// When it ends.
    pub until: Until,
    /// When messages are due.
    pub schedule: Schedule,
}

/// What the clients saw.
#[derive(Debug)]
pub struct Sent {
    /// Messages that got their 250.
    pub accepted: u64,
    /// When the first one was sent.
    pub began: Instant,
    /// From the first message to the last 250.
    pub elapsed: Duration,
    /// Microseconds from the final dot to its 250.
    pub latency: Histogram<u64>,
    /// Microseconds from when a message was due (in a closed loop: begun) to its 250. In an open
    /// loop a server that stands still is seen by every message that was due meanwhile, not only by
    /// those that had a session.
    pub response: Histogram<u64>,
    /// `response` over time.
    pub series: Series,
}

impl Load {
    /// Sends until the end.
    ///
    /// # Errors
    /// Any reply but the expected one, since it would spoil the figures.
    pub fn run(self) -> Result<Sent> {
        runtime()?.block_on(async move {
            // One after another: some servers let no more than five wait for being accepted.
            let mut clients = Vec::new();
            for to in self.to.iter().cycle().take(self.sessions) {
                clients.push(Client::connect(*to).await?);
            }
            let began = Instant::now();
            let shared = Arc::new(Shared {
                began,
                tickets: AtomicU64::new(0),
                seen: Mutex::new((histogram()?, histogram()?, Series::new(began))),
            });
            let mut tasks = JoinSet::new();
            for client in clients {
                tasks.spawn(session(client, self.clone(), Arc::clone(&shared)));
            }
            while let Some(done) = tasks.join_next().await {
                done.context("a session panicked")??;
            }
            let elapsed = began.elapsed();
            let (latency, response, series) = shared.seen.lock().clone();
            Ok(Sent { accepted: latency.len(), began, elapsed, latency, response, series })
        })
    }
}

/// What the sessions of a load have in common.
struct Shared {
    began: Instant,
    tickets: AtomicU64,
    seen: Mutex<(Histogram<u64>, Histogram<u64>, Series)>,
}

impl Shared {
    fn note(&self, due: Instant, dot: Instant) -> Result<()> {
        let now = Instant::now();
        let mut seen = self.seen.lock();
        let response = micros(now.saturating_duration_since(due));
        seen.0.record(micros(now - dot))?;
        seen.1.saturating_record(response);
        seen.2.record(now, response)
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn session(mut client: Client, load: Load, shared: Arc<Shared>) -> Result<()> {
    let mut content = Vec::new();
    loop {
        let ticket = shared.tickets.fetch_add(1, Ordering::Relaxed);
        let due = load.schedule.due(ticket).map(|due| shared.began + due);
        let elapsed = |time: Duration| due.unwrap_or_else(Instant::now) >= shared.began + time;
        let over = match &load.until {
            Until::Elapsed(time) => elapsed(*time),
            Until::Told(time, told) => elapsed(*time) && told.load(Ordering::Relaxed),
            Until::Messages(count) => ticket >= *count,
        };
        if over {
            break;
        }
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        let due = due.unwrap_or_else(Instant::now);
        let serials = load.ledger.begin(load.recipients);
        let to: Vec<String> = serials.clone().map(|serial| load.addresses.recipient(serial)).collect();
        let message = load.message(ticket);
        content.clear();
        message.compose(serials.start, to.first().map_or("", String::as_str), &mut content);
        let mut dot = None;
        client.transaction(message.sender(), &to, &content, || dot = Some(Instant::now())).await?;
        for serial in serials {
            load.ledger.acknowledge(serial);
        }
        shared.note(due, dot.unwrap_or(due))?;
    }
    client.quit().await;
    Ok(())
}

impl Load {
    fn message(&self, ticket: u64) -> &Message {
        let next = match &self.only {
            Some(only) => only.load(Ordering::Relaxed),
            None => usize::try_from(ticket).unwrap_or(0),
        };
        &self.messages[next % self.messages.len()]
    }
}

/// How long a large message took.
#[derive(Debug, Clone, Copy)]
pub struct Large {
    /// Octets that were sent.
    pub octets: u64,
    /// From the first octet to the final dot.
    pub sending: Duration,
    /// From the final dot to its 250.
    pub answer: Duration,
}

/// Sends one message with a large attachment.
///
/// # Errors
/// It was not accepted.
pub fn send_large(
    to: SocketAddr,
    ledger: &Ledger,
    addresses: &Addresses,
    message: &Attachment,
) -> Result<Large> {
    runtime()?.block_on(async {
        let mut client = Client::connect(to).await?;
        let serial = ledger.begin(1).start;
        let recipient = addresses.recipient(serial);
        client.begin(message.sender(), std::slice::from_ref(&recipient)).await?;
        let (began, mut octets) = (Instant::now(), 0);
        for piece in message.pieces(serial, &recipient) {
            client.stream.get_mut().write_all(piece.as_bytes()).await?;
            octets += u64::try_from(piece.len())?;
        }
        client.stream.get_mut().write_all(b".\r\n").await?;
        let (sending, dot) = (began.elapsed(), Instant::now());
        client.expect("250").await?;
        ledger.acknowledge(serial);
        let answer = dot.elapsed();
        client.quit().await;
        Ok(Large { octets, sending, answer })
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
