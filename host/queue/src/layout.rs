//! The data directory: what lies where, who owns it, and which format it has.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};

use crate::disk::{Disk, NO_FOLLOW, RealDisk, is_link_error, read_exact_at};
use crate::{ItemId, OpenError};

/// The format that this binary reads and writes.
pub(crate) const FORMAT: u32 = 3;

const FORMAT_TITLE: &str = "relevo-queue ";

/// What the `format` file says beside its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreMark {
    /// Random, made with the store; its index has the same.
    pub(crate) store: u64,
    /// Starts so far. 0: no index was ever promised.
    pub(crate) generation: u64,
}

/// Paths of the store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index.redb")
    }

    pub(crate) fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    pub(crate) fn segment(&self, number: u32) -> PathBuf {
        self.segments().join(format!("{number:08x}.seg"))
    }

    pub(crate) fn bodies(&self) -> PathBuf {
        self.root.join("bodies")
    }

    /// A body that came with the commit of this number.
    pub(crate) fn body(&self, item: ItemId, sequence: u64) -> PathBuf {
        self.bodies().join(format!("{item}-{sequence:x}"))
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// A large body of which the log's reader has not all pieces yet.
    pub(crate) fn upload(&self, item: ItemId) -> PathBuf {
        self.spool().join(format!("{item}.body"))
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    /// Makes the directories.
    pub(crate) fn make_dirs(&self, disk: &dyn Disk) -> Result<(), OpenError> {
        for dir in [self.root.clone(), self.segments(), self.bodies(), self.spool(), self.quarantine()] {
            disk.create_dir(&dir).map_err(|error| OpenError::Io { path: dir, error })?;
        }
        Ok(())
    }

    /// The mark of the store; None: there is no `format` file.
    pub(crate) fn read_mark(&self, disk: &dyn Disk) -> Result<Option<StoreMark>, OpenError> {
        let path = self.format();
        let text = disk.open(&path, false).and_then(|file| {
            let mut text = vec![0; usize::try_from(file.size()?.min(256)).unwrap_or(256)];
            read_exact_at(file.as_ref(), 0, &mut text)?;
            Ok(text)
        });
        match text {
            Ok(text) => parse_mark(&path, &String::from_utf8_lossy(&text)).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::Io { path, error }),
        }
    }

    /// Marks a new store, which has no index yet.
    pub(crate) fn write_first_mark(&self, disk: &dyn Disk, mark: StoreMark) -> Result<(), OpenError> {
        let fail = |error| OpenError::Io { path: self.format(), error };
        self.sync_way_to_root(disk).map_err(fail)?;
        self.write_mark(disk, mark)
    }

    /// Replaces the mark in one atomic and durable step.
    pub(crate) fn write_mark(&self, disk: &dyn Disk, mark: StoreMark) -> Result<(), OpenError> {
        let write = || {
            let temporary = self.root.join("format.new");
            let file = disk.open(&temporary, true)?;
            let StoreMark { store, generation } = mark;
            let text = format!("{FORMAT_TITLE}{FORMAT}\nstore {store:016x}\ngeneration {generation}\n");
            file.set_len(0)?;
            file.write_at(0, text.as_bytes())?;
            file.sync()?;
            disk.rename(&temporary, &self.format())?;
            disk.sync_dir(&self.root)
        };
        write().map_err(|error| OpenError::Io { path: self.format(), error })
    }

    /// Makes the names on the way to a new store durable: it may be that they were made a moment
    /// ago. A file in a directory whose own name is lost is lost with it.
    fn sync_way_to_root(&self, disk: &dyn Disk) -> io::Result<()> {
        for dir in std::path::absolute(&self.root)?.ancestors().skip(1) {
            match disk.sync_dir(dir) {
                // A process that may not read a directory did not make it: it and what is above
                // were there.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => break,
                synced => synced?,
            }
        }
        Ok(())
    }
}

/// The item and the commit that the name of a body file says.
pub(crate) fn parse_body_name(name: &str) -> Option<(ItemId, u64)> {
    let (item, sequence) = name.split_once('-')?;
    Some((item.parse().ok()?, u64::from_str_radix(sequence, 16).ok()?))
}

fn parse_mark(path: &Path, text: &str) -> Result<StoreMark, OpenError> {
    let foreign = || OpenError::NotAStore { path: path.to_path_buf() };
    let mut lines = text.lines();
    let title = lines.next().and_then(|line| line.strip_prefix(FORMAT_TITLE));
    match title.and_then(|v| v.parse().ok()).ok_or_else(foreign)? {
        FORMAT => {}
        found if found < FORMAT => {
            return Err(OpenError::Older { path: path.to_path_buf(), found, known: FORMAT });
        }
        found => return Err(OpenError::Newer { path: path.to_path_buf(), found, known: FORMAT }),
    }
    let store = lines.next().and_then(|line| line.strip_prefix("store "));
    let generation = lines.next().and_then(|line| line.strip_prefix("generation "));
    Ok(StoreMark {
        store: store.and_then(|s| u64::from_str_radix(s, 16).ok()).ok_or_else(foreign)?,
        generation: generation.and_then(|g| g.parse().ok()).ok_or_else(foreign)?,
    })
}

/// Keeps other processes out of a data directory as long as it lives.
///
/// The lock is on the directory itself. Removing or replacing a file in the directory does not open
/// it. The file `lock` only says which process has it.
#[derive(Debug)]
pub struct DirectoryLock(
    #[expect(dead_code, reason = "the lock lasts as long as the directory is open")] File,
);

impl DirectoryLock {
    /// Takes the lock of a data directory, which is made when it does not exist.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while another process has it; the directory cannot be made, or is not
    /// ours alone.
    pub fn of(root: &Path) -> Result<Self, OpenError> {
        let root = real_root(root)?;
        let path = root.join("lock");
        let fail = |error: io::Error| OpenError::Io { path: path.clone(), error };
        let flags = OFlags::DIRECTORY.bits() | NO_FOLLOW;
        let directory = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(&root);
        let directory = directory.map_err(|error| OpenError::Io { path: root.clone(), error })?;
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = open_owner_file(&path).and_then(|mut file| {
                    let mut pid = String::new();
                    file.read_to_string(&mut pid).map(|_| pid.trim().to_owned())
                });
                return Err(OpenError::InUse { path: root, pid: pid.unwrap_or_default() });
            }
            Err(e) => return Err(OpenError::Io { path: root, error: e.into() }),
        }
        let mut file = open_owner_file(&path).map_err(fail)?;
        file.set_len(0).map_err(fail)?;
        file.rewind().map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(Self(directory))
    }
}

/// Makes the data directory and resolves links on the way to it. Links inside it are not followed.
pub(crate) fn real_root(root: &Path) -> Result<PathBuf, OpenError> {
    let fail = |error| OpenError::Io { path: root.to_path_buf(), error };
    if !root.exists() {
        RealDisk.create_dir(root).map_err(fail)?;
    }
    let real = std::fs::canonicalize(root).map_err(fail)?;
    RealDisk.create_dir(&real).map_err(fail)?;
    Ok(real)
}

fn open_owner_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(NO_FOLLOW.cast_signed()).open(path).map_err(is_link_error)
}
