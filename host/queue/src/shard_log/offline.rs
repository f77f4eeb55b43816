//! What operators do with a shard while no node serves it: write its log anew, compare it with the
//! directory, or leave it.

use std::path::Path;
use std::sync::Arc;

use redb::{Key, ReadableTable as _, TableDefinition, TableError, Value};

use super::bind::{LogBinding, LogFailure, LogState, LogWriter};
use super::checkpoint::Checkpoint;
use super::replay;
use crate::OpenError;
use crate::disk::Disk;
use crate::generation;
use crate::index::{self, ITEMS, Index, IndexError, Tables};
use crate::layout::{DirectoryLock, Layout};
use crate::logged::put_applied;
use crate::record::{BlobLocation, ItemRecord};
use crate::recover;
use crate::segment::Segments;
use crate::store::StoreConfig;

/// Differences that are named.
const MOST: usize = 20;

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogComparison {
    /// Rows that both have.
    pub rows: u64,
    /// Octets of bodies, recipes and envelopes that both have.
    pub octets: u64,
    /// What differs, in words; the first ones.
    pub differences: Vec<String>,
}

fn log_error(failure: LogFailure) -> OpenError {
    match failure {
        LogFailure::Away(why) | LogFailure::Lost(why) => OpenError::Log { why },
    }
}

/// Appends everything that the directory has to the log, and trims what was there before. Returns the
/// octets that were written.
pub(crate) fn rebuild(
    root: &Path,
    disk: Arc<dyn Disk>,
    config: &StoreConfig,
    lock: Option<DirectoryLock>,
    binding: &LogBinding,
) -> Result<u64, OpenError> {
    let layout = Layout::new(root);
    let unreadable = |e: IndexError| OpenError::Index { path: layout.index(), why: format!("{e:?}") };
    let mut writer = recover::open_alone(root, disk, config, lock)?;
    let state = Arc::new(LogState::default());
    let mut log = LogWriter::take_over(binding, state.clone(), writer.inner.id).map_err(log_error)?;
    let (fence, sum) = (log.last, log.sum);
    log.checkpoint = Some(Checkpoint::new(fence));
    writer.bind(log, Some(state));
    let mark = || -> Result<(), IndexError> {
        let txn = writer.inner.index.write()?;
        put_applied(&txn, fence, sum)?;
        Ok(txn.commit()?)
    };
    writer.inner.index.guard(mark).map_err(unreadable)?;
    while writer.checkpoint_step().map_err(unreadable)? {}
    writer.inner.index.close();
    Ok(writer.log.map_or(0, |log| log.checkpointed))
}

/// How many messages the directory has whose ids name another shard.
pub(crate) fn items_outside(root: &Path, disk: &Arc<dyn Disk>, shard: u16) -> Result<u64, OpenError> {
    let layout = Layout::new(root);
    let (index, _) = generation::open_index(disk, &layout)?;
    let count = || -> Result<u64, IndexError> {
        let mut outside = 0;
        for row in index.read()?.open_table(ITEMS)?.iter()? {
            // An id is the time in six octets, then what names the shard.
            outside += u64::from(row?.0.value().get(6..8) != Some(&shard.to_be_bytes()));
        }
        Ok(outside)
    };
    let counted = index.guard(count);
    index.close();
    counted.map_err(|e| OpenError::Index { path: layout.index(), why: format!("{e:?}") })
}

/// Makes the directory one without a log. Whatever the log has stays in it.
pub(crate) fn leave(root: &Path, disk: &Arc<dyn Disk>) -> Result<(), OpenError> {
    let layout = Layout::new(root);
    let unreadable = |e: IndexError| OpenError::Index { path: layout.index(), why: format!("{e:?}") };
    let (index, _) = generation::open_index(disk, &layout)?;
    let forget = || -> Result<(), IndexError> {
        let txn = index.write()?;
        let mut tables = Tables::open(&txn)?;
        tables.meta.remove(index::APPLIED)?;
        tables.meta.remove(index::APPLIED_SUM)?;
        drop(tables);
        Ok(txn.commit()?)
    };
    index.guard(forget).map_err(unreadable)?;
    index.close();
    Ok(())
}

