//! The data directory: what lies where, who owns it, and which format it has.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::disk::{Disk, RealDisk, read_exact_at};
use crate::{ItemId, OpenError};

/// The format that this binary writes. It reads every older one.
pub(crate) const FORMAT: u32 = 2;

const FORMAT_TITLE: &str = "relevo-queue ";

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

    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    pub(crate) fn segment(&self, number: u32) -> PathBuf {
        self.segments().join(format!("{number:08x}.seg"))
    }

    pub(crate) fn bodies(&self) -> PathBuf {
        self.root.join("bodies")
    }

    pub(crate) fn body(&self, item: ItemId) -> PathBuf {
        self.bodies().join(item.to_string())
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    /// Makes the directories and checks the format version; writes that of a new store. That of an older one stays as it is
    /// until [`Self::upgrade`].
    pub(crate) fn prepare(&self, disk: &dyn Disk) -> Result<(), OpenError> {
        let fail = |path: &Path| {
            let path = path.to_path_buf();
            move |error| OpenError::Io { path, error }
        };
        for dir in [self.root.clone(), self.segments(), self.bodies(), self.spool(), self.quarantine()] {
            disk.create_dir(&dir).map_err(fail(&dir))?;
        }
        if self.read_format(disk)?.is_none() {
            let path = self.format();
            self.sync_way_to_root(disk).and_then(|()| self.write_format(disk)).map_err(fail(&path))?;
        }
        Ok(())
    }

    /// An older binary must not meet the records that this one writes: call it before the first of them, and not before it is
    /// known that the store can be opened.
    pub(crate) fn upgrade(&self, disk: &dyn Disk) -> Result<(), OpenError> {
        match self.read_format(disk)? {
            Some(FORMAT) => Ok(()),
            _ => self.write_format(disk).map_err(|error| OpenError::Io { path: self.format(), error }),
        }
    }

    /// None: there is none yet.
    fn read_format(&self, disk: &dyn Disk) -> Result<Option<u32>, OpenError> {
        let path = self.format();
        let text = disk.open(&path, false).and_then(|file| {
            let mut text = vec![0; usize::try_from(file.size()?.min(64)).unwrap_or(64)];
            read_exact_at(file.as_ref(), 0, &mut text)?;
            Ok(text)
        });
        match text {
            Ok(text) => check_format(&path, &String::from_utf8_lossy(&text)).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::Io { path, error }),
        }
    }

    /// Makes the names on the way to a new store durable: it may be that they were made a moment ago. A file in a directory
    /// whose own name is lost is lost with it.
    fn sync_way_to_root(&self, disk: &dyn Disk) -> io::Result<()> {
        for dir in std::path::absolute(&self.root)?.ancestors().skip(1) {
            match disk.sync_dir(dir) {
                // Who may not read a directory did not make it: it and what is above were there.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => break,
                synced => synced?,
            }
        }
        Ok(())
    }

    fn write_format(&self, disk: &dyn Disk) -> io::Result<()> {
        let temporary = self.root.join("format.new");
        let file = disk.open(&temporary, true)?;
        file.set_len(0)?;
        file.write_at(0, format!("{FORMAT_TITLE}{FORMAT}\n").as_bytes())?;
        file.sync()?;
        disk.rename(&temporary, &self.format())?;
        disk.sync_dir(&self.root)
    }
}

/// The format of a store that this binary reads.
fn check_format(path: &Path, text: &str) -> Result<u32, OpenError> {
    let found = text.trim_end().strip_prefix(FORMAT_TITLE).and_then(|v| v.parse().ok());
    match found {
        Some(found @ 1..=FORMAT) => Ok(found),
        Some(found) => Err(OpenError::Newer { path: path.to_path_buf(), found, known: FORMAT }),
        None => Err(OpenError::NotAStore { path: path.to_path_buf() }),
    }
}

/// Held as long as the store is open, or somebody changes other things in its directory: one process per data directory.
#[derive(Debug)]
pub struct DirectoryLock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl DirectoryLock {
    /// Takes the lock of a data directory, which is made when it does not exist. It lasts as long as this.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while another process has it; the directory cannot be made or written to.
    pub fn of(root: &Path) -> Result<Self, OpenError> {
        let fail = |error| OpenError::Io { path: root.to_path_buf(), error };
        RealDisk.create_dir(root).map_err(fail)?;
        Self::take(root)
    }

    /// Takes the lock, and writes who has it.
    pub(crate) fn take(root: &Path) -> Result<Self, OpenError> {
        let path = root.join("lock");
        let fail = |error: io::Error| OpenError::Io { path: path.clone(), error };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(fail)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut owner = String::new();
                file.read_to_string(&mut owner).map_err(fail)?;
                return Err(OpenError::InUse { path: root.to_path_buf(), pid: owner.trim().to_owned() });
            }
            Err(e) => return Err(fail(e.into())),
        }
        file.set_len(0).map_err(fail)?;
        file.rewind().map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(Self(file))
    }
}
