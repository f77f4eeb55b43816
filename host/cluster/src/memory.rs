//! An engine in memory: for tests of what is above engines. Nodes can be cut off from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use relevo_queue::shard_log::memory::MemoryLog;
use relevo_queue::shard_log::{AppendError, LogBounds, LogError, LogRecord, Seq, ShardLog};

use crate::engine::{Engine, EngineError, ShardId};
use crate::lease::{LeaseEntry, Leases};

#[derive(Debug, Default)]
struct Shared {
    logs: BTreeMap<ShardId, MemoryLog>,
    leases: BTreeMap<String, LeaseEntry>,
    revision: u64,
}

/// See the module. [`Self::node`] makes the view of another node of the same engine.
#[derive(Debug, Clone, Default)]
pub struct MemoryEngine {
    shared: Arc<Mutex<Shared>>,
    is_cut: Arc<AtomicBool>,
}

impl MemoryEngine {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same engine as another node sees it.
    #[must_use]
    pub fn node(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), is_cut: Arc::default() }
    }

    /// Cuts this node off, or lets it back.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Release);
    }

    fn check(&self) -> Result<(), EngineError> {
        match self.is_cut.load(Ordering::Acquire) {
            true => Err(EngineError::Away("cut off".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Engine for MemoryEngine {
    async fn log(&self, shard: ShardId) -> Result<Arc<dyn ShardLog>, EngineError> {
        self.check()?;
        let log = self.shared.lock().logs.entry(shard).or_default().clone();
        Ok(Arc::new(CutLog { log, is_cut: Arc::clone(&self.is_cut) }))
    }

    async fn shards(&self) -> Result<Vec<ShardId>, EngineError> {
        self.check()?;
        Ok(self.shared.lock().logs.keys().copied().collect())
    }

    fn leases(&self) -> Arc<dyn Leases> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl Leases for MemoryEngine {
    async fn entry(&self, key: &str) -> Result<Option<LeaseEntry>, EngineError> {
        self.check()?;
        Ok(self.shared.lock().leases.get(key).cloned())
    }

    async fn entries(&self, prefix: &str) -> Result<Vec<(String, LeaseEntry)>, EngineError> {
        self.check()?;
        let shared = self.shared.lock();
        let found = shared.leases.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(found.map(|(key, entry)| (key.clone(), entry.clone())).collect())
    }

    async fn replace(
        &self,
        key: &str,
        expected: u64,
        holder: &str,
        note: &str,
    ) -> Result<Option<u64>, EngineError> {
        self.check()?;
        let mut shared = self.shared.lock();
        if shared.leases.get(key).map_or(0, |entry| entry.revision) != expected {
            return Ok(None);
        }
        shared.revision += 1;
        let revision = shared.revision;
        let entry = LeaseEntry { revision, holder: holder.to_owned(), note: note.to_owned() };
        shared.leases.insert(key.to_owned(), entry);
        Ok(Some(revision))
    }
}

/// A log that a node may be cut off from.
#[derive(Debug)]
struct CutLog {
    log: MemoryLog,
    is_cut: Arc<AtomicBool>,
}

impl CutLog {
    fn check(&self) -> Result<(), LogError> {
        match self.is_cut.load(Ordering::Acquire) {
            true => Err(LogError::Unavailable("cut off".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl ShardLog for CutLog {
    async fn append(&self, expected: Seq, record: &[u8]) -> Result<(), AppendError> {
        self.check().map_err(|e| AppendError::Unavailable(e.to_string()))?;
        self.log.append(expected, record).await
    }

    async fn read(&self, from: Seq, octets: usize) -> Result<Vec<LogRecord>, LogError> {
        self.check()?;
        self.log.read(from, octets).await
    }

    async fn bounds(&self) -> Result<LogBounds, LogError> {
        self.check()?;
        self.log.bounds().await
    }

    async fn trim(&self, below: Seq) -> Result<(), LogError> {
        self.check()?;
        self.log.trim(below).await
    }

    fn max_record(&self) -> usize {
        self.log.max_record()
    }
}
