//! What the handles and the writer share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use redb::ReadableTable;
use tokio::sync::{Notify, watch};

use crate::checked::DamagedBodies;
use crate::disk::{Disk, is_full};
use crate::index::{DELIVERIES, ITEMS, Index, IndexError};
use crate::layout::Layout;
use crate::recent::Recent;
use crate::record::{self, Blob, BlobLocation, DeliveryRecord, ItemRecord};
use crate::schedule::Schedule;
use crate::segment::Segments;
use crate::shard_log::bind::LogState;
use crate::space::Space;
use crate::spool::SpoolMemory;
use crate::{DeliveryId, ItemId, ItemMeta, StoreError};

#[derive(Debug, Default)]
pub(crate) struct StoreCounters {
    pub(crate) items: AtomicU64,
    pub(crate) quarantined: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) committed: AtomicU64,
}

/// Set once a sync failed: nothing is believed any more.
#[derive(Debug, Default)]
pub(crate) struct Poison(OnceLock<String>);

impl Poison {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.0.get() {
            Some(why) => Err(StoreError::Io(why.clone())),
            None => Ok(()),
        }
    }

    /// Ends the store on purpose: what is on disk is whole, and belongs to somebody else now.
    pub(crate) fn end(&self, why: &str) -> StoreError {
        StoreError::Io(self.0.get_or_init(|| why.to_owned()).clone())
    }

    /// Poisons the store, for good; returns what to answer.
    pub(crate) fn fatal(&self, why: &str) -> StoreError {
        let why = self.0.get_or_init(|| {
            tracing::error!(
                why,
                "the store stops: what is on disk is no longer known; restart after looking at the medium"
            );
            format!("stopped: {why}")
        });
        StoreError::Io(why.clone())
    }
}

#[derive(Debug)]
pub(crate) struct StoreCore {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
    pub(crate) index: Index,
    pub(crate) segments: Segments,
    pub(crate) schedule: Mutex<Schedule>,
    pub(crate) space: Space,
    pub(crate) damaged: DamagedBodies,
    pub(crate) recent: Recent,
    pub(crate) spool_memory: SpoolMemory,
    /// Segments younger than this are not compacted.
    pub(crate) young: Duration,
    pub(crate) poison: Poison,
    /// The shard's log; none: this directory is all there is.
    pub(crate) log: OnceLock<Arc<LogState>>,
    pub(crate) changed: Notify,
    pub(crate) counters: StoreCounters,
    /// Random, made with the store.
    pub(crate) id: u64,
    /// Cursor of the last event.
    pub(crate) newest_event: watch::Sender<u64>,
    /// What is damaged in this store is so everywhere: it has no log, or was just made from it.
    pub(crate) is_anew: AtomicBool,
}

/// Runs what may wait for the disk off the IO workers.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(StoreError::Io(format!("internal fault: {e}"))),
    }
}

pub(crate) fn io_error(error: &io::Error) -> StoreError {
    if is_full(error) { StoreError::Full } else { StoreError::Io(error.to_string()) }
}

/// The log did not answer the last time.
pub(crate) fn log_away() -> StoreError {
    StoreError::Unavailable("the log of the shard is away: it did not answer lately".into())
}

/// A record as it was found.
pub(crate) enum RecordState<T> {
    Good(T),
    Damaged(String),
    Absent,
}

