//! The allotters that this node holds, and where the other ones are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::allotter::Allotter;
use super::census::Census;
use super::{ALLOTTERS, Ask, WAITS};
use crate::engine::EngineError;
use crate::lease::{HOLDER_STOPS, LeaseEntry, Leases, Watch};

/// A node with more than its part gives one back this often.
const GIVES_BACK: Duration = Duration::from_secs(30);
/// What nobody took for this long is taken by a node that has its part.
const LEFT: Duration = Duration::from_secs(30);

/// What a holder writes into a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HolderNote {
    address: String,
    /// Of this run of the node: another one has forgotten what it granted.
    run: String,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// This node.
    Here,
    /// The node with this address.
    At(String),
}

#[derive(Debug)]
struct HeldAllotter {
    revision: u64,
    /// When it was asked for, the last time that worked.
    renewed: Instant,
    allotter: Allotter,
}

#[derive(Debug, Default)]
struct HolderState {
    held: BTreeMap<u8, HeldAllotter>,
    places: BTreeMap<u8, String>,
    free_since: BTreeMap<u8, Instant>,
    watch: Watch,
    own_revision: Option<u64>,
    alive: u32,
    gave_back: Option<Instant>,
    is_leaving: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Allotters {
    leases: Arc<dyn Leases>,
    node: Arc<str>,
    note: HolderNote,
    origin: Instant,
    waits: Duration,
    /// Apart from the state: base shares are asked for all the time.
    census: Mutex<Census>,
    state: Mutex<HolderState>,
}

fn key(number: u8) -> String {
    format!("allot.{number:02}")
}

fn number_of(key: &str) -> Option<u8> {
    key.strip_prefix("allot.")?.parse().ok().filter(|number| *number < ALLOTTERS)
}

impl Allotters {
    /// Of a node with this name, which answers questions at `address`. `run` differs with each start.
    #[must_use]
    pub fn new(leases: Arc<dyn Leases>, node: &str, address: &str, run: &str) -> Self {
        Self {
            leases,
            node: node.into(),
            note: HolderNote { address: address.to_owned(), run: run.to_owned() },
            origin: Instant::now(),
            waits: WAITS,
            census: Mutex::default(),
            state: Mutex::default(),
        }
    }

    /// With another wait of new holders: a bug, for tests that are to find it.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn waiting(mut self, waits: Duration) -> Self {
        self.waits = waits;
        self
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The name of the node.
    #[must_use]
    pub fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// The most nodes of late, for base shares; none: there are none now.
    #[must_use]
    pub fn nodes(&self) -> Option<u32> {
        self.census.lock().most(self.now())
    }

    /// The numbers of the allotters that this node holds.
    #[must_use]
    pub fn held(&self) -> Vec<u8> {
        self.state.lock().held.keys().copied().collect()
    }

    /// Where each allotter is that somebody is known to hold.
    #[must_use]
    pub fn places(&self) -> BTreeMap<u8, Place> {
        let state = self.state.lock();
        let others = state.places.iter().map(|(number, address)| (*number, Place::At(address.clone())));
        others.chain(state.held.keys().map(|number| (*number, Place::Here))).collect()
    }

    /// Answers a node. None: this node does not hold the allotter, or may not for long enough, or the
    /// question is an old one.
    #[must_use]
    pub fn answer(&self, node: &Arc<str>, number: u64, asks: &[Ask]) -> Vec<Option<u32>> {
        let (now, nodes) = (self.now(), self.census.lock().least());
        let held = &mut self.state.lock().held;
        let mut answer = |ask: &Ask| {
            let held = held.get_mut(&ask.limit.allotter())?;
            (held.renewed.elapsed() < HOLDER_STOPS)
                .then(|| held.allotter.ask(node, number, ask, nodes, now))
                .flatten()
        };
        asks.iter().map(&mut answer).collect()
    }

    /// Renews what is held, looks at nodes and leases, takes what is free and gives back what is too
    /// much.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn look(&self) -> Result<(), EngineError> {
        let began = Instant::now();
        self.renew().await?;
        let nodes = self.leases.entries("node.").await?;
        let entries = self.leases.entries("allot.").await?;
        for (number, revision) in self.note(began, &nodes, &entries) {
            self.claim(number, revision).await?;
        }
        if let Some((number, revision)) = self.surplus() {
            self.release(number, revision).await?;
        }
        Ok(())
    }

    /// Gives everything back and takes nothing any more.
    pub async fn leave(&self) {
        self.state.lock().is_leaving = true;
        self.give_back_all().await;
    }

    /// Gives everything back.
    pub async fn give_back_all(&self) {
        let held: Vec<_> =
            self.state.lock().held.iter().map(|(number, held)| (*number, held.revision)).collect();
        for (number, revision) in held {
            if let Err(error) = self.release(number, revision).await {
                tracing::warn!(target: "relevo::cluster", %error, "an allotter was not given up: it lapses");
            }
        }
    }

    async fn write(&self, number: u8, revision: u64, holder: &str) -> Result<Option<u64>, EngineError> {
        let note = serde_json::to_string(&self.note).map_err(|e| EngineError::Refused(e.to_string()))?;
        self.leases.replace(&key(number), revision, holder, &note).await
    }

