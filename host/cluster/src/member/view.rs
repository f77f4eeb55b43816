//! What nodes write into the engine about themselves, and what others see of it.

use std::collections::BTreeMap;

use super::ShardId;
use crate::engine::{Engine, EngineError};
use crate::lease::{LeaseEntry, RENEWED};

/// A node as others see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// Where it answers other nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,
    /// Its home.
    pub home: ShardId,
    /// It renewed its entry lately, as far as the onlooker saw.
    pub is_alive: bool,
    /// It has given its shards to the others, and takes none.
    pub is_draining: bool,
}

/// What a shard has, as its holder says with each renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShardLoad {
    /// Messages that are not finished.
    pub items: u64,
    /// The last record of the log that is in the holder's directory.
    pub applied: u64,
}

/// A shard as others see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ShardView {
    /// Its number.
    pub shard: ShardId,
    /// The node that holds its lease; empty: none.
    pub holder: String,
    /// Nobody renewed the lease lately, as far as the onlooker saw.
    pub is_free: bool,
    /// What the holder said that it has.
    pub load: Option<ShardLoad>,
}

pub(super) fn load_of(entry: &LeaseEntry) -> Option<ShardLoad> {
    serde_json::from_str(&entry.note).ok()
}

/// What a node knows of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ClusterView {
    /// All nodes that ever were, by name.
    pub nodes: Vec<NodeView>,
    /// All shards, by number.
    pub shards: Vec<ShardView>,
}

pub(super) fn shard_key(shard: ShardId) -> String {
    format!("shard.{shard:04x}")
}

pub(super) fn node_key(name: &str) -> String {
    format!("node.{name}")
}

pub(super) fn shard_of(key: &str) -> Option<ShardId> {
    ShardId::from_str_radix(key.strip_prefix("shard.")?, 16).ok()
}

/// What a node writes into its own entry.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct NodeNote {
    pub(super) address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) peer_address: Option<String>,
    pub(super) home: ShardId,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_draining: bool,
}

impl NodeNote {
    pub(super) fn view(self, name: String, is_alive: bool) -> NodeView {
        let Self { address, peer_address, home, is_draining } = self;
        NodeView { name, address, peer_address, home, is_alive, is_draining }
    }
}

/// Looks at nodes and shards from outside: who renews within a few seconds is alive.
///
/// # Errors
/// The engine does not answer.
pub async fn observe(engine: &dyn Engine) -> Result<ClusterView, EngineError> {
    let leases = engine.leases();
    let revisions = async || -> Result<BTreeMap<String, LeaseEntry>, EngineError> {
        let (nodes, shards) = (leases.entries("node.").await?, leases.entries("shard.").await?);
        Ok(nodes.into_iter().chain(shards).collect())
    };
    let before = revisions().await?;
    tokio::time::sleep(2 * RENEWED).await;
    let after = revisions().await?;
    let is_renewed =
        |key: &str| before.get(key).map(|entry| entry.revision) != after.get(key).map(|entry| entry.revision);
    let mut view = ClusterView::default();
    for (key, entry) in &after {
        if let Some(shard) = shard_of(key) {
            let is_free = entry.holder.is_empty() || !is_renewed(key);
            let load = load_of(entry);
            view.shards.push(ShardView { shard, holder: entry.holder.clone(), is_free, load });
        } else if let Ok(note) = serde_json::from_str::<NodeNote>(&entry.note) {
            view.nodes.push(note.view(entry.holder.clone(), is_renewed(key)));
        }
    }
    for shard in engine.shards().await? {
        if !view.shards.iter().any(|known| known.shard == shard) {
            view.shards.push(ShardView { shard, holder: String::new(), is_free: true, load: None });
        }
    }
    Ok(view)
}
