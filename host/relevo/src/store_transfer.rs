//! `relevo store`: the store of control-plane data as a file, with the files of the data directory
//! that belong to it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufReader, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use relevo_queue::{DirectoryLock, OpenError};
use relevo_store::{ControlStore, TransferFile, Transferred};

use crate::cli::{StoreTransferArgs, StoreTransferCommand};
use crate::config::ServerParts;
use crate::store;

/// Secrets of the relay that all its nodes must have in common.
const SECRETS: [&str; 2] = ["scram.key", "tracking.key"];
/// The folder of domains' private keys.
const KEYS: &str = "dkim";
/// Octets of a file beside the tables.
const MAX_FILE: u64 = 64 << 10;

/// Moves, and says what was moved.
pub(crate) fn run(args: &StoreTransferArgs) -> anyhow::Result<ExitCode> {
    let (_, parts) = store::load(&args.config)?.split();
    let (done, what) = store::run(async {
        Ok(match &args.command {
            StoreTransferCommand::Export { file } => (export(&parts, file).await?, "exported"),
            StoreTransferCommand::Import { file } => (import(&parts, file).await?, "imported"),
        })
    })?;
    let Transferred { tables, rows, files } = done;
    // Standard output may be the export.
    match args.json {
        true => eprintln!("{}", serde_json::to_string(&done)?),
        false => eprintln!(
            "{what}: {rows} rows of {tables} tables, and {files} files of {}",
            parts.data_dir.display()
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

async fn export(parts: &ServerParts, file: &Path) -> anyhow::Result<Transferred> {
    let opened = ControlStore::open_as_is(&parts.store).await;
    let store = opened.with_context(|| format!("{} cannot be read", parts.store))?;
    let files = |keys: Vec<String>| files_of(&parts.data_dir, keys);
    if is_standard(file) {
        return Ok(store.export(std::io::stdout().lock(), files).await?);
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let made = made.with_context(|| format!("{} cannot be made", file.display()))?;
    let exported = store.export(&made, files).await.map_err(anyhow::Error::from);
    let exported = exported.and_then(|done| made.sync_all().map(|()| done).map_err(Into::into));
    if exported.is_err() {
        // Half of an export is of no use.
        let _ = std::fs::remove_file(file);
    }
    store.close().await;
    exported
}

/// Reads the files that belong to the store. One that is not there is named, and left out.
fn files_of(data_dir: &Path, keys: Vec<String>) -> Result<Vec<TransferFile>, String> {
    let mut files = Vec::new();
    for path in SECRETS.map(str::to_owned).into_iter().chain(keys) {
        if !may_be_moved(&path) {
            eprintln!(
                "warning: {path} is not in the folder {KEYS} of the data directory: it is not in the export"
            );
            continue;
        }
        match relevo_keys::read_file(&data_dir.join(&path), MAX_FILE) {
            Ok(content) => files.push(TransferFile { path, content }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !SECRETS.contains(&path.as_str()) {
                    eprintln!("warning: the private key {path} is not here: it is not in the export");
                }
            }
            Err(error) => return Err(format!("{}: {error}", data_dir.join(&path).display())),
        }
    }
    Ok(files)
}

/// A secret of the relay, or a file in the folder of keys: no other path may come out of a file.
fn may_be_moved(path: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
    };
    SECRETS.contains(&path)
        || path.split_once('/').is_some_and(|(folder, name)| folder == KEYS && is_name(name))
}

async fn import(parts: &ServerParts, file: &Path) -> anyhow::Result<Transferred> {
    let data_dir = &parts.data_dir;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.with_context(|| format!("{} cannot be made", data_dir.display()))?;
    store::ensure_own(data_dir)?;
    let _lock = DirectoryLock::of(data_dir).map_err(|error| match error {
        OpenError::InUse { .. } => anyhow!("a relay runs on {}: stop it", data_dir.display()),
        other => other.into(),
    })?;
    let input: Box<dyn std::io::BufRead> = match is_standard(file) {
        true => Box::new(std::io::stdin().lock()),
        false => {
            let opened = File::open(file).with_context(|| file.display().to_string())?;
            Box::new(BufReader::with_capacity(1 << 16, opened))
        }
    };
    let opened = ControlStore::open(&parts.store).await;
    let store = opened.with_context(|| format!("{} cannot be opened", parts.store))?;
    let imported = store.import(input, |files| put_files(data_dir, files)).await;
    store.close().await;
    Ok(imported?)
}

/// Makes the files that are not there. Nothing is made if one of them is there and another one.
fn put_files(data_dir: &Path, files: &[TransferFile]) -> Result<(), String> {
    let mut missing: Vec<(PathBuf, &[u8])> = Vec::new();
    for TransferFile { path, content } in files {
        if !may_be_moved(path) {
            return Err(format!("the file has `{path}`, which does not belong to a store"));
        }
        let path = data_dir.join(path);
        match relevo_keys::read_file(&path, MAX_FILE) {
            Ok(found) if found == *content => {}
            Ok(_) => {
                return Err(format!("{} is there and has another content: move it away", path.display()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => missing.push((path, content)),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    let (mut made, mut failed) = (Vec::new(), None);
    for (path, content) in missing {
        match put_file(&path, content) {
            Ok(()) => made.push(path),
            Err(error) => {
                failed = Some(format!("{}: {error}", path.display()));
                break;
            }
        }
    }
    let Some(why) = failed else { return Ok(()) };
    for path in made {
        let _ = std::fs::remove_file(path);
    }
    Err(why)
}

fn put_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
        return written;
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &[u8]) -> TransferFile {
        TransferFile { path: path.into(), content: content.to_vec() }
    }

    #[test]
    fn only_files_of_the_store_are_moved() {
        for good in ["tracking.key", "scram.key", "dkim/01ABC.pem"] {
            assert!(may_be_moved(good), "{good}");
        }
        for bad in [
            "",
            "lock",
            "dkim",
            "dkim/",
            "dkim/..",
            "dkim/.x",
            "dkim/a/b",
            "../x",
            "/etc/passwd",
            "dkim/a\0b",
        ] {
            assert!(!may_be_moved(bad), "{bad}");
        }
    }

    #[test]
    fn files_are_made_for_their_owner_and_never_replaced() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().expect("a folder");
        let files = [file("tracking.key", b"1"), file("dkim/a.pem", b"2")];
        put_files(folder.path(), &files).expect("new");
        put_files(folder.path(), &files).expect("the same");
        let mode = std::fs::metadata(folder.path().join("dkim/a.pem")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            files_of(folder.path(), vec!["dkim/a.pem".into(), "dkim/none".into()]).expect("reads"),
            files
        );
        let other = [file("dkim/b.pem", b"3"), file("tracking.key", b"9")];
        let error = put_files(folder.path(), &other).expect_err("another one");
        assert!(error.contains("tracking.key") && error.contains("move it away"), "{error}");
        assert!(!folder.path().join("dkim/b.pem").exists());
        put_files(folder.path(), &[file("control.sqlite", b"")]).expect_err("not a file of a store");
        assert!(!folder.path().join("control.sqlite").exists());
    }
}
