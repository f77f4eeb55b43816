//! Sessions that send without end, whatever happens to the relay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use relevo_bench::load::Client;
use relevo_bench::sink::Behaviour;
use tokio::time::{sleep, timeout};

use crate::ledger::Ledger;
use crate::mail::Mail;
use crate::trigger::{Moment, Trigger};

/// Connections at once.
const SESSIONS: u64 = 8;
/// Promised recipients about whom nothing was heard yet; beyond, sessions wait, so that the end
/// does not take long.
const BACKLOG: usize = 1500;
/// A reply that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the sessions share.
struct Shared {
    ledger: Arc<Ledger>,
    trigger: Arc<Trigger>,
    receivers: Arc<Behaviour>,
    seed: u64,
    relay: Mutex<Option<SocketAddr>>,
    next: AtomicU64,
    /// Sessions within a transaction.
    sending: AtomicUsize,
    over: AtomicBool,
}

/// The sessions, on a thread of their own.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<()>>,
}

impl Load {
    pub(crate) fn start(
        ledger: Arc<Ledger>,
        trigger: Arc<Trigger>,
        receivers: Arc<Behaviour>,
        seed: u64,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            ledger,
            trigger,
            receivers,
            seed,
            relay: Mutex::new(None),
            next: AtomicU64::new(1),
            sending: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sessions = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let mut tasks = tokio::task::JoinSet::new();
                (0..SESSIONS).for_each(|_| drop(tasks.spawn(session(Arc::clone(&sessions)))));
                while let Some(done) = tasks.join_next().await {
                    done.context("a session panicked")??;
                }
                Ok(())
            })
        })?;
        Ok(Self { shared, thread })
    }

    /// Where the relay listens now; none while it is down.
    pub(crate) fn point_to(&self, relay: Option<SocketAddr>) {
        *self.shared.relay.lock() = relay;
    }

    /// Transactions that are under way.
    pub(crate) fn sending(&self) -> usize {
        self.shared.sending.load(Ordering::Relaxed)
    }

    /// Lets the sessions finish the message that they are at.
    pub(crate) fn stop(self) -> Result<()> {
        self.shared.over.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(done) => done,
            Err(_) => bail!("the load panicked"),
        }
    }
}

impl Shared {
    fn relay(&self) -> Option<SocketAddr> {
        *self.relay.lock()
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

async fn session(shared: Arc<Shared>) -> Result<()> {
    while !shared.over() {
        let Some(relay) = shared.relay() else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        match connection(&shared, relay).await {
            Ok(()) => {}
            // The relay is down, or was killed under us. What it said then cannot be trusted to be
            // an answer.
            Err(error) if is_refusal(&error) => return Err(error),
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
    Ok(())
}

/// A reply that a healthy relay has no reason for: then the run shows nothing.
fn is_refusal(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    text.contains("the relay answered \"5")
}

/// Messages on one connection, until it ends.
async fn connection(shared: &Shared, relay: SocketAddr) -> Result<()> {
    /// Then another connection.
    const MESSAGES: usize = 20;
    let mut client = timeout(PATIENCE, Client::connect(relay)).await??;
    for _ in 0..MESSAGES {
        while !shared.over() && shared.ledger.open() > BACKLOG {
            sleep(Duration::from_millis(50)).await;
        }
        if shared.over() {
            break;
        }
        let serial = shared.next.fetch_add(1, Ordering::Relaxed);
        let mail = Mail::new(shared.seed, serial, |n| shared.receivers.domain_of(n).to_owned());
        let wire = mail.stuffed();
        shared.ledger.sends(&mail);
        shared.sending.fetch_add(1, Ordering::Relaxed);
        let dot = || shared.trigger.at(Moment::Accept);
        let said = timeout(PATIENCE, client.transaction(&mail.sender, &mail.recipients, &wire, dot)).await;
        shared.sending.fetch_sub(1, Ordering::Relaxed);
        let id = said??.rsplit(' ').next().unwrap_or_default().parse().context("a 250 without an id")?;
        shared.ledger.acknowledged(serial, id);
    }
    client.quit().await;
    Ok(())
}
