//! Takes a shard over: reads its log into the directory, so that it can be opened as any other.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::bind::{LogBinding, LogFailure, LogState, LogWriter};
use super::record::{RowChange, ShardRecord, sum_of};
use super::{LogBounds, LogError, Seq};
use crate::OpenError;
use crate::disk::Disk;
use crate::generation;
use crate::index::{self, Index, IndexError, Tables};
use crate::layout::{Layout, StoreMark};

/// Octets of the log that are read and applied at once.
const PAGE: usize = 8 << 20;

/// Brings the directory to the state of the log, of which this process is the owner from now on.
pub(crate) fn take_over(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    binding: &LogBinding,
    state: Arc<LogState>,
) -> Result<LogWriter, OpenError> {
    let away = |error: LogError| OpenError::Log { why: error.to_string() };
    let bounds = binding.runtime.block_on(binding.log.bounds()).map_err(away)?;
    let of_log = store_of(binding, bounds)?;
    refuse_newer(binding, bounds)?;
    let (mut index, store) = match layout.read_mark(disk.as_ref())?.filter(|mark| mark.generation > 0) {
        Some(mark) if of_log.is_some_and(|store| store != mark.store) => {
            let why = format!(
                "{} has another store than the log: give the shard the directory that it had, or none",
                layout.root().display()
            );
            return Err(OpenError::Log { why });
        }
        Some(mark) => (generation::open_index(disk, layout)?.0, mark.store),
        None => begin(disk, layout, of_log)?,
    };
    let applied = check(layout, &index, bounds)?;
    if let Some(seq) = other_record(layout, &index, binding, (applied, bounds))? {
        return Err(OpenError::OtherHistory { path: layout.root().to_path_buf(), seq });
    }
    if of_log.is_some() && applied + 1 < bounds.first {
        tracing::info!(
            directory = %layout.root().display(),
            "the log no longer has what this directory lacks: it is read from its beginning"
        );
        index.close();
        clear(disk, layout)?;
        index = begin(disk, layout, Some(store))?.0;
    }
    let log = LogWriter::take_over(binding, state, store).map_err(|failure| match failure {
        LogFailure::Away(why) | LogFailure::Lost(why) => OpenError::Log { why },
    })?;
    let applied = index.guard(|| index.counter(index::APPLIED)).map_err(|e| unreadable(layout, &e))?;
    let first = if of_log.is_some() { bounds.first.max(applied + 1) } else { 1 };
    let mut replay =
        Replay { disk, layout, index: &index, store, parts: Vec::new(), done: applied, sum: None };
    replay.run(&log, first)?;
    index.close();
    Ok(log)
}

/// Reads the whole log into an empty directory.
pub(crate) fn read_whole(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    binding: &LogBinding,
) -> Result<(), OpenError> {
    let away = |error: LogError| OpenError::Log { why: error.to_string() };
    let bounds = binding.runtime.block_on(binding.log.bounds()).map_err(away)?;
    let Some(store) = store_of(binding, bounds)? else {
        return Err(OpenError::Log { why: "the log is empty".into() });
    };
    let (index, store) = begin(disk, layout, Some(store))?;
    let log = LogWriter::to_read(binding, store, bounds);
    let mut replay = Replay { disk, layout, index: &index, store, parts: Vec::new(), done: 0, sum: None };
    replay.run(&log, bounds.first)?;
    index.close();
    Ok(())
}

/// The store whose log it is; none: the log is new.
pub(crate) fn store_of(binding: &LogBinding, bounds: LogBounds) -> Result<Option<u64>, OpenError> {
    if bounds.last == 0 {
        return Ok(None);
    }
    let damaged = |why: String| OpenError::Log { why };
    let records = binding.runtime.block_on(binding.log.read(bounds.first, 1));
    let records = records.map_err(|error| damaged(error.to_string()))?;
    let first = records.first().ok_or_else(|| damaged("the log has no record".into()))?;
    let record = ShardRecord::decode(first.seq, &first.octets);
    Ok(Some(record.map_err(|why| damaged(format!("record {}: {why}", first.seq)))?.store))
}

/// Refuses a log to which a newer relay writes, before its owner is fenced off for nothing: another node
/// of its version takes it.
fn refuse_newer(binding: &LogBinding, bounds: LogBounds) -> Result<(), OpenError> {
    if bounds.last < bounds.first {
        return Ok(());
    }
    let records = binding.runtime.block_on(binding.log.read(bounds.last, 1));
    let records = records.map_err(|error| OpenError::Log { why: error.to_string() })?;
    let last = records.first();
    match last.and_then(|last| ShardRecord::newer_version(last.seq, &last.octets)) {
        Some(version) => {
            let why = format!(
                "record {} has version {version}, which is not known: a newer relay wrote it, and takes the shard; \
                 upgrade this node",
                bounds.last
            );
            Err(OpenError::Log { why })
        }
        None => Ok(()),
    }
}

