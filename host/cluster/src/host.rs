//! Opens and closes the stores of shards, as the member of the cluster says.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use relevo_queue::{EmbeddedStore, LogBinding, OpenError, Queue as _, StoreConfig};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::engine::{Engine, EngineError, ShardId};
use crate::member::ShardHost;
use crate::shards::Shards;

/// Where and how stores of shards are opened.
#[derive(Debug, Clone)]
pub struct StoreHostConfig {
    /// The directory of the home. Those of other shards are below `shards` in it.
    pub data_dir: PathBuf,
    /// Of each store.
    pub store: StoreConfig,
    /// The node's name.
    pub node: String,
    /// Octets of a log beyond which a checkpoint is written and the rest is trimmed.
    pub trim_at: u64,
}

/// See the module.
#[derive(Debug)]
pub struct StoreHost {
    shards: Arc<Shards>,
    engine: Arc<dyn Engine>,
    config: StoreHostConfig,
    /// Stores that end: their directories are in use until then.
    ending: Mutex<HashMap<ShardId, JoinHandle<()>>>,
}

impl StoreHost {
    /// Opens stores into `shards`.
    #[must_use]
    pub fn new(shards: Arc<Shards>, engine: Arc<dyn Engine>, config: StoreHostConfig) -> Self {
        Self { shards, engine, config, ending: Mutex::default() }
    }

    /// The directory of a shard.
    #[must_use]
    pub fn directory(&self, shard: ShardId) -> PathBuf {
        match shard == self.shards.home() {
            true => self.config.data_dir.clone(),
            false => self.config.data_dir.join("shards").join(format!("{shard:04x}")),
        }
    }

    async fn open(&self, shard: ShardId) -> Result<Arc<EmbeddedStore>, EngineError> {
        let ending = self.ending.lock().remove(&shard);
        if let Some(ending) = ending {
            // A panic in it has released the directory, too.
            let _ = ending.await;
        }
        let StoreHostConfig { store, node, trim_at, .. } = self.config.clone();
        let binding = LogBinding {
            log: self.engine.log(shard).await?,
            runtime: Handle::current(),
            owner: node,
            trim_at,
        };
        let directory = self.directory(shard);
        let open = move || EmbeddedStore::open_logged(directory, store, &binding);
        match tokio::task::spawn_blocking(open).await {
            Ok(opened) => opened.map_err(|error: OpenError| EngineError::Refused(error.to_string())),
            Err(fault) => Err(EngineError::Refused(format!("internal fault: {fault}"))),
        }
    }
}

#[async_trait]
impl ShardHost for StoreHost {
    async fn take(&self, shard: ShardId) -> Result<(), EngineError> {
        let store = self.open(shard).await?;
        self.shards.add(shard, store);
        Ok(())
    }

    async fn lose(&self, shard: ShardId) {
        let Some(store) = self.shards.remove(shard) else { return };
        store.abandon();
        let ending = tokio::spawn(async move { store.close().await });
        self.ending.lock().insert(shard, ending);
    }

    fn is_broken(&self, shard: ShardId) -> bool {
        self.shards.get(shard).is_some_and(|store| store.has_ended())
    }

    async fn close(&self, shard: ShardId) {
        if let Some(store) = self.shards.remove(shard) {
            store.close().await;
        }
    }
}