    async fn renew(&self) -> Result<(), EngineError> {
        let held: Vec<_> =
            self.state.lock().held.iter().map(|(number, held)| (*number, held.revision)).collect();
        // At once: one by one might take longer than a holder may wait.
        let renewals = held.into_iter().map(|(number, before)| self.renew_one(number, before));
        join_all(renewals).await.into_iter().collect()
    }

    async fn renew_one(&self, number: u8, before: u64) -> Result<(), EngineError> {
        let asked = Instant::now();
        let revision = match self.write(number, before, &self.node).await? {
            Some(revision) => Some((revision, Some(asked))),
            // An earlier write may have got there, and its answer not.
            None => self.own(number).await?.map(|revision| (revision, None)),
        };
        let mut state = self.state.lock();
        match (revision, state.held.get_mut(&number)) {
            (Some((revision, renewed)), Some(held)) => {
                held.revision = revision;
                held.renewed = renewed.unwrap_or(held.renewed);
            }
            (Some(_), None) => {}
            (None, _) => {
                tracing::warn!(target: "relevo::cluster", number, "another node has taken the allotter");
                state.held.remove(&number);
            }
        }
        Ok(())
    }

    /// The revision of a lease that this run of this node wrote last.
    async fn own(&self, number: u8) -> Result<Option<u64>, EngineError> {
        let entry = self.leases.entry(&key(number)).await?;
        let entry = entry.filter(|entry| *entry.holder == *self.node);
        let is_own = |entry: &LeaseEntry| serde_json::from_str(&entry.note).ok() == Some(self.note.clone());
        Ok(entry.filter(is_own).map(|entry| entry.revision))
    }

    /// Takes note of a look. Returns what this node is to take, with revisions.
    fn note(
        &self,
        began: Instant,
        nodes: &[(String, LeaseEntry)],
        entries: &[(String, LeaseEntry)],
    ) -> Vec<(u8, u64)> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut alive = 0;
        for (key, entry) in nodes {
            alive += u32::from(!state.watch.is_free(key, Some(entry), now.into_std()));
        }
        let own = nodes.iter().find(|(_, entry)| *entry.holder == *self.node);
        let own = own.map(|(_, entry)| entry.revision);
        let is_renewed = own.is_some() && own != state.own_revision;
        state.own_revision = own;
        state.alive = alive.max(1);
        self.census.lock().looked(began.duration_since(self.origin), alive, is_renewed);
        state.places.clear();
        let mut free: BTreeMap<u8, u64> = (0..ALLOTTERS).map(|number| (number, 0)).collect();
        for (key, entry) in entries {
            let Some(number) = number_of(key) else { continue };
            if state.watch.is_free(key, Some(entry), now.into_std()) {
                free.insert(number, entry.revision);
                continue;
            }
            free.remove(&number);
            if let Ok(note) = serde_json::from_str::<HolderNote>(&entry.note)
                && *entry.holder != *self.node
            {
                state.places.insert(number, note.address);
            }
        }
        state.free_since.retain(|number, _| free.contains_key(number));
        let part = usize::from(ALLOTTERS).div_ceil(usize::try_from(state.alive).unwrap_or(1));
        if state.is_leaving || !self.census.lock().is_settled(self.now()) {
            return Vec::new();
        }
        let mut room = part.saturating_sub(state.held.len());
        let mut take = Vec::new();
        for (number, revision) in free {
            let since = *state.free_since.entry(number).or_insert(now);
            if state.held.contains_key(&number) || (room == 0 && now.duration_since(since) < LEFT) {
                continue;
            }
            room = room.saturating_sub(1);
            take.push((number, revision));
        }
        take
    }

    async fn claim(&self, number: u8, revision: u64) -> Result<(), EngineError> {
        let asked = Instant::now();
        let Some(revision) = self.write(number, revision, &self.node).await? else { return Ok(()) };
        tracing::info!(target: "relevo::cluster", number, "this node holds the allotter");
        // The one before may have granted until now.
        let allotter = Allotter::new(self.now() + self.waits);
        self.state.lock().held.insert(number, HeldAllotter { revision, renewed: asked, allotter });
        Ok(())
    }

    /// One that this node holds beyond its part, now and then.
    fn surplus(&self) -> Option<(u8, u64)> {
        let mut state = self.state.lock();
        let now = Instant::now();
        let part = usize::from(ALLOTTERS).div_ceil(usize::try_from(state.alive).unwrap_or(1));
        let is_time = state.gave_back.is_none_or(|at| now.duration_since(at) >= GIVES_BACK);
        if state.held.len() <= part || !is_time {
            return None;
        }
        state.gave_back = Some(now);
        state.held.iter().next_back().map(|(number, held)| (*number, held.revision))
    }

    /// Grants nothing any more, and then says so.
    async fn release(&self, number: u8, revision: u64) -> Result<(), EngineError> {
        self.state.lock().held.remove(&number);
        self.write(number, revision, "").await.map(drop)
    }
}