/// Makes an empty directory for the log's store, or for a new one.
fn begin(disk: &Arc<dyn Disk>, layout: &Layout, store: Option<u64>) -> Result<(Index, u64), OpenError> {
    let mark = match store {
        Some(store) => StoreMark { store, generation: 0 },
        None => generation::new_mark(layout)?,
    };
    match disk.remove(&layout.index()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(OpenError::Io { path: layout.index(), error });
        }
        _ => {}
    }
    layout.write_first_mark(disk.as_ref(), mark)?;
    let unread = |e: IndexError| unreadable(layout, &e);
    let index = Index::open(disk.clone(), layout.clone(), Some(mark.store)).map_err(unread)?;
    let count = || -> Result<(), IndexError> {
        let txn = index.write()?;
        let mut tables = Tables::open(&txn)?;
        tables.meta.insert(index::EPOCH, 1)?;
        tables.meta.insert(index::APPLIED, 0)?;
        drop(tables);
        Ok(txn.commit()?)
    };
    index.guard(count).map_err(unread)?;
    layout.write_mark(disk.as_ref(), StoreMark { generation: 1, ..mark })?;
    Ok((index, mark.store))
}

/// Forgets what the directory has.
fn clear(disk: &Arc<dyn Disk>, layout: &Layout) -> Result<(), OpenError> {
    for dir in [layout.segments(), layout.bodies(), layout.spool()] {
        let fail = |error| OpenError::Io { path: dir.clone(), error };
        for name in disk.list(&dir).map_err(fail)? {
            disk.remove(&dir.join(name)).map_err(fail)?;
        }
    }
    Ok(())
}

/// The last record that the directory has, if it can be one of this log.
fn check(layout: &Layout, index: &Index, bounds: LogBounds) -> Result<Seq, OpenError> {
    let applied = applied(index).map_err(|e| unreadable(layout, &e))?;
    let root = layout.root().display();
    let why = match applied {
        Some(applied) if applied <= bounds.last => return Ok(applied),
        Some(applied) => format!(
            "the log ends with record {}, and {root} has {applied}: the engine lost what it had acknowledged. Run \
             `relevo shard rebuild`, which writes the log anew from this directory",
            bounds.last
        ),
        None => format!(
            "{root} was written without a log. Run `relevo shard rebuild`, which writes a log from it"
        ),
    };
    Err(OpenError::Log { why })
}

/// The record that the directory has last, if the log has another one in its place: it would take what
/// follows there for what follows here.
fn other_record(
    layout: &Layout,
    index: &Index,
    binding: &LogBinding,
    (applied, bounds): (Seq, LogBounds),
) -> Result<Option<Seq>, OpenError> {
    if applied < bounds.first || applied == 0 {
        return Ok(None);
    }
    let own = index.guard(|| {
        let meta = index.read()?.open_table(index::META)?;
        Ok(meta.get(index::APPLIED_SUM)?.map(|value| value.value()))
    });
    let own = own.map_err(|error| unreadable(layout, &error))?;
    let records = binding.runtime.block_on(binding.log.read(applied, 1));
    let records = records.map_err(|error| OpenError::Log { why: error.to_string() })?;
    let is_other = records.first().is_none_or(|record| own.is_some_and(|own| own != sum_of(&record.octets)));
    Ok(is_other.then_some(applied))
}

/// The last record of a log that is in the directory; none: it never had one.
pub(crate) fn applied(index: &Index) -> Result<Option<Seq>, IndexError> {
    index.guard(|| {
        let meta = index.read()?.open_table(index::META)?;
        Ok(meta.get(index::APPLIED)?.map(|value| value.value()))
    })
}

fn unreadable(layout: &Layout, error: &IndexError) -> OpenError {
    if matches!(error, IndexError::Full) {
        return OpenError::Io { path: layout.index(), error: io::ErrorKind::StorageFull.into() };
    }
    OpenError::Index { path: layout.index(), why: format!("{error:?}") }
}

struct Replay<'a> {
    disk: &'a Arc<dyn Disk>,
    layout: &'a Layout,
    index: &'a Index,
    store: u64,
    /// Records of a change that is not whole yet.
    parts: Vec<ShardRecord>,
    /// The last record that was applied.
    done: Seq,
    /// Its checksum; none: it was there before.
    sum: Option<u64>,
}

