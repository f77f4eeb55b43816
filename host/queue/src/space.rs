//! The reserve of free space: below it new mail is refused, while outcomes, bounces and events still find room.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::StoreError;
use crate::disk::Disk;

/// How long an answer of the operating system is believed. What was written since is subtracted.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Known {
    at: Option<Instant>,
    free: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Space {
    dir: PathBuf,
    reserve: u64,
    known: Mutex<Known>,
}

impl Space {
    pub(crate) fn new(dir: PathBuf, reserve: u64) -> Self {
        Self { dir, reserve, known: Mutex::new(Known { at: None, free: 0 }) }
    }

    /// Whether new mail of this size may be taken.
    pub(crate) fn check_new(&self, disk: &dyn Disk, size: u64) -> Result<(), StoreError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.at.is_none_or(|at| at.elapsed() >= FRESH) {
            known.free = disk.free(&self.dir).map_err(|e| StoreError::Io(e.to_string()))?;
            known.at = Some(Instant::now());
        }
        if known.free < self.reserve.saturating_add(size) { Err(StoreError::Full) } else { Ok(()) }
    }

    /// Subtracts what was written.
    pub(crate) fn wrote(&self, size: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.free = known.free.saturating_sub(size);
    }

    /// A write found no room: the next check asks anew.
    pub(crate) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).at = None;
    }
}
