//! Opens and closes the stores of shards, as the member of the cluster says.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use relevo_queue::{EmbeddedStore, LogBinding, OpenError, Queue as _, StoreConfig};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::engine::{Engine, EngineError, ShardId};
use crate::member::{ShardHost, ShardLoad};
use crate::metrics::{CountedLog, LogMetrics};
use crate::shards::Shards;

/// Attempts that are under way when a shard is given back may take this long.
const RESTS: Duration = Duration::from_secs(10);

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
    metrics: LogMetrics,
    /// Stores that end: their directories are in use until then.
    ending: Mutex<HashMap<ShardId, JoinHandle<()>>>,
}

impl StoreHost {
    /// Opens stores into `shards`.
    #[must_use]
    pub fn new(shards: Arc<Shards>, engine: Arc<dyn Engine>, config: StoreHostConfig) -> Self {
        Self { shards, engine, config, metrics: LogMetrics::default(), ending: Mutex::default() }
    }

    /// Counts of the logs that are open.
    #[must_use]
    pub fn metrics(&self) -> &LogMetrics {
        &self.metrics
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
            log: Arc::new(CountedLog::new(self.engine.log(shard).await?, self.metrics.clone())),
            runtime: Handle::current(),
            owner: node,
            trim_at,
        };
        let directory = self.directory(shard);
        let is_copy = shard != self.shards.home();
        let open = move || match EmbeddedStore::open_logged(&directory, store.clone(), &binding) {
            Err(OpenError::OtherHistory { .. }) if is_copy => {
                set_aside(&directory)?;
                EmbeddedStore::open_logged(&directory, store, &binding)
            }
            opened => opened,
        };
        match tokio::task::spawn_blocking(open).await {
            Ok(opened) => opened.map_err(|error: OpenError| EngineError::Refused(error.to_string())),
            Err(fault) => Err(EngineError::Refused(format!("internal fault: {fault}"))),
        }
    }
}

/// Keeps a copy of a shard that is no longer one: its log was written anew from another directory. The
/// one that was kept before is deleted.
fn set_aside(directory: &Path) -> Result<(), OpenError> {
    let aside = directory.with_extension("old");
    tracing::warn!(
        target: "relevo::cluster",
        directory = %directory.display(), aside = %aside.display(),
        "the log of the shard was written anew: what is here is set aside, and read from the log"
    );
    let fail = |error| OpenError::Io { path: aside.clone(), error };
    match std::fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    std::fs::rename(directory, &aside).map_err(fail)
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
        // What is under way would be attempted again by the next owner.
        self.shards.rest(shard, RESTS).await;
        if let Some(store) = self.shards.remove(shard) {
            store.close().await;
        }
    }

    fn set_draining(&self, is_draining: bool) {
        self.shards.set_draining(is_draining);
    }

    fn is_idle(&self) -> bool {
        self.shards.is_idle()
    }

    fn load(&self, shard: ShardId) -> Option<ShardLoad> {
        let store = self.shards.get(shard)?;
        Some(ShardLoad { items: store.stats().items, applied: store.applied()? })
    }
}
