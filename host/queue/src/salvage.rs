//! `relevo queue recover`: an index from what bodies and segments still tell.
//!
//! Each message has an envelope in a segment: how it was accepted. What became of it since was in
//! the index alone. So a message that is found again is held, unless the operator wants it sent:
//! some of its recipients may have it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redb::{ReadableTable, ReadableTableMetadata};

use crate::disk::Disk;
use crate::group::QueueWriter;
use crate::index::{self, DELIVERIES, EVENTS, ITEMS, Index, IndexError, Tables};
use crate::inner::StoreCore;
use crate::layout::{DirectoryLock, Layout, StoreMark, parse_body_name};
use crate::record::{self, Blob, BlobLocation, DeliveryRecord, EnvelopeRecord, ItemRecord};
use crate::request::Op;
use crate::segment::{Frame, Kind};
use crate::{ItemId, NewDelivery, OpenError, StoreConfig, generation, recover};

/// What `recover` found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Messages that the index still had.
    pub kept: u64,
    /// Messages that were found beside it and queued again.
    pub found: u64,
    /// Files in `quarantine/` that were moved or written there.
    pub quarantined: Vec<String>,
}

/// What is left of a message beside the index.
#[derive(Default)]
struct Remains {
    body: Option<Blob>,
    recipe: Option<Blob>,
    envelope: Option<Blob>,
}

