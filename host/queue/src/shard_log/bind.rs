//! The owner's end of a shard's log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::checkpoint::Checkpoint;
use super::record::{Fence, ShardRecord, sum_of};
use super::{AppendError, LogBounds, LogError, LogRecord, Seq, ShardLog};
use crate::ItemId;
use crate::seeded::SeededBug;

/// Between two tries to learn what became of a record.
const AGAIN: Duration = Duration::from_millis(200);
/// As long as the log is away, one request in this time finds out whether it is back.
const PROBE: Duration = Duration::from_secs(1);
/// An upload whose message did not come within this is forgotten.
const UPLOAD: Duration = Duration::from_secs(3600);
/// Of the octets that a record may have, what is left for its frame.
const MARGIN: usize = 4096;
/// How often another owner may be faster.
const FENCES: usize = 100;

/// A log, and how it is used.
#[derive(Debug, Clone)]
pub struct LogBinding {
    /// The log of the shard.
    pub log: Arc<dyn ShardLog>,
    /// Where the log's calls run: the writer's own thread has no runtime.
    pub runtime: Handle,
    /// The owner's name, for people.
    pub owner: String,
    /// Octets that the log may have before what is needed of it is written anew and the rest is
    /// trimmed. It is at least twice what was needed the last time.
    pub trim_at: u64,
}

/// What everybody may know of the log.
#[derive(Debug, Default)]
pub(crate) struct LogState {
    /// Since when it does not answer, and when somebody may try again.
    away: Mutex<Option<Instant>>,
    /// The owner may no longer own the shard: nothing is waited for.
    stopped: AtomicBool,
    /// The last record that is in the directory.
    applied: AtomicU64,
}

