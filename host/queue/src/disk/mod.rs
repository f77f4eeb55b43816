//! The file layer beneath everything the store writes: index, segments and body files alike. The
//! real one is a thin cover of the operating system; the other (feature `testing`) breaks on
//! purpose.

#[cfg(feature = "testing")]
mod faulty;
mod real;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "testing")]
pub use faulty::{DiskFault, FaultyDisk};
pub use real::RealDisk;
pub(crate) use real::{NO_FOLLOW, is_link_error};

/// Directories and names. What a call did to a directory survives a loss of power only after
/// [`Disk::sync_dir`].
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Makes a directory that only its owner may enter. One that exists must be ours, and is made
    /// so.
    ///
    /// # Errors
    /// The operating system's, as everywhere in this trait.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Names of the files in a directory.
    ///
    /// # Errors
    /// As above.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing; with `create`, an empty one is made when there is
    /// none.
    ///
    /// # Errors
    /// As above.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name in one atomic step.
    ///
    /// # Errors
    /// As above.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name. Handles that are open stay readable.
    ///
    /// # Errors
    /// As above.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As above. A failure is final: nobody knows what is on the medium.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// What can still be written.
    ///
    /// # Errors
    /// As above.
    fn free(&self, dir: &Path) -> io::Result<Free>;
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Free {
    /// Octets for this process.
    pub octets: u64,
    /// Files that can still be made. None: as many as there is room for.
    pub inodes: Option<u64>,
}

/// An open file. Several threads may use it; offsets are explicit.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Octets.
    ///
    /// # Errors
    /// The operating system's, as everywhere in this trait.
    fn size(&self) -> io::Result<u64>;

    /// Reads up to `buf.len()` octets; 0 at the end.
    ///
    /// # Errors
    /// As above.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `data`.
    ///
    /// # Errors
    /// As above; part of it may have been written.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Truncates, or extends with zeros.
    ///
    /// # Errors
    /// As above.
    fn set_len(&self, size: u64) -> io::Result<()>;

    /// Takes room for so many octets, so that nobody else gets it. The content is of no meaning.
    ///
    /// # Errors
    /// As above.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Makes the content durable.
    ///
    /// # Errors
    /// As above. A failure is final: what was written may be gone though a second call succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// Fills `buf` or fails with `UnexpectedEof`.
pub(crate) fn read_exact_at(file: &dyn DiskFile, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
    while !buf.is_empty() {
        let n = file.read_at(offset, buf)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += n as u64;
        buf = &mut buf[n..];
    }
    Ok(())
}

/// Whether the medium is full rather than broken.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
