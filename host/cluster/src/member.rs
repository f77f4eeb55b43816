//! A node among others: it renews what it holds, takes what nobody holds any more, and gives back
//! what another node is at home in.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engine::{Engine, EngineError, ShardId};
use crate::lease::{HOLDER_STOPS, LeaseEntry, Leases, RENEWED, Watch};
use crate::metrics::MemberMetrics;

mod drain;
mod forget;
mod view;

pub use drain::Drained;
pub use forget::{Forgotten, forget};
pub use view::{ClusterView, NodeView, ShardLoad, ShardView, observe};
use view::{NodeNote, load_of, node_key, shard_key, shard_of};

/// What a node does with its shards. Each call is made once for each change, in order.
#[async_trait]
pub trait ShardHost: Send + Sync + fmt::Debug {
    /// The lease of a shard is this node's: it may read the log, fence the owner before, and serve.
    ///
    /// # Errors
    /// It cannot be served now; the lease is given up again.
    async fn take(&self, shard: ShardId) -> Result<(), EngineError>;

    /// The lease could not be renewed for a while, or another node has it: no attempt may begin, and
    /// nothing may be promised. Must not wait for the engine.
    async fn lose(&self, shard: ShardId);

    /// Whether a shard that was taken can no longer be served: its disk failed, or its log has another
    /// owner.
    fn is_broken(&self, shard: ShardId) -> bool;

    /// Ends to serve a shard in order: what was promised is in the log when this returns.
    async fn close(&self, shard: ShardId);

    /// Nothing new is taken and no attempt begins, or again.
    fn set_draining(&self, is_draining: bool);

    /// Whether no attempt is under way.
    fn is_idle(&self) -> bool;

    /// What a shard that is served here has, for others to see.
    fn load(&self, shard: ShardId) -> Option<ShardLoad>;
}

/// A shard that could not be served here is tried again after this, unless another node has it.
const AGAIN: Duration = Duration::from_secs(60);

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    /// Unique in the cluster; letters, digits, `-` and `_`.
    pub name: String,
    /// Where other nodes reach it.
    pub address: String,
    /// Where it answers other nodes: a host and a port. None: it answers none.
    pub peer_address: Option<String>,
    /// The shard that its own intake goes to.
    pub home: ShardId,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    revision: u64,
    renewed: Instant,
    /// The host was told that it is lost: it is taken anew or not at all.
    is_stopped: bool,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<ShardId, Held>,
    watch: Watch,
    view: ClusterView,
    node_revision: u64,
    is_leaving: bool,
    /// Since when its shards go to the others.
    draining: Option<Instant>,
    /// Since when the engine does not answer, and what it said.
    away: Option<(Instant, String)>,
    /// Shards that could not be served here, when they are tried again, and why.
    refused: BTreeMap<ShardId, (Instant, String)>,
}

/// What a member is, in numbers.
pub(crate) struct MemberState {
    pub(crate) held: u64,
    pub(crate) alive: u64,
    pub(crate) free: u64,
    pub(crate) is_away: bool,
    pub(crate) is_draining: bool,
    pub(crate) lease_age: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Member {
    leases: Arc<dyn Leases>,
    engine: Arc<dyn Engine>,
    host: Arc<dyn ShardHost>,
    node: NodeName,
    state: Mutex<State>,
    /// The next round begins at once.
    hurry: Notify,
    metrics: MemberMetrics,
}

/// The node that has a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardHolder {
    /// Its name.
    pub node: String,
    /// Where it answers other nodes, if it does.
    pub peer_address: Option<String>,
}