impl StoreCore {
    pub(crate) fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock()
    }

    /// The state of the log, where there is one.
    pub(crate) fn log(&self) -> Option<&LogState> {
        self.log.get().map(|state| &**state)
    }

    /// Refuses new mail while the log is away.
    pub(crate) fn check_log(&self) -> Result<(), StoreError> {
        match self.log() {
            Some(log) if !log.may_try() => Err(log_away()),
            _ => Ok(()),
        }
    }

    /// Something may have become due.
    pub(crate) fn announce(&self) {
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Octets beside the index. None when they moved or went meanwhile.
    pub(crate) fn blob(&self, item: ItemId, blob: Blob) -> Result<Option<Vec<u8>>, StoreError> {
        let BlobLocation::Segment { segment, offset } = blob.location else {
            return Err(StoreError::Io(format!("{item} is not in a segment")));
        };
        match self.segments.read(segment, offset, blob.size, blob.crc) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) if matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                Err(StoreError::Corrupt(format!("{item}: {e}")))
            }
            Err(e) => Err(io_error(&e)),
        }
    }

    /// An item's record as committed.
    pub(crate) fn item_record(&self, item: ItemId) -> Result<Option<ItemRecord>, StoreError> {
        let read =
            || -> Result<_, IndexError> { Ok(get_item(&self.index.read()?.open_table(ITEMS)?, item)?) };
        match read()? {
            RecordState::Good(record) => Ok(Some(record)),
            RecordState::Damaged(why) => Err(StoreError::Corrupt(format!("{item}: {why}"))),
            RecordState::Absent => Ok(None),
        }
    }

    /// An item's facts, with the recipe from wherever it is.
    pub(crate) fn meta(&self, item: ItemId) -> Result<Option<ItemMeta>, StoreError> {
        self.with_record(item, |record| match record.recipe {
            None => Ok(Some(record.meta.clone())),
            Some(blob) => Ok(self.blob(item, blob)?.map(|recipe| ItemMeta { recipe, ..record.meta.clone() })),
        })
    }

    /// Tries again when compaction moved what a record referred to between the look-up and the
    /// read.
    pub(crate) fn with_record<T>(
        &self,
        item: ItemId,
        read: impl Fn(&ItemRecord) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        for _ in 0..3 {
            let Some(record) = self.item_record(item)? else { return Ok(None) };
            if let Some(found) = read(&record)? {
                return Ok(Some(found));
            }
        }
        Err(StoreError::Corrupt(format!("{item}: its segment is gone")))
    }

    /// A delivery's record as committed.
    pub(crate) fn delivery_record(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>, StoreError> {
        let read = || -> Result<_, IndexError> {
            Ok(get_delivery(&self.index.read()?.open_table(DELIVERIES)?, id)?)
        };
        match read()? {
            RecordState::Good(record) => Ok(Some(record)),
            RecordState::Damaged(why) => {
                Err(StoreError::Corrupt(format!("{}.{}: {why}", id.item, id.number)))
            }
            RecordState::Absent => Ok(None),
        }
    }

    /// All deliveries of an item that can be read.
    pub(crate) fn deliveries_of(
        &self,
        item: ItemId,
    ) -> Result<Vec<(DeliveryId, DeliveryRecord)>, IndexError> {
        let table = self.index.read()?.open_table(DELIVERIES)?;
        let mut all = Vec::new();
        for row in delivery_rows(&table, item)? {
            if let (Some(id), Ok(record)) = (record::delivery_id(&row.0), record::unseal(&row.0, &row.1)) {
                all.push((id, record));
            }
        }
        Ok(all)
    }

    pub(crate) fn count(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

/// A key and its value.
pub(crate) type TableRow = (Vec<u8>, Vec<u8>);

/// The rows of an item's deliveries.
pub(crate) fn delivery_rows(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    item: ItemId,
) -> Result<Vec<TableRow>, redb::StorageError> {
    let first = record::delivery_key(DeliveryId { item, number: 0 });
    let last = record::delivery_key(DeliveryId { item, number: u32::MAX });
    let rows = table.range::<&[u8]>(first.as_slice()..=last.as_slice())?;
    rows.map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))).collect()
}

/// Reads an item's record.
pub(crate) fn get_item(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    item: ItemId,
) -> Result<RecordState<ItemRecord>, redb::StorageError> {
    Ok(found(table.get(item.0.as_slice())?.map(|v| record::unseal(&item.0, v.value()))))
}

/// Reads a delivery's record.
pub(crate) fn get_delivery(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    id: DeliveryId,
) -> Result<RecordState<DeliveryRecord>, redb::StorageError> {
    let key = record::delivery_key(id);
    Ok(found(table.get(key.as_slice())?.map(|v| record::unseal(&key, v.value()))))
}

fn found<T>(result: Option<Result<T, String>>) -> RecordState<T> {
    match result {
        Some(Ok(record)) => RecordState::Good(record),
        Some(Err(why)) => RecordState::Damaged(why),
        None => RecordState::Absent,
    }
}
