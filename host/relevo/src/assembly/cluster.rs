//! A node of a cluster: its engine, its shards, and what it does with those of others.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use prometheus_client::registry::Registry;
use relevo_cluster::engine::Engine;
use relevo_cluster::host::{StoreHost, StoreHostConfig};
use relevo_cluster::jetstream::JetStreamEngine;
use relevo_cluster::limits::holder::Allotters;
use relevo_cluster::limits::metrics::LimitMetrics;
use relevo_cluster::limits::shares::NodeShares;
use relevo_cluster::limits::tcp::{TcpCarry, serve};
use relevo_cluster::limits::wire::ClusterSecret;
use relevo_cluster::member::Member;
use relevo_cluster::postgres::PostgresEngine;
use relevo_cluster::shards::Shards;
use relevo_queue::Queue as _;
use relevo_relay::clock::ShardIds;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::{ClusterConfig, EngineConfig, ServerParts};

/// Between two looks whether the home is there.
const LOOK: Duration = Duration::from_millis(200);

/// See the module. Dropping it ends the renewal of leases.
pub(crate) struct ClusterNode {
    pub(crate) shards: Arc<Shards>,
    pub(crate) member: Arc<Member>,
    engine: Arc<dyn Engine>,
    config: ClusterConfig,
    renewal: JoinHandle<()>,
}

/// Caps that the nodes of a cluster share.
pub(super) struct SharedLimits {
    pub(super) shares: Arc<NodeShares>,
    allotters: Arc<Allotters>,
    listener: TcpListener,
    secret: ClusterSecret,
}

impl SharedLimits {
    /// Hands out and asks for slices until it is dropped.
    pub(super) async fn run(self) {
        tokio::join!(self.shares.run(), serve(self.listener, self.secret, self.shares.clone()));
    }

    /// To give up at a stop what it holds.
    pub(super) fn allotters(&self) -> Arc<Allotters> {
        self.allotters.clone()
    }
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
        let member = Arc::new(Member::new(engine.clone(), host, node));
        let running = member.clone();
        let renewal = tokio::spawn(async move { running.run().await });
        let joined = Self { shards, member, engine, config: config.clone(), renewal };
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

    /// What shares limits, if that is configured.
    ///
    /// # Errors
    /// Nobody can listen there, or there is no randomness.
    pub(super) async fn limits(&self, registry: &mut Registry) -> anyhow::Result<Option<SharedLimits>> {
        let Some(config) = &self.config.limits else { return Ok(None) };
        let secret = ClusterSecret::new(&config.secret).context("[cluster] secret_file is too short")?;
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.with_context(|| format!("[cluster] cannot listen on {}", config.listen))?;
        let mut run = [0; 8];
        getrandom::fill(&mut run)?;
        let run = format!("{:016x}", u64::from_ne_bytes(run));
        let node = &self.config.node.name;
        let allotters = Arc::new(Allotters::new(self.engine.leases(), node, &config.address, &run));
        let carry = Arc::new(TcpCarry::new(secret.clone()));
        let shares = Arc::new(NodeShares::new(allotters.clone(), carry, LimitMetrics::register(registry)));
        Ok(Some(SharedLimits { shares, allotters, listener, secret }))
    }

    /// Closes all shards and gives them up, so that others need not wait for the leases to lapse.
    pub(crate) async fn leave(self) {
        self.renewal.abort();
        self.member.leave().await;
        self.shards.close().await;
    }
}
