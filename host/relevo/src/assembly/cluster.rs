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
use relevo_cluster::limits::questions::TcpCarry;
use relevo_cluster::limits::shares::NodeShares;
use relevo_cluster::member::Member;
use relevo_cluster::peers::client::Peers;
use relevo_cluster::peers::metrics::PeerMetrics;
use relevo_cluster::peers::server::PeerServer;
use relevo_cluster::peers::store::ClusterStore;
use relevo_cluster::postgres::PostgresEngine;
use relevo_cluster::shards::Shards;
use relevo_cluster::tcp::{Answers, serve};
use relevo_cluster::wire::ClusterSecret;
use relevo_queue::{Queue, QueueKey};
use relevo_relay::clock::ShardIds;
use relevo_relay::delivery::DeliveryHandle;
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
    host: Arc<StoreHost>,
    config: ClusterConfig,
    renewal: JoinHandle<()>,
    peers: Option<ClusterPeers>,
}

/// How nodes ask each other for messages.
struct ClusterPeers {
    store: Arc<ClusterStore>,
    server: Arc<PeerServer>,
    metrics: PeerMetrics,
}

/// What the nodes of a cluster ask each other for: slices of caps that they share, and messages.
pub(super) struct SharedLimits {
    pub(super) shares: Arc<NodeShares>,
    allotters: Arc<Allotters>,
    peers: (Arc<ClusterStore>, Arc<PeerServer>),
    listener: TcpListener,
    secret: ClusterSecret,
}

impl SharedLimits {
    /// Asks and answers other nodes until it is dropped.
    pub(super) async fn run(self) {
        let (store, server) = self.peers;
        let answers = Answers { slices: self.shares.clone(), stores: server };
        tokio::join!(self.shares.run(), store.run(), serve(self.listener, self.secret, answers));
    }

    /// Ends backoff of messages that another node makes due.
    pub(super) fn retrying(&self, delivery: DeliveryHandle) {
        self.peers.1.ends_waits_by(Arc::new(move |keys: &[QueueKey]| delivery.reset_backoff(keys)));
    }

    /// To give up at a stop what it holds.
    pub(super) fn allotters(&self) -> Arc<Allotters> {
        self.allotters.clone()
    }
}

fn secret(text: &str) -> anyhow::Result<ClusterSecret> {
    ClusterSecret::new(text).context("[cluster] secret_file is too short")
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
        let member = Arc::new(Member::new(engine.clone(), host.clone(), node));
        let running = member.clone();
        let renewal = tokio::spawn(async move { running.run().await });
        let config = config.clone();
        let joined = Self { shards, member, engine, host, config, renewal, peers: None };
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

    /// Shows what the node does with its shards.
    pub(super) fn register_metrics(&self, registry: &mut Registry) {
        relevo_cluster::metrics::register(registry, &self.member, self.host.metrics());
    }

    /// Makes ids of the home.
    pub(crate) fn ids(&self) -> ShardIds {
        ShardIds(self.shards.home())
    }

    /// The mail of all nodes, if nodes ask each other. `local` is a queue over the shards of this node.
    ///
    /// # Errors
    /// The secret is too short.
    pub(super) fn ask_others(&mut self, local: Arc<dyn Queue>) -> anyhow::Result<Option<Arc<ClusterStore>>> {
        let Some(config) = &self.config.limits else { return Ok(None) };
        let (secret, metrics) = (secret(&config.secret)?, PeerMetrics::default());
        let peers = Arc::new(Peers::new(self.member.clone(), secret, metrics.clone()));
        let store = Arc::new(ClusterStore::new(self.shards.clone(), local.clone(), peers));
        let server = Arc::new(PeerServer::new(self.shards.clone(), local, metrics.clone()));
        self.peers = Some(ClusterPeers { store: store.clone(), server, metrics });
        Ok(Some(store))
    }

    /// What asks and answers other nodes, if that is configured.
    ///
    /// # Errors
    /// Nobody can listen there, or there is no randomness.
    pub(super) async fn limits(&self, registry: &mut Registry) -> anyhow::Result<Option<SharedLimits>> {
        let (Some(config), Some(peers)) = (&self.config.limits, &self.peers) else { return Ok(None) };
        let secret = secret(&config.secret)?;
        peers.metrics.register(registry);
        let peers = (peers.store.clone(), peers.server.clone());
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.with_context(|| format!("[cluster] cannot listen on {}", config.listen))?;
        let mut run = [0; 8];
        getrandom::fill(&mut run)?;
        let run = format!("{:016x}", u64::from_ne_bytes(run));
        let node = &self.config.node.name;
        let allotters = Arc::new(Allotters::new(self.engine.leases(), node, &config.address, &run));
        let carry = Arc::new(TcpCarry::new(secret.clone()));
        let shares = Arc::new(NodeShares::new(allotters.clone(), carry, LimitMetrics::register(registry)));
        Ok(Some(SharedLimits { shares, allotters, peers, listener, secret }))
    }

    /// Closes all shards and gives them up, so that others need not wait for the leases to lapse.
    pub(crate) async fn leave(self) {
        self.renewal.abort();
        self.member.leave().await;
        self.shards.close().await;
    }
}
