//! Reads files without waiting for them, and makes files with secrets.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::api::KeyError;

/// Octets of a secret file. An RSA key of 8192 bits has 6 KiB in PEM.
const MAX_SECRET: u64 = 64 * 1024;

/// Reads a regular file of at most `max` octets.
///
/// # Errors
/// The file cannot be read, is larger, or is not a regular file: a FIFO or a device could block its
/// reader for ever.
pub fn read_file(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let (file, _) = open(path)?;
    let mut content = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        return Err(invalid(&format!("has more than {max} octets")));
    }
    Ok(content)
}

/// Reads a secret of at most 64 KiB. The warning says that its group can read the file.
///
/// # Errors
/// [`KeyError::File`]: missing, not a regular file, open to others, writable by its group, or larger.
pub fn read_secret_file(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Option<String>), KeyError> {
    let failed = |e: io::Error| problem(path, e.to_string());
    let (file, metadata) = open(path).map_err(failed)?;
    let warning = check_mode(path, &metadata)?;
    // As large as it may get: growing would leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_SECRET + 1).unwrap_or(0)));
    file.take(MAX_SECRET + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_SECRET {
        return Err(problem(path, "has more than 64 KiB".to_owned()));
    }
    Ok((content, warning))
}

/// Looks before it opens, since some devices act on being opened; and looks again at what was
/// opened.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    regular(&std::fs::metadata(path)?)?;
    let file =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    regular(&metadata)?;
    Ok((file, metadata))
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() { Ok(()) } else { Err(invalid("is not a regular file")) }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Makes a file that only its owner can read. It has these permissions from its first instant.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key would be found by the next start.
        let _ = std::fs::remove_file(path);
        return written;
    }
    match path.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

pub(crate) fn problem(path: &Path, problem: String) -> KeyError {
    KeyError::File { path: path.display().to_string(), problem }
}

fn check_mode(path: &Path, metadata: &Metadata) -> Result<Option<String>, KeyError> {
    let (mode, shown) = (metadata.mode(), path.display());
    if mode & 0o007 != 0 {
        return Err(problem(
            path,
            format!("is open to everybody (mode {:o}): chmod 600 {shown}", mode & 0o777),
        ));
    }
    if mode & 0o020 != 0 {
        let text = format!("is writable by its group (mode {:o}): chmod 600 {shown}", mode & 0o777);
        return Err(problem(path, text));
    }
    let warning = format!("{shown} is readable by its group (mode {:o}): chmod 600 {shown}", mode & 0o777);
    Ok((mode & 0o040 != 0).then_some(warning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn file_of_mode(mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn what_is_open_to_others_or_writable_by_the_group_is_refused_with_the_remedy() {
        for mode in [0o604, 0o602, 0o601, 0o644, 0o660, 0o620, 0o777] {
            let (_dir, path) = file_of_mode(mode);
            let error = read_secret_file(&path).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(&format!("chmod 600 {}", path.display())), "{mode:o}: {error}");
        }
    }

    #[test]
    fn readable_by_the_group_is_a_warning() {
        let (_dir, path) = file_of_mode(0o640);
        assert!(read_secret_file(&path).unwrap().1.unwrap().contains("chmod 600"));
        for mode in [0o600, 0o400] {
            let (_dir, path) = file_of_mode(mode);
            assert_eq!(read_secret_file(&path).unwrap().1, None);
        }
    }

    fn refusal(path: &Path) -> String {
        read_secret_file(path).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn missing_files_and_what_is_no_file_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refusal(&dir.path().join("none")).contains("none"));
        assert!(refusal(dir.path()).contains("not a regular file"));
        assert!(refusal(Path::new("/dev/zero")).contains("not a regular file"));
    }

    /// Opening a FIFO that nobody writes to would block for ever.
    #[test]
    fn a_fifo_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let (here, mode) = (rustix::fs::CWD, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(here, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(refusal(&fifo).contains("not a regular file"));
        assert!(read_file(&fifo, 10).unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        create(&path, &vec![b'x'; 70_000]).unwrap();
        assert!(refusal(&path).contains("64 KiB"));
        assert_eq!(read_file(&path, 70_000).unwrap().len(), 70_000);
        assert!(read_file(&path, 69_999).unwrap_err().to_string().contains("more than 69999 octets"));
    }

    #[test]
    fn a_new_file_is_its_owners_alone_and_an_old_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        create(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(create(&path, b"two").unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }
}
