//! A directory that is damaged, and whose log has everything: it is set aside, and made anew from the
//! log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Seq;
use super::bind::LogBinding;
use super::replay::{self, store_of};
use crate::OpenError;
use crate::disk::Disk;
use crate::generation;
use crate::layout::{Layout, StoreMark};

/// Says that what is in the directory is damaged.
fn mark(layout: &Layout) -> PathBuf {
    layout.root().join("damaged.mark")
}

/// Where the damaged files are kept, for people, until there are others.
fn aside(layout: &Layout) -> PathBuf {
    layout.root().join("damaged")
}

/// Has the next start make the directory anew. What cannot be marked is found by the next reader again.
pub(crate) fn set_damaged(disk: &dyn Disk, layout: &Layout) {
    let marked = disk.open(&mark(layout), true).and_then(|_| disk.sync_dir(layout.root()));
    if let Err(error) = marked {
        tracing::error!(%error, "a damaged directory cannot be marked");
    }
}

/// Whether [`set_damaged`] was called.
pub(crate) fn is_damaged(disk: &dyn Disk, layout: &Layout) -> bool {
    disk.open(&mark(layout), false).is_ok()
}

/// Whether an error says that the directory is damaged, and not that it cannot be reached or does not
/// belong to the log.
pub(crate) fn tells_damage(error: &OpenError) -> bool {
    matches!(error, OpenError::Index { .. } | OpenError::Mismatch { .. })
}

/// Sets the files aside, so that the next start reads the log from its beginning. False: the log is
/// not that of this directory, which is then all there is.
pub(crate) fn set_aside(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    binding: &LogBinding,
) -> Result<bool, OpenError> {
    let bounds = binding.runtime.block_on(binding.log.bounds());
    let bounds = bounds.map_err(|error| OpenError::Log { why: error.to_string() })?;
    let (Some(log), Some(own)) = (store_of(binding, bounds)?, layout.read_mark(disk.as_ref())?) else {
        return Ok(false);
    };
    // A directory that is ahead has what the engine lost.
    if log != own.store || applied_of(disk, layout).is_some_and(|applied| applied > bounds.last) {
        return Ok(false);
    }
    let to = aside(layout);
    let moved = || -> io::Result<()> {
        let index = layout.index();
        if disk.open(&index, false).is_ok() {
            // Damage of before makes room. Without an index, a start was interrupted here.
            for dir in [to.join("segments"), to.join("bodies"), to.clone()] {
                for name in list(disk.as_ref(), &dir)? {
                    if !matches!(name.as_str(), "segments" | "bodies") {
                        disk.remove(&dir.join(name))?;
                    }
                }
            }
        }
        for (from, to) in [(layout.segments(), to.join("segments")), (layout.bodies(), to.join("bodies"))] {
            disk.create_dir(&aside(layout))?;
            disk.create_dir(&to)?;
            for name in disk.list(&from)? {
                disk.rename(&from.join(&name), &to.join(&name))?;
            }
            disk.sync_dir(&to)?;
            disk.sync_dir(&from)?;
        }
        for name in disk.list(&layout.spool())? {
            disk.remove(&layout.spool().join(name))?;
        }
        if disk.open(&index, false).is_ok() {
            disk.rename(&index, &to.join("index.redb"))?;
        }
        disk.sync_dir(&to)?;
        disk.sync_dir(layout.root())
    };
    moved().map_err(|error| OpenError::Io { path: to.clone(), error })?;
    // A store that has nothing yet, and is that of the log.
    layout.write_mark(disk.as_ref(), StoreMark { generation: 0, ..own })?;
    match disk.remove(&mark(layout)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::Io { path: mark(layout), error })
        }
        _ => Ok(true),
    }
}

/// The last record of the log that is in the directory, where its index can be read.
fn applied_of(disk: &Arc<dyn Disk>, layout: &Layout) -> Option<Seq> {
    let (index, _) = generation::open_index(disk, layout).ok()?;
    let applied = replay::applied(&index).ok().flatten();
    index.close();
    applied
}

fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<String>> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}
