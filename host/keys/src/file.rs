//! Files with secrets: who may read them, and how they are made.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::api::KeyError;

/// Octets of a file. An RSA key of 8192 bits has 6 KiB in PEM.
const MAX_FILE: u64 = 64 * 1024;

/// Whether the permissions of a file are those of a secret, for files that are read elsewhere (the TLS key). A warning when its
/// group can read it.
///
/// # Errors
/// [`KeyError::File`]: missing, not a file, open to others, writable by its group.
pub fn check_permissions(path: &Path) -> Result<Option<String>, KeyError> {
    let metadata = std::fs::metadata(path).map_err(|e| problem(path, e.to_string()))?;
    check(path, &metadata)
}

/// The content, and the warning of [`check_permissions`] about the very file that was read.
pub(crate) fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Option<String>), KeyError> {
    let failed = |e: std::io::Error| problem(path, e.to_string());
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let warning = check(path, &metadata)?;
    // As large as it may get: growing would leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_FILE + 1).unwrap_or(0)));
    file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_FILE {
        return Err(problem(path, "has more than 64 KiB".to_owned()));
    }
    Ok((content, warning))
}

/// Makes a file that only its owner can read. It has these permissions from its first instant.
pub(crate) fn create(path: &Path, content: &[u8]) -> std::io::Result<()> {
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

fn check(path: &Path, metadata: &Metadata) -> Result<Option<String>, KeyError> {
    if !metadata.is_file() {
        return Err(problem(path, "is not a regular file".to_owned()));
    }
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
            for error in [check_permissions(&path).unwrap_err(), read(&path).map(|_| ()).unwrap_err()] {
                assert!(
                    error.to_string().contains(&format!("chmod 600 {}", path.display())),
                    "{mode:o}: {error}"
                );
            }
        }
    }

    #[test]
    fn readable_by_the_group_is_a_warning() {
        let (_dir, path) = file_of_mode(0o640);
        assert!(read(&path).unwrap().1.unwrap().contains("chmod 600"));
        for mode in [0o600, 0o400] {
            let (_dir, path) = file_of_mode(mode);
            assert_eq!(check_permissions(&path).unwrap(), None);
        }
    }

    #[test]
    fn a_missing_file_and_a_directory_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none");
        assert!(check_permissions(&missing).unwrap_err().to_string().contains("none"));
        assert!(check_permissions(dir.path()).unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        create(&path, &vec![b'x'; 70_000]).unwrap();
        assert!(read(&path).map(|_| ()).unwrap_err().to_string().contains("64 KiB"));
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
