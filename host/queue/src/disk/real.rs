//! The operating system's files.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, OFlags};

use super::{Disk, DiskFile, Free};

/// Flags with which everything in the data directory is opened: a symbolic link is refused, a FIFO
/// does not block.
pub(crate) const NO_FOLLOW: u32 = OFlags::NOFOLLOW.bits() | OFlags::NONBLOCK.bits();

/// Directories are 0700 and files 0600, whatever the umask. Symbolic links are not followed.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// Words for what `O_NOFOLLOW` refuses.
pub(crate) fn is_link_error(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return io::Error::other("it is a symbolic link, which is not followed here");
    }
    error
}

/// Refuses what belongs to a user other than `me` and root.
fn check_owner(owner: u32, me: u32) -> io::Result<()> {
    if owner == me || owner == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("it belongs to user {owner}, not to user {me} or root")))
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let missing =
            matches!(std::fs::symlink_metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound);
        if missing {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        let found = std::fs::symlink_metadata(path)?;
        if !found.is_dir() {
            return Err(io::Error::other("it is not a directory (a symbolic link is not followed here)"));
        }
        check_owner(found.uid(), rustix::process::geteuid().as_raw())?;
        if found.mode() & 0o7777 != 0o700 {
            std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create).truncate(false).mode(0o600);
        let file = options.custom_flags(NO_FOLLOW.cast_signed()).open(path).map_err(is_link_error)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if found.mode() & 0o7777 != 0o600 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free(&self, dir: &Path) -> io::Result<Free> {
        let stat = rustix::fs::statvfs(dir)?;
        // Some file systems make inodes as they are wanted, and say 0 of 0.
        let inodes = (stat.f_files > 0).then_some(stat.f_favail);
        Ok(Free { octets: stat.f_bavail.saturating_mul(stat.f_frsize), inodes })
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, size) {
            Err(rustix::io::Errno::OPNOTSUPP) => {}
            done => return Ok(done?),
        }
        let zeros = vec![0; 1 << 20];
        let mut at = 0;
        while at < size {
            let n = usize::try_from(size - at).unwrap_or(zeros.len()).min(zeros.len());
            self.0.write_all_at(&zeros[..n], at)?;
            at += n as u64;
        }
        self.0.sync_data()
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_a_foreign_user_is_refused() {
        assert!(check_owner(1000, 1000).is_ok() && check_owner(0, 1000).is_ok());
        assert!(check_owner(1001, 1000).is_err() && check_owner(1000, 0).is_err());
        let parent = tempfile::tempdir().expect("a directory");
        let data = parent.path().join("data");
        RealDisk.create_dir(&data).expect("our own");
        // Only root may give a directory away.
        if std::os::unix::fs::chown(&data, Some(65_534), None).is_ok() {
            let error = RealDisk.create_dir(&data).expect_err("it is not ours");
            assert!(error.to_string().starts_with("it belongs to user 65534"), "{error}");
            let opened = crate::EmbeddedStore::open(&data, crate::StoreConfig::default());
            assert!(matches!(opened, Err(crate::OpenError::Io { .. })));
        }
    }
}