/// Reads the log into `scratch`, an empty directory, and compares what comes of it with the directory.
/// Nobody is fenced.
pub(crate) fn verify(
    root: &Path,
    scratch: &Path,
    disk: &Arc<dyn Disk>,
    config: &StoreConfig,
    binding: &LogBinding,
) -> Result<LogComparison, OpenError> {
    let layouts = (Layout::new(root), Layout::new(scratch));
    layouts.1.make_dirs(disk.as_ref())?;
    replay::read_whole(disk, &layouts.1, binding)?;
    let open = |layout: &Layout| -> Result<_, OpenError> {
        let segments = Segments::open(disk.clone(), layout.clone(), config.segment_size);
        let (segments, _) = segments.map_err(|error| OpenError::Io { path: layout.segments(), error })?;
        Ok(Side { index: generation::open_index(disk, layout)?.0, segments })
    };
    let (own, log) = (open(&layouts.0)?, open(&layouts.1)?);
    let mut found = LogComparison::default();
    let compared = own.index.guard(|| compare(&own, &log, &mut found));
    own.index.close();
    log.index.close();
    compared.map_err(|e| OpenError::Index { path: layouts.0.index(), why: format!("{e:?}") })?;
    Ok(found)
}

struct Side {
    index: Index,
    segments: Segments,
}

impl LogComparison {
    fn differs(&mut self, what: String) {
        if self.differences.len() < MOST {
            self.differences.push(what);
        }
    }
}

fn compare(own: &Side, log: &Side, found: &mut LogComparison) -> Result<(), IndexError> {
    table(own, log, index::ITEMS, "items", found)?;
    table(own, log, index::DELIVERIES, "deliveries", found)?;
    table(own, log, index::EVENTS, "events", found)?;
    table(own, log, index::TENANT_EVENTS, "tenant-events", found)?;
    table(own, log, index::TENANT_MESSAGES, "tenant-messages", found)?;
    table(own, log, index::MESSAGE_EVENTS, "message-events", found)?;
    table(own, log, index::REQUESTS, "requests", found)?;
    table(own, log, index::REQUEST_TIMES, "request-times", found)?;
    blobs(own, log, found)
}

/// Both are in order: one pass.
fn table<K: Key + 'static, V: Value + 'static>(
    own: &Side,
    log: &Side,
    definition: TableDefinition<'_, K, V>,
    name: &str,
    found: &mut LogComparison,
) -> Result<(), IndexError> {
    let rows = |side: &Side| -> Result<Vec<(Vec<u8>, u32)>, IndexError> {
        let table = match side.index.read()?.open_table(definition) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table?,
        };
        let row = |row: Result<_, redb::StorageError>| -> Result<_, IndexError> {
            let (key, value): (redb::AccessGuard<'_, K>, redb::AccessGuard<'_, V>) = row?;
            let (key, value) = (key.value(), value.value());
            Ok((K::as_bytes(&key).as_ref().to_vec(), crc32fast::hash(V::as_bytes(&value).as_ref())))
        };
        table.iter()?.map(row).collect()
    };
    let (mine, theirs) = (rows(own)?, rows(log)?);
    let theirs: std::collections::BTreeMap<_, _> = theirs.into_iter().collect();
    let mut both = 0;
    for (key, sum) in &mine {
        match theirs.get(key) {
            Some(other) if other == sum => both += 1,
            Some(_) => found.differs(format!("{name}: a row is another one in the log")),
            None => found.differs(format!("{name}: the log lacks a row")),
        }
    }
    if theirs.len() > mine.len() {
        found.differs(format!("{name}: the log has {} rows more", theirs.len() - mine.len()));
    }
    found.rows += both;
    Ok(())
}

/// What items refer to in segments.
fn blobs(own: &Side, log: &Side, found: &mut LogComparison) -> Result<(), IndexError> {
    let table = match own.index.read()?.open_table(index::ITEMS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        table => table?,
    };
    for row in table.iter()? {
        let (key, value) = row?;
        let Ok(item) = crate::record::unseal::<ItemRecord>(key.value(), value.value()) else { continue };
        for blob in item.blobs() {
            let BlobLocation::Segment { segment, offset } = blob.location else { continue };
            let read = |side: &Side| side.segments.read(segment, offset, blob.size, blob.crc);
            match (read(own), read(log)) {
                (Ok(_), Ok(_)) => found.octets += blob.size,
                (Err(error), _) => found.differs(format!("the directory: {error} (segment {segment:08x})")),
                (_, Err(error)) => found.differs(format!("the log: {error} (segment {segment:08x})")),
            }
        }
    }
    Ok(())
}
