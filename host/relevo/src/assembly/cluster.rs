//! A node of a cluster: its engine, its shards, and what it does with those of others.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use relevo_cluster::engine::Engine;
use relevo_cluster::host::{StoreHost, StoreHostConfig};
use relevo_cluster::jetstream::JetStreamEngine;
use relevo_cluster::member::Member;
use relevo_cluster::postgres::PostgresEngine;
use relevo_cluster::shards::Shards;
use relevo_queue::Queue as _;
use relevo_relay::clock::ShardIds;
use tokio::task::JoinHandle;

use crate::config::{ClusterConfig, EngineConfig, ServerParts};

/// Between two looks whether the home is there.
const LOOK: Duration = Duration::from_millis(200);

/// See the module. Dropping it ends the renewal of leases.
pub(crate) struct ClusterNode {
    pub(crate) shards: Arc<Shards>,
    pub(crate) member: Arc<Member>,
    renewal: JoinHandle<()>,
}

impl Drop for ClusterNode {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Connects to the engine of a configuration.
///
/// # Errors
/// It does not answer, or would not keep what it acknowledges.
pub(crate) async fn engine(config: &EngineConfig) -> anyhow::Result<Arc<dyn Engine>> {
    Ok(match config {
        EngineConfig::Nats(config) => Arc::new(JetStreamEngine::connect((**config).clone()).await?),
        EngineConfig::Postgres { url, is_unsafe } => {
            Arc::new(PostgresEngine::connect(url, *is_unsafe).await?)
        }
    })
}

impl ClusterNode {
    /// Becomes a member, and waits until the node has its home. Another node that took it over gives
    /// it back.
    ///
    /// # Errors
    /// The engine cannot be used, the home cannot be served here, or another node is at home there.
    pub(crate) async fn join(parts: &ServerParts, config: &ClusterConfig) -> anyhow::Result<Self> {
        let engine = engine(&config.engine).await.context("[cluster]")?;
        let (node, home) = (config.node.clone(), config.node.home);
        let shards = Arc::new(Shards::new(home));
        let host = StoreHostConfig {
            data_dir: parts.data_dir.clone(),
            store: parts.queue.clone(),
            node: node.name.clone(),
            trim_at: config.trim_at,
        };
        let host = Arc::new(StoreHost::new(shards.clone(), engine.clone(), host));
        let member = Arc::new(Member::new(engine, host, node));
        let running = member.clone();
        let renewal = tokio::spawn(async move { running.run().await });
        let joined = Self { shards, member, renewal };
        tracing::info!(shard = home, "waiting for the home of this node");
        while joined.shards.get(home).is_none() {
            if let Some(rival) = joined.member.rival() {
                bail!(
                    "[cluster] shard: {home} is the home of node `{rival}`, too: give each node a number of its own"
                );
            }
            if let Some(why) = joined.member.refusal(home) {
                bail!("[cluster] shard {home}: {why}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(joined)
    }

    /// Makes ids of the home.
    pub(crate) fn ids(&self) -> ShardIds {
        ShardIds(self.shards.home())
    }

    /// Closes all shards and gives them up, so that others need not wait for the leases to lapse.
    pub(crate) async fn leave(self) {
        self.renewal.abort();
        self.member.leave().await;
        self.shards.close().await;
    }
}