impl Member {
    /// Of this node. Nothing is held before [`Self::run`].
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, host: Arc<dyn ShardHost>, node: NodeName) -> Self {
        let (hurry, metrics) = (Notify::new(), MemberMetrics::default());
        Self { leases: engine.leases(), engine, host, node, state: Mutex::default(), hurry, metrics }
    }

    /// What the last look at the leases found.
    #[must_use]
    pub fn view(&self) -> ClusterView {
        self.state.lock().view.clone()
    }

    /// The shards that are this node's now.
    #[must_use]
    pub fn held(&self) -> Vec<ShardId> {
        let state = self.state.lock();
        state.held.iter().filter(|(_, held)| !held.is_stopped).map(|(shard, _)| *shard).collect()
    }

    /// Why a shard could not be served here, if that was tried.
    #[must_use]
    pub fn refusal(&self, shard: ShardId) -> Option<String> {
        self.state.lock().refused.get(&shard).map(|(_, why)| why.clone())
    }

    /// The name of this node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.node.name
    }

    /// The node that has a shard, as the last look at the leases found it.
    #[must_use]
    pub fn holder_of(&self, shard: ShardId) -> Option<ShardHolder> {
        let state = self.state.lock();
        let found = state.view.shards.iter().find(|found| found.shard == shard && !found.is_free)?;
        let node = state.view.nodes.iter().find(|node| node.name == found.holder)?;
        Some(ShardHolder { node: node.name.clone(), peer_address: node.peer_address.clone() })
    }

    /// As [`Self::holder_of`], from the engine: it may have changed since the last look.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn look_for(&self, shard: ShardId) -> Result<Option<ShardHolder>, EngineError> {
        let entry = self.leases.entry(&shard_key(shard)).await?;
        let Some(entry) = entry.filter(|entry| !entry.holder.is_empty()) else { return Ok(None) };
        let node = self.leases.entry(&node_key(&entry.holder)).await?;
        let note = node.and_then(|node| serde_json::from_str::<NodeNote>(&node.note).ok());
        Ok(note.map(|note| ShardHolder { node: entry.holder, peer_address: note.peer_address }))
    }

    /// Its counts.
    #[must_use]
    pub fn metrics(&self) -> &MemberMetrics {
        &self.metrics
    }

    pub(crate) fn gauges(&self) -> MemberState {
        let state = self.state.lock();
        let held = || state.held.values().filter(|held| !held.is_stopped);
        MemberState {
            held: held().count() as u64,
            alive: state.view.nodes.iter().filter(|node| node.is_alive).count() as u64,
            free: state.view.shards.iter().filter(|shard| shard.is_free).count() as u64,
            is_away: state.away.is_some(),
            is_draining: state.draining.is_some(),
            lease_age: state.held.values().map(|held| held.renewed.elapsed()).max().unwrap_or_default(),
        }
    }

    /// Why this node takes no mail, as far as the cluster is concerned.
    #[must_use]
    pub fn hindrance(&self) -> Option<String> {
        let state = self.state.lock();
        if state.draining.is_some() {
            return Some("the node is draining: its shards go to other nodes".into());
        }
        let home = self.node.home;
        if state.held.get(&home).is_some_and(|held| !held.is_stopped) {
            return None;
        }
        let seen = state.view.shards.iter().find(|shard| shard.shard == home && !shard.is_free);
        let why = match (&state.away, state.refused.get(&home), seen) {
            (Some((_, why)), ..) => format!("the engine is away: {why}"),
            (None, Some((_, why)), _) => why.clone(),
            (None, None, Some(shard)) => format!("`{}` has it, and gives it back", shard.holder),
            (None, None, None) => "it is being opened".into(),
        };
        Some(format!("shard {home}, the home of this node, is not here: {why}"))
    }

    /// Another node that is alive and says that this shard is its home.
    #[must_use]
    pub fn rival(&self) -> Option<String> {
        let state = self.state.lock();
        let is_rival =
            |node: &&NodeView| node.is_alive && node.home == self.node.home && node.name != self.node.name;
        state.view.nodes.iter().find(is_rival).map(|node| node.name.clone())
    }

    /// Renews, takes and gives back until it is dropped.
    pub async fn run(&self) {
        loop {
            self.round().await;
            // Told to hurry, or not.
            let _ = tokio::time::timeout(self.pause(), self.hurry.notified()).await;
        }
    }

    /// Gives everything back, so that others need not wait: no shard is taken any more.
    pub async fn leave(&self) {
        self.state.lock().is_leaving = true;
        // Others take the home of a node that is alive only if it says that it goes. The first try may
        // learn only that an interrupted one was written.
        for _ in 0..2 {
            if let Err(error) = self.renew_node().await {
                tracing::warn!(target: "relevo::cluster", %error, "others are not told that this node goes");
            }
        }
        let held: Vec<_> = self.state.lock().held.keys().copied().collect();
        for shard in held {
            self.give_back(shard).await;
        }
    }

    /// One round: what [`Self::run`] repeats.
    pub async fn round(&self) {
        self.renew().await;
        self.resume().await;
        self.give_up_broken().await;
        self.drain_step().await;
        let looked = self.look().await;
        if let Err(error) = &looked {
            tracing::warn!(target: "relevo::cluster", %error, "the engine cannot be asked for leases");
        }
        self.note_away(looked.err());
    }

    fn note_away(&self, error: Option<EngineError>) {
        let mut state = self.state.lock();
        state.away = error.map(|error| {
            let since = state.away.as_ref().map_or_else(Instant::now, |(since, _)| *since);
            (since, error.to_string())
        });
    }

    /// Renews what is held. What could not be renewed for too long is stopped.
    async fn renew(&self) {
        let held: Vec<_> = self.state.lock().held.iter().map(|(shard, held)| (*shard, *held)).collect();
        for (shard, before) in held {
            // The term begins before the question: the engine may have seen it any time since.
            let asked = Instant::now();
            let (name, load) = (&self.node.name, self.host.load(shard));
            let note = load.and_then(|load| serde_json::to_string(&load).ok()).unwrap_or_default();
            match self.leases.replace(&shard_key(shard), before.revision, name, &note).await {
                Ok(Some(revision)) => {
                    let renewed = Held { revision, renewed: asked, ..before };
                    self.state.lock().held.insert(shard, renewed);
                }
                Ok(None) => {
                    tracing::warn!(target: "relevo::cluster", shard, "another node has taken the shard");
                    self.state.lock().held.remove(&shard);
                    self.metrics.lost.inc();
                    self.host.lose(shard).await;
                }
                Err(error) => {
                    tracing::warn!(target: "relevo::cluster", shard, %error, "the lease cannot be renewed");
                    self.stop_if_late(shard).await;
                }
            }
        }
    }

    /// Serves anew, as after a start, what was stopped and could be renewed after all.
    async fn resume(&self) {
        if self.state.lock().draining.is_some() {
            return;
        }
        let is_back = |held: &Held| held.is_stopped && held.renewed.elapsed() < HOLDER_STOPS;
        let back: Vec<_> = {
            let state = self.state.lock();
            state.held.iter().filter(|(_, held)| is_back(held)).map(|(shard, held)| (*shard, *held)).collect()
        };
        for (shard, held) in back {
            self.begin(shard, held.revision, held.renewed).await;
        }
    }

    /// A lease of what cannot be served keeps others from it.
    async fn give_up_broken(&self) {
        for shard in self.held().into_iter().filter(|shard| self.host.is_broken(*shard)) {
            tracing::error!(target: "relevo::cluster", shard, "the store of the shard has ended: it is given up");
            self.metrics.lost.inc();
            self.host.lose(shard).await;
            let why = "its store has ended".to_owned();
            self.state.lock().refused.insert(shard, (Instant::now() + AGAIN, why));
            self.release(shard).await;
        }
    }

    async fn stop_if_late(&self, shard: ShardId) {
        let is_late = {
            let mut state = self.state.lock();
            let held = state.held.get_mut(&shard);
            held.is_some_and(|held| {
                let is_late = !held.is_stopped && held.renewed.elapsed() >= HOLDER_STOPS;
                held.is_stopped |= is_late;
                is_late
            })
        };
        if is_late {
            tracing::error!(target: "relevo::cluster", shard, "the lease could not be renewed: the shard is stopped");
            self.metrics.lost.inc();
            self.host.lose(shard).await;
        }
    }

    /// Looks at all leases, and takes what is free.
    async fn look(&self) -> Result<(), EngineError> {
        self.renew_node().await?;
        let nodes = self.leases.entries("node.").await?;
        let mut shards: BTreeMap<ShardId, Option<LeaseEntry>> = BTreeMap::new();
        for (key, entry) in self.leases.entries("shard.").await? {
            if let Some(shard) = shard_of(&key) {
                shards.insert(shard, Some(entry));
            }
        }
        // A log without a lease: its first owner died between the two.
        for shard in self.engine.shards().await? {
            shards.entry(shard).or_insert(None);
        }
        shards.entry(self.node.home).or_insert(None);
        let view = self.note(&nodes, &shards);
        let wanted = view.nodes.iter().filter(|node| node.is_alive && !node.is_draining);
        let homes: BTreeMap<ShardId, &NodeView> = wanted.map(|node| (node.home, node)).collect();
        for found in &view.shards {
            let home = homes.get(&found.shard);
            let is_own_home = found.shard == self.node.home;
            let is_others = home.is_some_and(|node| node.name != self.node.name);
            let (is_held, may_take) = {
                let state = self.state.lock();
                let is_put_off =
                    state.refused.get(&found.shard).is_some_and(|(until, _)| *until > Instant::now());
                let is_taker = !state.is_leaving && state.draining.is_none();
                (state.held.contains_key(&found.shard), is_taker && !is_put_off)
            };
            if is_held && is_others {
                self.give_back(found.shard).await;
            } else if !is_held && found.is_free && may_take && (is_own_home || !is_others) {
                let entry = shards.get(&found.shard).and_then(Option::as_ref);
                self.claim(found.shard, entry.map_or(0, |entry| entry.revision)).await?;
            }
        }
        Ok(())
    }

    async fn renew_node(&self) -> Result<(), EngineError> {
        let is_draining = {
            let state = self.state.lock();
            state.draining.is_some() || state.is_leaving
        };
        let NodeName { address, peer_address, home, .. } = self.node.clone();
        let note = NodeNote { address, peer_address, home, is_draining };
        let note = serde_json::to_string(&note).map_err(|e| EngineError::Refused(e.to_string()))?;
        let (key, before) = (node_key(&self.node.name), self.state.lock().node_revision);
        let revision = match self.leases.replace(&key, before, &self.node.name, &note).await? {
            Some(revision) => revision,
            // An earlier run of this node wrote it.
            None => self.leases.entry(&key).await?.map_or(0, |entry| entry.revision),
        };
        self.state.lock().node_revision = revision;
        Ok(())
    }

    fn note(
        &self,
        nodes: &[(String, LeaseEntry)],
        shards: &BTreeMap<ShardId, Option<LeaseEntry>>,
    ) -> ClusterView {
        let now = Instant::now().into_std();
        let mut state = self.state.lock();
        let mut view = ClusterView::default();
        for (key, entry) in nodes {
            let Ok(note) = serde_json::from_str::<NodeNote>(&entry.note) else { continue };
            let is_alive = !state.watch.is_free(key, Some(entry), now);
            view.nodes.push(note.view(entry.holder.clone(), is_alive));
        }
        for (shard, entry) in shards {
            let is_free = state.watch.is_free(&shard_key(*shard), entry.as_ref(), now);
            let holder = entry.as_ref().map(|entry| entry.holder.clone()).unwrap_or_default();
            let load = entry.as_ref().and_then(load_of);
            view.shards.push(ShardView { shard: *shard, holder, is_free, load });
        }
        state.view = view.clone();
        view
    }

    async fn claim(&self, shard: ShardId, revision: u64) -> Result<(), EngineError> {
        let asked = Instant::now();
        if let Some(revision) = self.leases.replace(&shard_key(shard), revision, &self.node.name, "").await? {
            self.begin(shard, revision, asked).await;
        }
        Ok(())
    }

    /// The lease is this node's since `asked`. The host may take longer than a lease lasts, so all are
    /// renewed beside it.
    async fn begin(&self, shard: ShardId, revision: u64, asked: Instant) {
        tracing::info!(target: "relevo::cluster", shard, "taking the shard");
        self.state.lock().held.insert(shard, Held { revision, renewed: asked, is_stopped: false });
        let begun = Instant::now();
        let mut taking = std::pin::pin!(self.host.take(shard));
        let taken = loop {
            tokio::select! {
                taken = &mut taking => break taken,
                () = tokio::time::sleep(RENEWED) => self.renew().await,
            }
        };
        match taken {
            Ok(()) if self.held().contains(&shard) => {
                tracing::info!(target: "relevo::cluster", shard, "the shard is served");
                self.state.lock().refused.remove(&shard);
                self.metrics.taken(shard == self.node.home, begun.elapsed());
            }
            // The lease was lost on the way.
            Ok(()) => self.host.lose(shard).await,
            Err(error) => {
                tracing::error!(target: "relevo::cluster", shard, %error, "the shard cannot be served here");
                self.state.lock().refused.insert(shard, (Instant::now() + AGAIN, error.to_string()));
                self.release(shard).await;
            }
        }
    }

    /// Closes a shard and gives up its lease.
    async fn give_back(&self, shard: ShardId) {
        tracing::info!(target: "relevo::cluster", shard, "giving the shard back");
        // Longer than a lease lasts, perhaps.
        let mut closing = std::pin::pin!(self.host.close(shard));
        loop {
            tokio::select! {
                () = &mut closing => break,
                () = tokio::time::sleep(RENEWED) => self.renew().await,
            }
        }
        self.release(shard).await;
    }

    async fn release(&self, shard: ShardId) {
        let Some(held) = self.state.lock().held.remove(&shard) else { return };
        if let Err(error) = self.leases.replace(&shard_key(shard), held.revision, "", "").await {
            tracing::warn!(target: "relevo::cluster", shard, %error, "the lease was not given up: it lapses");
        }
    }
}

/// How long a whole takeover takes without replay: the lapse, and a round to see it.
pub const TAKEOVER: Duration = Duration::from_secs(crate::lease::LAPSES.as_secs() + RENEWED.as_secs());
