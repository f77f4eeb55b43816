//! Room on the disk: what new mail must leave free, and what is allocated for outcomes.
//!
//! Below `min_free` new mail is refused, while outcomes, bounces and operators' actions still find
//! room. Somebody else can fill the disk nevertheless. So a file of `reserve` octets is allocated,
//! and given up when an outcome finds no room. No attempt begins before it is allocated again: what
//! is in flight then is all that the reserve must hold.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::StoreError;
use crate::disk::{Disk, Free};

/// How long an answer of the operating system is believed. What was written since is subtracted.
const FRESH: Duration = Duration::from_secs(1);
/// Files that new mail leaves to others.
const MIN_INODES: u64 = 256;

#[derive(Debug, Default)]
struct Known {
    asked: Option<Instant>,
    free: Free,
    /// What was said last, so that only a change is logged.
    refusing: bool,
    reserve: Reserve,
    /// When it was tried last to allocate the reserve.
    tried: Option<Instant>,
    /// That it is missing was logged.
    told: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Reserve {
    #[default]
    Missing,
    Allocated,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Space {
    dir: PathBuf,
    min_free: u64,
    file: PathBuf,
    reserve: u64,
    known: Mutex<Known>,
}

impl Space {
    /// With nothing allocated yet.
    pub(crate) fn new(dir: PathBuf, min_free: u64, file: PathBuf, reserve: u64) -> Self {
        Self { dir, min_free, file, reserve, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }

    /// Whether new mail of this size may be taken.
    pub(crate) fn check_new(&self, disk: &dyn Disk, size: u64) -> Result<(), StoreError> {
        let mut known = self.known();
        self.ask(&mut known, disk)?;
        let result = self.room(&known, size);
        match (&result, known.refusing) {
            (Err(why), false) => {
                let Free { octets, inodes } = known.free;
                tracing::error!(%why, octets, ?inodes, "new mail is refused until there is room again");
            }
            (Ok(()), true) => tracing::info!("there is room again"),
            _ => {}
        }
        known.refusing = result.is_err();
        result
    }

    /// Whether events may be written that nobody misses: a quarter of `min_free` must be free above
    /// it, so that they do not bring new mail to be refused.
    pub(crate) fn check_expendable(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        let mut known = self.known();
        self.ask(&mut known, disk)?;
        self.room(&known, self.min_free / 4)
    }

    /// Asks the operating system, unless its last answer is fresh.
    fn ask(&self, known: &mut Known, disk: &dyn Disk) -> Result<(), StoreError> {
        if known.asked.is_none_or(|at| at.elapsed() >= FRESH) {
            known.free = disk.free(&self.dir).map_err(|e| StoreError::Io(e.to_string()))?;
            known.asked = Some(Instant::now());
        }
        Ok(())
    }

    fn room(&self, known: &Known, size: u64) -> Result<(), StoreError> {
        if known.free.octets < self.min_free.saturating_add(size) {
            Err(StoreError::Full)
        } else if known.free.inodes.is_some_and(|inodes| inodes < MIN_INODES) {
            Err(StoreError::NoInodes)
        } else if self.reserve > 0 && known.reserve != Reserve::Allocated {
            Err(StoreError::Full)
        } else {
            Ok(())
        }
    }

    /// What is free, as far as it is known.
    pub(crate) fn free(&self) -> Free {
        self.known().free
    }

    /// Subtracts what was written.
    pub(crate) fn wrote(&self, size: u64) {
        let mut known = self.known();
        known.free.octets = known.free.octets.saturating_sub(size);
    }

    /// A write found no room: the next check asks anew.
    pub(crate) fn forget(&self) {
        self.known().asked = None;
    }

    /// Returns true if the outcome of an attempt that begins now can be stored.
    pub(crate) fn outcomes_fit(&self) -> bool {
        self.reserve == 0 || self.known().reserve == Reserve::Allocated
    }

    /// Allocates the reserve if it is missing; tries at most once a second. Returns true if it is
    /// there.
    pub(crate) fn allocate(&self, disk: &dyn Disk) -> bool {
        if self.outcomes_fit() {
            return true;
        }
        let mut known = self.known();
        if known.tried.is_some_and(|at| at.elapsed() < FRESH) {
            return false;
        }
        known.tried = Some(Instant::now());
        match disk.open(&self.file, true).and_then(|file| file.allocate(self.reserve)) {
            Ok(()) => {
                (known.reserve, known.asked, known.told) = (Reserve::Allocated, None, false);
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut known.told, true) {
                    let path = self.file.display();
                    tracing::error!(%error, %path, "no attempt begins: its outcome might find no room");
                }
                false
            }
        }
    }

    /// Gives the reserve to outcomes.
    pub(crate) fn release(&self, disk: &dyn Disk) {
        let mut known = self.known();
        // It is not looked for sooner than what is in flight may have ended.
        known.tried = Some(Instant::now());
        let had = std::mem::replace(&mut known.reserve, Reserve::Missing) == Reserve::Allocated;
        match disk.open(&self.file, false).and_then(|file| file.set_len(0)) {
            Ok(()) if had => {
                known.told = true;
                tracing::error!(
                    "no room for outcomes: the reserve is given to them, no further attempt begins"
                );
            }
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "the reserve cannot be given up"),
        }
    }
}
