//! Opening the store: one scan of the index brings back what memory held. What is damaged is found
//! here and moved to quarantine.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use redb::{ReadableTable, ReadableTableMetadata};

use crate::disk::Disk;
use crate::draft::change;
use crate::group::QueueWriter;
use crate::index::{self, DELIVERIES, ITEMS, Index, IndexError, QUARANTINE};
use crate::inner::{StoreCore, TableRow};
use crate::layout::{DirectoryLock, Layout, StoreMark, parse_body_name};
use crate::record::{self, Blob, BlobLocation, DeliveryRecord, ItemRecord};
use crate::request::Damaged;
use crate::schedule::Schedule;
use crate::segment::{Appender, Segments};
use crate::shard_log::bind::{LogBinding, LogState};
use crate::shard_log::{anew, replay};
use crate::space::Space;
use crate::{DeliveryId, ItemId, OpenError, StoreConfig, generation};

/// Opens what is in `root`, and makes it ready for the writer.
pub(crate) fn open(
    root: &Path,
    disk: Arc<dyn Disk>,
    config: &StoreConfig,
    lock: Option<DirectoryLock>,
    binding: Option<&LogBinding>,
) -> Result<QueueWriter, OpenError> {
    let layout = Layout::new(root);
    layout.make_dirs(disk.as_ref())?;
    let Some(binding) = binding else {
        return Ok(QueueWriter { lock, ..open_once(root, disk, config, None, true)? });
    };
    let opened = match anew::is_damaged(disk.as_ref(), &layout) {
        true => Err(OpenError::Index { path: layout.index(), why: "damage was found".into() }),
        false => open_once(root, disk.clone(), config, Some(binding), false),
    };
    let opened = match opened {
        Err(error) if anew::tells_damage(&error) => {
            if !anew::set_aside(&disk, &layout, binding)? {
                return Err(error);
            }
            tracing::error!(%error, "the directory is damaged: it is made anew from the log, and kept in `damaged`");
            open_once(root, disk, config, Some(binding), true)?
        }
        opened => opened?,
    };
    Ok(QueueWriter { lock, ..opened })
}

/// `is_anew`: what is damaged is so in the log, too, or there is none.
fn open_once(
    root: &Path,
    disk: Arc<dyn Disk>,
    config: &StoreConfig,
    binding: Option<&LogBinding>,
    is_anew: bool,
) -> Result<QueueWriter, OpenError> {
    let layout = Layout::new(root);
    let state = binding.map(|_| Arc::new(LogState::default()));
    let log = match binding.zip(state.clone()) {
        Some((binding, state)) => Some(replay::take_over(&disk, &layout, binding, state)?),
        None => None,
    };
    let (segments, appender) = open_segments(&disk, &layout, config)?;
    let (index, mark) = generation::open_index(&disk, &layout)?;
    if log.is_none() {
        refuse_logged(&layout, &index)?;
    }
    generation::check(&disk, &layout, &index, &segments, mark)?;
    let (mut writer, scan) = start(root, disk, config, None, index, (segments, appender), mark)?;
    writer.inner.is_anew.store(is_anew, Ordering::Relaxed);
    if let (Some((what, why)), false) = (scan.damaged.first(), is_anew) {
        writer.inner.index.close();
        return Err(OpenError::Index { path: layout.index(), why: format!("{what:?}: {why}") });
    }
    let is_logged = log.is_some();
    if let Some(log) = log {
        writer.bind(log, state);
    }
    writer.quarantine_all(scan.damaged);
    if is_logged {
        // What is damaged later is so in this directory only.
        writer.inner.is_anew.store(false, Ordering::Relaxed);
    }
    let inner = writer.inner.clone();
    inner.segments.sweep(&writer.appender);
    remove_orphans(&inner, &scan.files);
    Ok(writer)
}

/// As [`open`] without a log, whether the directory has one or not.
pub(crate) fn open_alone(
    root: &Path,
    disk: Arc<dyn Disk>,
    config: &StoreConfig,
    lock: Option<DirectoryLock>,
) -> Result<QueueWriter, OpenError> {
    let layout = Layout::new(root);
    layout.make_dirs(disk.as_ref())?;
    let (segments, appender) = open_segments(&disk, &layout, config)?;
    let (index, mark) = generation::open_index(&disk, &layout)?;
    generation::check(&disk, &layout, &index, &segments, mark)?;
    let (mut writer, scan) = start(root, disk, config, lock, index, (segments, appender), mark)?;
    writer.quarantine_all(scan.damaged);
    Ok(writer)
}