/// See the module.
pub(crate) fn recover(
    root: &Path,
    disk: Arc<dyn Disk>,
    config: &StoreConfig,
    lock: Option<DirectoryLock>,
    release: bool,
) -> Result<Recovered, OpenError> {
    let layout = Layout::new(root);
    layout.make_dirs(disk.as_ref())?;
    match layout.read_mark(disk.as_ref()) {
        Ok(_) | Err(OpenError::NotAStore { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut report = Recovered::default();
    let failed = |error: IndexError| OpenError::Index { path: layout.index(), why: format!("{error:?}") };
    let io_failed = |error: io::Error| OpenError::Io { path: root.to_path_buf(), error };
    let (index, mark) = best_index(&disk, &layout, &mut report)?;
    let base = index.counter(index::SEQUENCE).map_err(failed)?;
    let segments = recover::open_segments(&disk, &layout, config)?;
    let (mut writer, found) = recover::start(root, disk, config, lock, index, segments, mark)?;
    writer.quarantine_all(found.damaged);
    report.kept = items(&writer.inner);
    let (remains, latest) = look_round(&writer.inner, base).map_err(io_failed)?;
    adopt(&mut writer, remains, release, &mut report).map_err(io_failed)?;
    raise_sequence(&writer.inner.index, latest).map_err(failed)?;
    writer.inner.poison.check().map_err(|e| OpenError::Index { path: layout.index(), why: e.to_string() })?;
    writer.inner.index.close();
    Ok(report)
}

fn items(inner: &StoreCore) -> u64 {
    inner.counters.items.load(Ordering::Relaxed)
}

/// The index that is there, if it can be read; else a new one, and the old one goes to quarantine.
fn best_index(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    report: &mut Recovered,
) -> Result<(Index, StoreMark), OpenError> {
    let failed = |error: io::Error| OpenError::Io { path: layout.index(), error };
    match disk.open(&layout.index(), false).and_then(|file| file.size()) {
        Ok(0) => disk.remove(&layout.index()).map_err(failed)?,
        Ok(_) => {
            if let Some(found) = readable(disk, layout) {
                return Ok(found);
            }
            let names = disk.list(&layout.quarantine()).map_err(failed)?;
            let free = (1..).map(|n| format!("index.redb.{n}")).find(|name| !names.contains(name));
            let name = free.unwrap_or_default();
            disk.rename(&layout.index(), &layout.quarantine().join(&name)).map_err(failed)?;
            disk.sync_dir(&layout.quarantine()).map_err(failed)?;
            report.quarantined.push(name);
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let mark = generation::new_mark(layout)?;
    let index = Index::open(disk.clone(), layout.clone(), Some(mark.store));
    let index = index.map_err(|e| OpenError::Index { path: layout.index(), why: format!("{e:?}") })?;
    Ok((index, mark))
}

/// An index all of whose rows can be reached.
fn readable(disk: &Arc<dyn Disk>, layout: &Layout) -> Option<(Index, StoreMark)> {
    let index = Index::open(disk.clone(), layout.clone(), None).ok()?;
    let read = || -> Result<StoreMark, IndexError> {
        let txn = index.read()?;
        for table in [ITEMS, DELIVERIES] {
            for row in txn.open_table(table)?.iter()? {
                drop(row?);
            }
        }
        txn.open_table(EVENTS)?.len()?;
        let (store, generation) = (index.counter(index::STORE)?, index.counter(index::EPOCH)?);
        Ok(StoreMark { store, generation })
    };
    let mark = index.guard(read).ok()?;
    Some((index, mark))
}

type AllRemains = BTreeMap<ItemId, Remains>;

/// All that came with a later commit than `base`, and the latest commit of all.
fn look_round(inner: &StoreCore, base: u64) -> io::Result<(AllRemains, u64)> {
    let (mut all, mut latest) = (AllRemains::new(), base);
    for number in inner.segments.numbers() {
        for Frame { item, kind, blob, sequence } in inner.segments.walk(number)? {
            latest = latest.max(sequence);
            if sequence > base {
                let remains = all.entry(item).or_default();
                match Kind::of(kind) {
                    Kind::Body => remains.body = Some(blob),
                    Kind::Recipe => remains.recipe = Some(blob),
                    Kind::Envelope => remains.envelope = Some(blob),
                }
            }
        }
    }
    for name in inner.disk.list(&inner.layout.bodies())? {
        let Some((item, sequence)) = parse_body_name(&name) else { continue };
        latest = latest.max(sequence);
        if sequence > base {
            let size = inner.disk.open(&inner.layout.bodies().join(&name), false)?.size()?;
            let blob = Blob { location: BlobLocation::File { sequence }, size, crc: 0 };
            all.entry(item).or_default().body = Some(blob);
        }
    }
    Ok((all, latest))
}

/// Queues what can be rebuilt; the bodies of the rest go to quarantine.
fn adopt(
    writer: &mut QueueWriter,
    remains: AllRemains,
    release: bool,
    report: &mut Recovered,
) -> io::Result<()> {
    let inner = writer.inner.clone();
    let (mut ops, mut lost) = (Vec::new(), Vec::new());
    for (item, remains) in remains {
        match inner.item_record(item) {
            Ok(None) => {}
            // What the index has, or had in quarantine, is not for us.
            Ok(Some(_)) | Err(_) => continue,
        }
        match rebuild(&inner, item, &remains, release) {
            Some(found) => ops.push(Op::Adopt { items: vec![found] }),
            None => lost.extend(remains.body.map(|body| (item, body))),
        }
    }
    let before = items(&inner);
    writer.on_own_account(ops);
    report.found = items(&inner) - before;
    for (item, body) in lost {
        let name = format!("{item}.eml");
        let to = inner.layout.quarantine().join(&name);
        match body.location {
            BlobLocation::File { sequence } => inner.disk.rename(&inner.layout.body(item, sequence), &to)?,
            BlobLocation::Segment { .. } => {
                let file = inner.disk.open(&to, true)?;
                file.set_len(0)?;
                file.write_at(0, &inner.segments.read_damaged(body)?)?;
                file.sync()?;
            }
        }
        report.quarantined.push(name);
    }
    inner.disk.sync_dir(&inner.layout.quarantine())
}

fn rebuild(
    inner: &StoreCore,
    item: ItemId,
    remains: &Remains,
    release: bool,
) -> Option<(ItemId, ItemRecord, Vec<NewDelivery>)> {
    let (at, mut body) = (remains.envelope?, remains.body?);
    let bytes = inner.blob(item, at).ok()??;
    let envelope: EnvelopeRecord = record::unseal(&item.0, &bytes).ok()?;
    if body.size != envelope.meta.size {
        return None;
    }
    match body.location {
        // Its chunks are checked as they are read.
        BlobLocation::File { .. } => body.crc = 0,
        BlobLocation::Segment { .. } => drop(inner.blob(item, body).ok()??),
    }
    let deliveries = envelope.deliveries.into_iter().map(|delivery| again(delivery, release)).collect();
    let recipe = remains.recipe.filter(|_| envelope.meta.recipe.is_empty());
    let record = ItemRecord { meta: envelope.meta, body, recipe, sums: envelope.sums, envelope: Some(at) };
    Some((item, record, deliveries))
}

fn again(delivery: DeliveryRecord, release: bool) -> NewDelivery {
    NewDelivery {
        key: delivery.key,
        hold_reason: delivery.hold_reason,
        recipients: delivery.recipients,
        due_at: delivery.due_at,
        priority: delivery.priority,
        held: delivery.held || !release,
        last: delivery.last,
    }
}

/// The next commit comes after everything that is in segments and bodies.
fn raise_sequence(index: &Index, latest: u64) -> Result<(), IndexError> {
    let txn = index.write()?;
    let mut tables = Tables::open(&txn)?;
    let now = tables.meta.get(index::SEQUENCE)?.map_or(0, |v| v.value());
    tables.meta.insert(index::SEQUENCE, now.max(latest))?;
    drop(tables);
    txn.commit()?;
    Ok(())
}