impl LogState {
    /// Whether new mail may be handed to the writer. One call in a second may while the log is away.
    pub(crate) fn may_try(&self) -> bool {
        let mut away = self.away.lock();
        match *away {
            Some(next) if Instant::now() < next => false,
            Some(_) => {
                *away = Some(Instant::now() + PROBE);
                true
            }
            None => true,
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away.lock().is_some()
    }

    fn set_away(&self, is_away: bool) {
        let mut away = self.away.lock();
        if away.is_some() != is_away {
            *away = is_away.then(|| Instant::now() + PROBE);
        }
    }

    pub(crate) fn applied(&self) -> Seq {
        self.applied.load(Ordering::Acquire)
    }

    pub(crate) fn set_applied(&self, seq: Seq) {
        self.applied.store(seq, Ordering::Release);
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// Why the log does not have a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogFailure {
    /// It is away. The record is not in it and will not be.
    Away(String),
    /// Somebody else owns the shard, or nothing can be known any more: this store is over.
    Lost(String),
}

/// Records that are ready to be appended.
pub(crate) struct Prepared {
    first: Seq,
    parts: Vec<Vec<u8>>,
}

impl Prepared {
    /// Where the last one will stand.
    pub(crate) fn last(&self) -> Seq {
        self.first + self.parts.len() as Seq - 1
    }

    /// The checksum of the last one.
    pub(crate) fn sum(&self) -> u64 {
        self.parts.last().map_or(0, |part| sum_of(part))
    }
}

/// See the module. The writer has it.
pub(crate) struct LogWriter {
    log: Arc<dyn ShardLog>,
    runtime: Handle,
    state: Arc<LogState>,
    pub(crate) store: u64,
    /// The last record.
    pub(crate) last: Seq,
    /// Its checksum, if this owner wrote it.
    pub(crate) sum: u64,
    /// Octets that the log has, about.
    pub(crate) octets: u64,
    /// Beyond so many octets it is checkpointed.
    pub(crate) trim_at: u64,
    /// Octets that the last checkpoint wrote.
    pub(crate) checkpointed: u64,
    /// The checkpoint that is under way.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Large bodies whose first piece is in the log, and whose item is not yet.
    uploads: HashMap<ItemId, (Seq, Instant)>,
}

impl LogWriter {
    /// Takes the shard over: nobody who owned it before can append after this. The fence is the last
    /// record then.
    pub(crate) fn take_over(
        binding: &LogBinding,
        state: Arc<LogState>,
        store: u64,
    ) -> Result<Self, LogFailure> {
        let LogBinding { log, runtime, owner, trim_at } = binding.clone();
        let (last, sum, octets, checkpointed) = (0, 0, 0, 0);
        let uploads = HashMap::new();
        let mut own = Self {
            log,
            runtime,
            state,
            store,
            last,
            sum,
            octets,
            trim_at,
            checkpointed,
            checkpoint: None,
            uploads,
        };
        for _ in 0..FENCES {
            let bounds = own.bounds().map_err(|e| LogFailure::Away(e.to_string()))?;
            (own.last, own.octets) = (bounds.last, bounds.octets);
            let mut nonce = [0; 8];
            getrandom::fill(&mut nonce).map_err(|e| LogFailure::Lost(e.to_string()))?;
            let fence = Fence { owner: owner.clone(), nonce: u64::from_le_bytes(nonce) };
            let record = ShardRecord { store, fence: Some(fence), ..ShardRecord::default() };
            let prepared = own.prepare(record)?;
            match own.append(prepared) {
                Ok(()) => return Ok(own),
                // Somebody else was faster.
                Err(LogFailure::Lost(why)) if own.state.is_stopped() => return Err(LogFailure::Lost(why)),
                Err(LogFailure::Lost(_)) => {}
                Err(away) => return Err(away),
            }
        }
        Err(LogFailure::Lost("others take the shard again and again".into()))
    }

    /// To read only: nobody is fenced.
    pub(crate) fn to_read(binding: &LogBinding, store: u64, bounds: LogBounds) -> Self {
        let LogBinding { log, runtime, trim_at, .. } = binding.clone();
        let (state, uploads) = (Arc::default(), HashMap::new());
        let LogBounds { last, octets, .. } = bounds;
        let (sum, checkpointed, checkpoint) = (0, 0, None);
        Self { log, runtime, state, store, last, sum, octets, trim_at, checkpointed, checkpoint, uploads }
    }

    /// Encodes a record for the place after the last.
    pub(crate) fn prepare(&self, record: ShardRecord) -> Result<Prepared, LogFailure> {
        let record = ShardRecord { store: self.store, ..record };
        let parts = record.divide(self.log.max_record().saturating_sub(MARGIN));
        let first = self.last + 1;
        let parts: Result<_, _> = (first..).zip(&parts).map(|(seq, part)| part.encode(seq)).collect();
        Ok(Prepared { first, parts: parts.map_err(LogFailure::Lost)? })
    }

    /// Appends; returns when the log has it all. If it is away after a first part, that part is in
    /// the log and counts for nothing.
    pub(crate) fn append(&mut self, prepared: Prepared) -> Result<(), LogFailure> {
        for octets in prepared.parts {
            self.put(&octets)?;
            self.last += 1;
            self.sum = sum_of(&octets);
            self.octets += octets.len() as u64;
        }
        Ok(())
    }

    fn put(&self, octets: &[u8]) -> Result<(), LogFailure> {
        let expected = self.last;
        let mut is_unknown = false;
        loop {
            match self.runtime.block_on(self.log.append(expected, octets)) {
                Ok(()) => {
                    self.state.set_away(false);
                    return Ok(());
                }
                Err(AppendError::Fenced(_)) if SeededBug::NoFence.is_made() => return Ok(()),
                Err(_) if SeededBug::EarlyAnswer.is_made() => return Ok(()),
                Err(AppendError::Fenced(_)) => {
                    if self.is_there(expected + 1, octets)? {
                        self.state.set_away(false);
                        return Ok(());
                    }
                    return Err(LogFailure::Lost(format!(
                        "another owner wrote record {} of the log: the shard is its own now",
                        expected + 1
                    )));
                }
                Err(AppendError::Unavailable(why)) if !is_unknown => {
                    self.state.set_away(true);
                    return Err(LogFailure::Away(why));
                }
                Err(AppendError::Unavailable(why) | AppendError::Unknown(why)) => {
                    // It may be there, now or later. Only another try at the same place can tell: one
                    // of the two is refused.
                    is_unknown = true;
                    self.state.set_away(true);
                    self.pause(&why)?;
                }
            }
        }
    }

    /// Whether the record at `seq` is this one.
    fn is_there(&self, seq: Seq, octets: &[u8]) -> Result<bool, LogFailure> {
        loop {
            match self.read(seq, 1) {
                Ok(records) => return Ok(records.first().is_some_and(|record| record.octets == octets)),
                Err(LogError::Unavailable(why)) => self.pause(&why)?,
                // Whoever trimmed it owns the shard.
                Err(LogError::Trimmed(_)) => return Ok(false),
                Err(error @ LogError::Damaged(_)) => return Err(LogFailure::Lost(error.to_string())),
            }
        }
    }

    fn pause(&self, why: &str) -> Result<(), LogFailure> {
        if self.state.is_stopped() {
            return Err(LogFailure::Lost(format!("it is not known what became of a record: {why}")));
        }
        std::thread::sleep(AGAIN);
        Ok(())
    }

    pub(crate) fn read(&self, from: Seq, octets: usize) -> Result<Vec<LogRecord>, LogError> {
        self.runtime.block_on(self.log.read(from, octets))
    }

    fn bounds(&self) -> Result<LogBounds, LogError> {
        self.runtime.block_on(self.log.bounds())
    }

    /// Removes what lies below a place. What cannot be removed now is removed with the next checkpoint.
    pub(crate) fn trim(&self, below: Seq) -> Result<LogBounds, LogError> {
        self.runtime.block_on(self.log.trim(below))?;
        self.bounds()
    }

    /// Remembers from where on the log is needed for a body that is being uploaded.
    pub(crate) fn begin_upload(&mut self, item: ItemId) {
        let next = self.last + 1;
        self.uploads.entry(item).or_insert_with(|| (next, Instant::now()));
    }

    /// The message came, or never will.
    pub(crate) fn end_upload(&mut self, item: ItemId) {
        self.uploads.remove(&item);
    }

    /// The first record that a body which is being uploaded needs; if none, the next one.
    pub(crate) fn first_needed(&mut self) -> Seq {
        self.uploads.retain(|_, (_, since)| since.elapsed() < UPLOAD);
        self.uploads.values().map(|(seq, _)| *seq).min().unwrap_or(self.last + 1)
    }
}
