//! What is on the disk, and what of it is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::DiskFault;
use crate::disk::Free;

/// Room is taken in units of this.
const PAGE: u64 = 4096;

#[derive(Debug, Clone)]
pub(super) enum FileChange {
    Write(u64, Vec<u8>),
    Resize(u64),
}

impl FileChange {
    pub(super) fn apply(&self, data: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let start = usize::try_from(*offset).unwrap_or(usize::MAX);
                if data.len() < start + bytes.len() {
                    data.resize(start + bytes.len(), 0);
                }
                data[start..start + bytes.len()].copy_from_slice(bytes);
            }
            Self::Resize(size) => data.resize(usize::try_from(*size).unwrap_or(usize::MAX), 0),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) durable: Vec<u8>,
    pub(super) current: Vec<u8>,
    pub(super) pending: Vec<FileChange>,
    /// Pages that have room on the medium.
    pub(super) pages: BTreeSet<u64>,
}

#[derive(Debug)]
pub(super) struct FaultyState {
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    /// Directories that were made; those that nobody made were there before.
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) durable_dirs: BTreeSet<PathBuf>,
    pub(super) fault: Option<DiskFault>,
    pub(super) full: bool,
    pub(super) off: bool,
    pub(super) free: Free,
    /// What all files may have together.
    pub(super) capacity: Option<u64>,
    pub(super) writes: u64,
    pub(super) syncs: u64,
    pub(super) sync_failed: bool,
}

impl Default for FaultyState {
    fn default() -> Self {
        Self {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            dirs: BTreeSet::new(),
            durable_dirs: BTreeSet::new(),
            fault: None,
            full: false,
            off: false,
            free: Free { octets: 1 << 40, inodes: None },
            capacity: None,
            writes: 0,
            syncs: 0,
            sync_failed: false,
        }
    }
}

pub(super) fn eio() -> io::Error {
    io::Error::other("input/output error (injected)")
}

impl FaultyState {
    /// Octets of all files that have a name.
    pub(super) fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].pages.len() as u64 * PAGE).sum()
    }

    /// Takes room for a range of a file.
    pub(super) fn take_pages(&mut self, inode: usize, offset: u64, size: u64) -> io::Result<()> {
        let range = offset / PAGE..(offset + size).div_ceil(PAGE);
        let more: Vec<u64> = range.filter(|page| !self.inodes[inode].pages.contains(page)).collect();
        let used = self.used() + more.len() as u64 * PAGE;
        if !more.is_empty() && self.capacity.is_some_and(|capacity| used > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inodes[inode].pages.extend(more);
        Ok(())
    }

    /// Takes room for what is written; refuses it when there is none.
    pub(super) fn check_capacity(&mut self, inode: usize, change: &FileChange) -> io::Result<()> {
        // What is not written yet is a hole.
        let FileChange::Write(offset, bytes) = change else { return Ok(()) };
        self.take_pages(inode, *offset, bytes.len() as u64)
    }

    pub(super) fn powered(&self) -> io::Result<()> {
        if self.off { Err(io::Error::other("no power (injected)")) } else { Ok(()) }
    }

    pub(super) fn inode(&self, path: &Path) -> io::Result<usize> {
        self.powered()?;
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Whether the ordered fault strikes at this write.
    pub(super) fn strike_write(&mut self) -> Option<DiskFault> {
        self.writes += 1;
        let fault = self.fault.as_mut()?;
        let (DiskFault::Write(n) | DiskFault::TornWrite(n) | DiskFault::Full(n) | DiskFault::Panic(n)) =
            fault
        else {
            return None;
        };
        *n = n.saturating_sub(1);
        if *n > 0 {
            return None;
        }
        self.fault.take()
    }

    pub(super) fn write(&mut self, inode: usize, change: FileChange) -> io::Result<()> {
        self.powered()?;
        self.check_capacity(inode, &change)?;
        let fault = self.strike_write();
        #[expect(clippy::panic, reason = "it was ordered")]
        if matches!(fault, Some(DiskFault::Panic(_))) {
            panic!("injected");
        }
        self.full |= matches!(fault, Some(DiskFault::Full(_)));
        if self.full && matches!(change, FileChange::Write(..)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let (change, result) = match (fault, change) {
            (Some(DiskFault::TornWrite(_)), FileChange::Write(offset, bytes)) => {
                (FileChange::Write(offset, bytes[..bytes.len() / 2].to_vec()), Err(eio()))
            }
            (Some(DiskFault::Write(_) | DiskFault::TornWrite(_)), _) => return Err(eio()),
            (_, change) => (change, Ok(())),
        };
        let inode = &mut self.inodes[inode];
        if let FileChange::Resize(size) = change {
            inode.pages.split_off(&size.div_ceil(PAGE));
        }
        change.apply(&mut inode.current);
        inode.pending.push(change);
        result
    }

    /// Whether the ordered fault strikes at this sync.
    pub(super) fn strike_sync(&mut self) -> io::Result<bool> {
        self.powered()?;
        self.syncs += 1;
        let Some(DiskFault::Sync(n)) = self.fault.as_mut() else { return Ok(false) };
        *n = n.saturating_sub(1);
        if *n > 0 {
            return Ok(false);
        }
        self.fault = None;
        self.sync_failed = true;
        Ok(true)
    }
}