/// A directory with a log must not be written without it: the log would lack what is promised then.
fn refuse_logged(layout: &Layout, index: &Index) -> Result<(), OpenError> {
    match replay::applied(index) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => {
            let why = format!(
                "{} belongs to a shard with a log: name the engine in [cluster], or leave the shard for good with \
                 `relevo shard leave`",
                layout.root().display()
            );
            Err(OpenError::Log { why })
        }
        Err(error) => Err(OpenError::Index { path: layout.index(), why: format!("{error:?}") }),
    }
}

pub(crate) fn open_segments(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    config: &StoreConfig,
) -> Result<(Segments, Appender), OpenError> {
    let segments = Segments::open(disk.clone(), layout.clone(), config.segment_size);
    segments.map_err(|error| OpenError::Io { path: layout.segments(), error })
}

/// Counts this start and brings back what memory held. Nothing is removed yet.
pub(crate) fn start(
    root: &Path,
    disk: Arc<dyn Disk>,
    config: &StoreConfig,
    lock: Option<DirectoryLock>,
    index: Index,
    (segments, appender): (Segments, Appender),
    mark: StoreMark,
) -> Result<(QueueWriter, ScanFindings), OpenError> {
    let layout = Layout::new(root);
    let space = Space::new(root.to_path_buf(), config.min_free, layout.reserve(), config.reserve);
    let generation = generation::begin(&disk, &layout, &index, &space, mark)?;
    space.allocate(disk.as_ref());
    let damaged_index =
        |error: IndexError| OpenError::Index { path: layout.index(), why: format!("{error:?}") };
    let epoch = u32::try_from(generation % u64::from(u32::MAX)).unwrap_or(1);
    let newest_event = index.guard(|| index.counter(index::CURSOR)).map_err(damaged_index)?;
    let inner = Arc::new(StoreCore {
        space,
        schedule: Mutex::new(Schedule::new(epoch)),
        disk,
        layout: layout.clone(),
        index,
        segments,
        damaged: crate::checked::DamagedBodies::default(),
        recent: crate::recent::Recent::default(),
        spool_memory: crate::spool::SpoolMemory::new(config.spool_memory),
        young: config.compact_after,
        poison: crate::inner::Poison::default(),
        log: std::sync::OnceLock::new(),
        changed: tokio::sync::Notify::new(),
        counters: crate::inner::StoreCounters::default(),
        id: mark.store,
        newest_event: tokio::sync::watch::Sender::new(newest_event),
        is_anew: AtomicBool::new(true),
    });
    let mut scan = IndexScan { inner: &inner, found: ScanFindings::default() };
    inner.index.guard(|| scan.run()).map_err(damaged_index)?;
    let found = scan.found;
    Ok((QueueWriter { inner, appender, lock, detached: None, log: None }, found))
}

/// What a scan found beside what is in order.
#[derive(Default)]
pub(crate) struct ScanFindings {
    pub(crate) damaged: Vec<(Damaged, String)>,
    /// Names of the body files that items refer to.
    pub(crate) files: BTreeSet<String>,
}

struct IndexScan<'a> {
    inner: &'a StoreCore,
    found: ScanFindings,
}

