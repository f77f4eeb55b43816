//! Whether the index and the rest of the directory belong together. An index that is missing,
//! empty, of another store, or of another time must not judge what is needed: the store does not
//! open with it.
//!
//! The `format` file has the number of the store and counts starts; the index has the same.
//! Segments and body files say which commit they came with, and the index which commit was its
//! last. At most the one after it can have left something.

use std::io;
use std::sync::Arc;

use redb::ReadableTable;

use crate::OpenError;
use crate::disk::{Disk, is_full};
use crate::index::{self, Index, IndexError, Tables};
use crate::layout::{Layout, StoreMark, parse_body_name};
use crate::segment::Segments;
use crate::space::Space;

fn mismatch(path: std::path::PathBuf, why: &str) -> OpenError {
    OpenError::Mismatch { path, why: why.to_owned() }
}

fn unreadable(layout: &Layout, error: &IndexError) -> OpenError {
    if matches!(error, IndexError::Full) {
        return OpenError::Io { path: layout.index(), error: io::ErrorKind::StorageFull.into() };
    }
    OpenError::Index { path: layout.index(), why: format!("{error:?}") }
}

/// Opens the index that the `format` file promises, or makes that of a new store.
pub(crate) fn open_index(disk: &Arc<dyn Disk>, layout: &Layout) -> Result<(Index, StoreMark), OpenError> {
    let mark = match layout.read_mark(disk.as_ref())? {
        Some(mark) => mark,
        None => first_mark(disk, layout)?,
    };
    let promised = mark.generation > 0;
    if promised {
        let size = disk.open(&layout.index(), false).and_then(|file| file.size());
        match size {
            Ok(0) => return Err(mismatch(layout.index(), "it is empty, and this store had an index")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(mismatch(layout.index(), "it is missing, and this store had an index"));
            }
            Err(error) => return Err(OpenError::Io { path: layout.index(), error }),
            Ok(_) => {}
        }
    } else {
        // A first start that did not come to its end: nothing was accepted.
        match disk.remove(&layout.index()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(OpenError::Io { path: layout.index(), error: e });
            }
            _ => {}
        }
    }
    let new = (!promised).then_some(mark.store);
    let index = Index::open(disk.clone(), layout.clone(), new).map_err(|e| unreadable(layout, &e))?;
    Ok((index, mark))
}

/// Marks a new store. A directory that has anything of an old one is not new.
fn first_mark(disk: &Arc<dyn Disk>, layout: &Layout) -> Result<StoreMark, OpenError> {
    let fail = |path: std::path::PathBuf| |error| OpenError::Io { path, error };
    for dir in [layout.segments(), layout.bodies()] {
        if !disk.list(&dir).map_err(fail(dir.clone()))?.is_empty() {
            return Err(mismatch(layout.format(), "it is missing, and the directory has mail"));
        }
    }
    if disk.open(&layout.index(), false).is_ok() {
        return Err(mismatch(layout.format(), "it is missing, and the directory has an index"));
    }
    let mark = new_mark(layout)?;
    layout.write_first_mark(disk.as_ref(), mark)?;
    Ok(mark)
}

/// A mark that no other store has.
pub(crate) fn new_mark(layout: &Layout) -> Result<StoreMark, OpenError> {
    let mut random = [0; 8];
    let failed =
        |e: getrandom::Error| OpenError::Io { path: layout.format(), error: io::Error::other(e.to_string()) };
    getrandom::fill(&mut random).map_err(failed)?;
    Ok(StoreMark { store: u64::from_le_bytes(random), generation: 0 })
}

/// Refuses an index that is not the newest of this store.
pub(crate) fn check(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    index: &Index,
    segments: &Segments,
    mark: StoreMark,
) -> Result<(), OpenError> {
    let counter = |name| index.guard(|| index.counter(name)).map_err(|e| unreadable(layout, &e));
    if counter(index::STORE)? != mark.store {
        return Err(mismatch(layout.index(), "it belongs to another store"));
    }
    // Between the index and the format file a start may have ended.
    let (epoch, generation) = (counter(index::EPOCH)?, mark.generation);
    if epoch != generation && epoch != generation + 1 {
        let age = if epoch < generation { "older" } else { "younger" };
        let why = format!(
            "it is {age} than the directory: it saw {epoch} starts, and the format file {generation}"
        );
        return Err(mismatch(layout.index(), &why));
    }
    let sequence = counter(index::SEQUENCE)?;
    let too_new = |path, came: u64| {
        let why = format!(
            "it came with commit {came}, and the last that the index knows is {sequence}: the index is older"
        );
        mismatch(path, &why)
    };
    let latest = segments.latest().map_err(|error| OpenError::Io { path: layout.segments(), error })?;
    if let Some((number, came)) = latest.filter(|(_, came)| *came > sequence + 1) {
        return Err(too_new(layout.segment(number), came));
    }
    let names =
        disk.list(&layout.bodies()).map_err(|error| OpenError::Io { path: layout.bodies(), error })?;
    for (item, came) in names.iter().filter_map(|name| parse_body_name(name)) {
        if came > sequence + 1 {
            return Err(too_new(layout.body(item, came), came));
        }
    }
    Ok(())
}

/// Counts this start, in the index and then in the format file; returns its number. If the disk is
/// full, the reserve is used.
pub(crate) fn begin(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    index: &Index,
    space: &Space,
    mark: StoreMark,
) -> Result<u64, OpenError> {
    let unread = |e| unreadable(layout, &e);
    let before = index.guard(|| index.counter(index::EPOCH)).map_err(unread)?;
    if before > mark.generation {
        // An earlier start ended between the two.
        write_mark(disk, layout, space, StoreMark { generation: before, ..mark })?;
    }
    let counted = match count_start(index) {
        Err(IndexError::Full) => {
            space.release(disk.as_ref());
            index.reopen().and_then(|()| count_start(index))
        }
        done => done,
    };
    let generation = counted.map_err(unread)?;
    write_mark(disk, layout, space, StoreMark { generation, ..mark })?;
    Ok(generation)
}

fn write_mark(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    space: &Space,
    mark: StoreMark,
) -> Result<(), OpenError> {
    match layout.write_mark(disk.as_ref(), mark) {
        Err(OpenError::Io { error, .. }) if is_full(&error) => {
            space.release(disk.as_ref());
            layout.write_mark(disk.as_ref(), mark)
        }
        done => done,
    }
}

fn count_start(index: &Index) -> Result<u64, IndexError> {
    let txn = index.write()?;
    let mut tables = Tables::open(&txn)?;
    let generation = tables.meta.get(index::EPOCH)?.map_or(0, |v| v.value()) + 1;
    tables.meta.insert(index::EPOCH, generation)?;
    drop(tables);
    txn.commit()?;
    Ok(generation)
}