impl Replay<'_> {
    fn run(&mut self, log: &LogWriter, first: Seq) -> Result<(), OpenError> {
        let mut next = first;
        while next <= log.last {
            let records = log.read(next, PAGE).map_err(|error| OpenError::Log { why: error.to_string() })?;
            if records.is_empty() {
                return Err(OpenError::Log { why: format!("record {next} of the log is missing") });
            }
            let mut changes = Vec::new();
            for record in records {
                if record.seq != next {
                    let why = format!("record {} came where {next} was to come", record.seq);
                    return Err(OpenError::Log { why });
                }
                self.add(record.seq, &record.octets, &mut changes)?;
                next += 1;
            }
            self.apply(changes)?;
        }
        Ok(())
    }

    /// Adds what is whole with this record to `changes`.
    fn add(&mut self, seq: Seq, octets: &[u8], changes: &mut Vec<ShardRecord>) -> Result<(), OpenError> {
        let damaged = |why: String| OpenError::Log { why: format!("record {seq} of the log: {why}") };
        let record = ShardRecord::decode(seq, octets).map_err(damaged)?;
        if record.store != self.store {
            return Err(damaged("it is of another store".into()));
        }
        if record.part == 0 {
            // The owner before ended within a change.
            self.parts.clear();
        }
        if record.part as usize != self.parts.len() {
            return Err(damaged("a part before it is missing".into()));
        }
        let goes_on = record.goes_on;
        self.parts.push(record);
        if !goes_on {
            changes.append(&mut self.parts);
            (self.done, self.sum) = (seq, Some(sum_of(octets)));
        }
        Ok(())
    }

    /// Files first, then one transaction.
    fn apply(&self, changes: Vec<ShardRecord>) -> Result<(), OpenError> {
        let (mut touched, mut dirs) = (BTreeSet::new(), BTreeSet::new());
        let mut rows = Vec::new();
        for change in changes {
            self.write(&change, &mut touched, &mut dirs)?;
            rows.extend(change.rows);
        }
        for path in touched {
            let synced = self.disk.open(&path, false).and_then(|file| file.sync());
            match synced {
                // It went to its place meanwhile, and was synced there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                synced => synced.map_err(|error| OpenError::Io { path: path.clone(), error })?,
            }
        }
        for dir in dirs {
            self.disk.sync_dir(&dir).map_err(|error| OpenError::Io { path: dir.clone(), error })?;
        }
        self.index.guard(|| self.rows(&rows)).map_err(|e| unreadable(self.layout, &e))
    }

    fn rows(&self, rows: &[RowChange]) -> Result<(), IndexError> {
        let txn = self.index.write()?;
        let mut tables = Tables::open(&txn)?;
        rows.iter().try_for_each(|row| tables.apply(row))?;
        tables.meta.insert(index::APPLIED, self.done)?;
        if let Some(sum) = self.sum {
            tables.meta.insert(index::APPLIED_SUM, sum)?;
        }
        drop(tables);
        Ok(txn.commit()?)
    }

    fn write(
        &self,
        change: &ShardRecord,
        touched: &mut BTreeSet<PathBuf>,
        dirs: &mut BTreeSet<PathBuf>,
    ) -> Result<(), OpenError> {
        let segments = change.segments.iter().map(|write| {
            (self.layout.segment(write.segment), self.layout.segments(), write.offset, &write.octets)
        });
        let pieces = change.pieces.iter().filter_map(|piece| {
            Some((self.layout.upload(piece.item()?), self.layout.spool(), piece.offset, &piece.octets))
        });
        for (path, dir, offset, octets) in segments.chain(pieces) {
            let written = self.disk.open(&path, true).and_then(|file| file.write_at(offset, octets));
            written.map_err(|error| OpenError::Io { path: path.clone(), error })?;
            touched.insert(path);
            dirs.insert(dir);
        }
        for body in &change.bodies {
            let Some(item) = body.item() else { continue };
            let (from, to) = (self.layout.upload(item), self.layout.body(item, body.sequence));
            let fail = |error| OpenError::Io { path: to.clone(), error };
            match self.disk.open(&from, false) {
                Ok(file) => {
                    // A checkpoint that found it damaged sent less; the scan at the start tells.
                    file.sync().map_err(fail)?;
                    self.disk.rename(&from, &to).map_err(fail)?;
                }
                // The owner itself has it in its place already.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(fail(error)),
            }
            dirs.insert(self.layout.bodies());
        }
        Ok(())
    }
}