impl IndexScan<'_> {
    /// Items and deliveries are in the same order: one pass over both.
    fn run(&mut self) -> Result<(), IndexError> {
        let txn = self.inner.index.read()?;
        let (items, deliveries) = (txn.open_table(ITEMS)?, txn.open_table(DELIVERIES)?);
        let quarantined = txn.open_table(QUARANTINE)?.len()?;
        self.inner.counters.quarantined.store(quarantined, Ordering::Relaxed);
        let mut rows = deliveries
            .iter()?
            .map(|row| row.map(|(k, v)| (k.value().to_vec(), v.value().to_vec())))
            .peekable();
        for row in items.iter()? {
            let (key, value) = row?;
            let Some(id) = record::item_id(key.value()) else {
                let row = Damaged::Row { table: "items", key: key.value().to_vec() };
                self.found.damaged.push((row, "the key is not an id".into()));
                continue;
            };
            let mut own = Vec::new();
            while let Some(row) =
                rows.next_if(|r| r.as_ref().map_or(true, |(k, _)| k.as_slice() <= after(id).as_slice()))
            {
                let row = row?;
                if row.0.starts_with(&id.0) { own.push(row) } else { self.orphan(&row.0) }
            }
            self.item(id, value.value(), &own);
        }
        for row in rows {
            self.orphan(&row?.0);
        }
        Ok(())
    }

    fn item(&mut self, id: ItemId, value: &[u8], rows: &[TableRow]) {
        self.inner.counters.items.fetch_add(1, Ordering::Relaxed);
        let record: ItemRecord = match record::unseal(&id.0, value) {
            Ok(record) => record,
            Err(why) => return self.found.damaged.push((Damaged::Item(id), why)),
        };
        for blob in record.blobs() {
            self.inner.segments.count(blob, true);
            if let Err(why) = self.look(id, blob) {
                self.found.damaged.push((Damaged::Item(id), why));
                return;
            }
        }
        let mut schedule = self.inner.schedule();
        let (mut pending, mut unreported) = (false, 0);
        let mut damaged = Vec::new();
        for (key, value) in rows {
            let Some(delivery) = record::delivery_id(key) else {
                let row = Damaged::Row { table: "deliveries", key: key.clone() };
                damaged.push((row, "the key is not that of a delivery".into()));
                continue;
            };
            match record::unseal::<DeliveryRecord>(key, value) {
                Ok(found) => {
                    unreported += found.unreported();
                    if found.pending() {
                        pending = true;
                        let change = change(delivery, &found, &record.meta, false);
                        schedule.insert(&change, &found.belongs(&record.meta.tenant));
                    }
                }
                Err(why) => damaged.push((Damaged::Delivery(delivery), why)),
            }
        }
        schedule.set_unreported(id, unreported);
        if !pending && unreported == 0 && damaged.is_empty() {
            damaged.push((Damaged::Item(id), "it has no delivery".into()));
        }
        self.found.damaged.append(&mut damaged);
    }

    /// Whether the octets exist; their checksum is for the reader.
    fn look(&mut self, id: ItemId, blob: Blob) -> Result<(), String> {
        match blob.location {
            BlobLocation::Segment { segment, offset }
                if self.inner.segments.contains(segment, offset, blob.size) =>
            {
                Ok(())
            }
            BlobLocation::Segment { segment, .. } => Err(format!("segment {segment:08x} does not hold it")),
            BlobLocation::File { sequence } => {
                let path = self.inner.layout.body(id, sequence);
                self.found.files.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
                let size = self.inner.disk.open(&path, false).and_then(|f| f.size());
                match size {
                    Ok(size) if size == blob.size => Ok(()),
                    Ok(size) => Err(format!("the body has {size} octets instead of {}", blob.size)),
                    Err(error) => Err(format!("body: {error}")),
                }
            }
        }
    }

    fn orphan(&mut self, key: &[u8]) {
        let what = match record::delivery_id(key) {
            Some(id) => Damaged::Delivery(id),
            None => Damaged::Row { table: "deliveries", key: key.to_vec() },
        };
        self.found.damaged.push((what, "it belongs to no item".into()));
    }
}

/// The last key that a delivery of this item can have.
fn after(item: ItemId) -> [u8; 20] {
    record::delivery_key(DeliveryId { item, number: u32::MAX })
}

/// Removes what an earlier run left behind: spool files, and bodies whose item was never committed
/// or is gone. A name that is not ours goes to quarantine.
fn remove_orphans(inner: &StoreCore, files: &BTreeSet<String>) {
    let (spool, bodies) = (inner.layout.spool(), inner.layout.bodies());
    for (dir, keep) in [(&spool, None), (&bodies, Some(files))] {
        let names = inner.disk.list(dir).unwrap_or_default();
        for name in names.iter().filter(|n| keep.is_none_or(|keep| !keep.contains(*n))) {
            let path = dir.join(name);
            let ours = keep.is_none() || parse_body_name(name).is_some();
            let gone = match ours {
                true => inner.disk.remove(&path),
                false => inner.disk.rename(&path, &inner.layout.quarantine().join(name)),
            };
            if let Err(error) = gone {
                tracing::warn!(%error, name, "an orphan could not be removed");
            }
        }
    }
}
