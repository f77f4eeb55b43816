//! A disk in memory that breaks on purpose: it fails the Nth write or sync, tears a write, runs
//! full, and forgets at a loss of power what was not synced.

mod state;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, Free};
use parking_lot::{Mutex, MutexGuard};
use state::{FaultyState, FileChange, Inode, eio};

/// What is to go wrong, counted from when it is set: 1 is the very next call of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// The Nth write fails with EIO and writes nothing.
    Write(u32),
    /// The Nth write fails with EIO after half of its octets.
    TornWrite(u32),
    /// The Nth write panics: a fault in the code above.
    Panic(u32),
    /// The Nth sync of a file or directory fails; what it should have kept is dropped from the
    /// cache, as Linux does.
    Sync(u32),
    /// The Nth write fails with ENOSPC, and so do all that follow until [`FaultyDisk::mend`].
    Full(u32),
}

/// A disk in memory with faults to order. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyDisk(Arc<Mutex<FaultyState>>);

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyDisk")
    }
}

impl FaultyDisk {
    /// An empty, healthy disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, FaultyState> {
        self.0.lock()
    }

    /// Orders a fault; it replaces one that did not happen yet.
    pub fn order(&self, fault: DiskFault) {
        self.state().fault = Some(fault);
    }

    /// No fault, and room again.
    pub fn mend(&self) {
        let mut state = self.state();
        state.fault = None;
        state.full = false;
    }

    /// The octets that [`Disk::free`] says from now on.
    pub fn set_free(&self, octets: u64) {
        self.state().free.octets = octets;
    }

    /// The inodes that [`Disk::free`] says from now on.
    pub fn set_inodes(&self, inodes: u64) {
        self.state().free.inodes = Some(inodes);
    }

    /// Lets files take only so much room together (None: any), and says how much they have.
    pub fn set_capacity(&self, octets: Option<u64>) -> u64 {
        let mut state = self.state();
        state.capacity = octets;
        state.used()
    }

    /// Whether a sync failed since the last start.
    #[must_use]
    pub fn sync_failed(&self) -> bool {
        self.state().sync_failed
    }

    /// Writes and syncs so far.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.writes, state.syncs)
    }

    /// Switches the power off: from now on every call on a handle of this disk fails. Returns the
    /// disk as it is found at the next start; see [`Self::image`].
    #[must_use]
    pub fn power_loss(&self, chaos: impl FnMut() -> u8) -> Self {
        self.state().off = true;
        self.image(chaos)
    }

    /// The disk as it would be found after a loss of power at this moment. Of what was not synced,
    /// a part survives that `chaos` decides: per write none, the first half, or all of it; per name
    /// the old or the new state. A directory whose name is lost takes with it all that is in it.
    #[must_use]
    pub fn image(&self, mut chaos: impl FnMut() -> u8) -> Self {
        let state = self.state();
        let mut after = FaultyState { free: state.free, capacity: state.capacity, ..FaultyState::default() };
        for inode in &state.inodes {
            let mut data = inode.durable.clone();
            for change in &inode.pending {
                match (chaos() % 3, change) {
                    (0, _) => {}
                    (1, FileChange::Write(offset, bytes)) => {
                        FileChange::Write(*offset, bytes[..bytes.len() / 2].to_vec()).apply(&mut data);
                    }
                    (_, change) => change.apply(&mut data),
                }
            }
            let pages = inode.pages.clone();
            after.inodes.push(Inode { durable: data.clone(), current: data, pending: Vec::new(), pages });
        }
        let mut names = state.durable_names.clone();
        let touched: Vec<PathBuf> = state.names.keys().chain(state.durable_names.keys()).cloned().collect();
        for path in touched {
            if state.names.get(&path) != state.durable_names.get(&path) && chaos() % 2 == 1 {
                match state.names.get(&path) {
                    Some(inode) => names.insert(path, *inode),
                    None => names.remove(&path),
                };
            }
        }
        // Parents come before their children in the order of paths.
        for dir in &state.dirs {
            let parent_lost = dir.parent().is_some_and(|p| state.dirs.contains(p) && !after.dirs.contains(p));
            if !parent_lost && (state.durable_dirs.contains(dir) || chaos() % 2 == 1) {
                after.dirs.insert(dir.clone());
            }
        }
        names.retain(|path, _| {
            path.parent().is_none_or(|p| !state.dirs.contains(p) || after.dirs.contains(p))
        });
        after.durable_dirs.clone_from(&after.dirs);
        after.names.clone_from(&names);
        after.durable_names = names;
        Self(Arc::new(Mutex::new(after)))
    }

    /// Flips a bit of a file, behind everybody's back.
    ///
    /// # Panics
    /// When there is no such octet.
    pub fn flip_bit(&self, path: &Path, offset: usize) {
        let mut state = self.state();
        let inode = state.names[path];
        state.inodes[inode].current[offset] ^= 1;
        state.inodes[inode].durable[offset] ^= 1;
    }

    /// The directories that were made.
    #[must_use]
    pub fn dirs(&self) -> Vec<PathBuf> {
        self.state().dirs.iter().cloned().collect()
    }

    /// The paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.powered()?;
        state.dirs.insert(path.to_path_buf());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.powered()?;
        let here = state.names.keys().filter(|p| p.parent() == Some(dir));
        Ok(here.filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let inode = match state.inode(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && create => {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(path.to_path_buf(), inode);
                inode
            }
            found => found?,
        };
        Ok(Arc::new(FaultyFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(from)?;
        state.names.remove(from);
        state.names.insert(to.to_path_buf(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.inode(path)?;
        state.names.remove(path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.strike_sync()? {
            return Err(eio());
        }
        let here: Vec<(PathBuf, usize)> = state
            .names
            .iter()
            .filter(|(p, _)| p.parent() == Some(dir))
            .map(|(p, i)| (p.clone(), *i))
            .collect();
        state.durable_names.retain(|p, _| p.parent() != Some(dir));
        state.durable_names.extend(here);
        let below: Vec<PathBuf> = state.dirs.iter().filter(|d| d.parent() == Some(dir)).cloned().collect();
        state.durable_dirs.extend(below);
        Ok(())
    }

    fn free(&self, _dir: &Path) -> io::Result<Free> {
        let state = self.state();
        state.powered()?;
        let octets = match state.capacity {
            _ if state.full => 0,
            Some(capacity) => capacity.saturating_sub(state.used()),
            None => state.free.octets,
        };
        Ok(Free { octets, ..state.free })
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    inode: usize,
}

impl DiskFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.powered()?;
        Ok(state.inodes[self.inode].current.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        state.powered()?;
        let data = &state.inodes[self.inode].current;
        let rest = usize::try_from(offset).ok().and_then(|o| data.get(o..)).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.state().write(self.inode, FileChange::Write(offset, data.to_vec()))
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        self.disk.state().write(self.inode, FileChange::Resize(size))
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.disk.state().take_pages(self.inode, 0, size)?;
        self.set_len(size.max(self.size()?))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let failed = state.strike_sync()?;
        let inode = &mut state.inodes[self.inode];
        inode.pending.clear();
        if failed {
            // Linux marks the pages clean: a later sync succeeds without them. Here they are gone
            // for good.
            return Err(eio());
        }
        inode.durable.clone_from(&inode.current);
        Ok(())
    }
}
