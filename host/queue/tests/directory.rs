//! The data directory is the relay's own: links in it are not followed, and a second process is
//! kept out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::*;
use relevo_queue::*;

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn planted_links_are_refused_by_name_and_not_followed() {
    let dirs = ["spool", "bodies", "segments", "quarantine"];
    for name in dirs.into_iter().chain(["lock", "format", "index.redb", "reserve", "format.new"]) {
        let dir = tempfile::tempdir().unwrap();
        let (data, target) = (dir.path().join("data"), dir.path().join("target"));
        std::fs::create_dir(&data).unwrap();
        let victim = if dirs.contains(&name) {
            std::fs::create_dir(&target).unwrap();
            target.join("victim")
        } else {
            target.clone()
        };
        std::fs::write(&victim, "precious").unwrap();
        symlink(&target, data.join(name)).unwrap();
        match EmbeddedStore::open(&data, StoreConfig { reserve: 4096, ..config() }) {
            // A link is removed with what is left of a start that did not end, and a reserve that
            // cannot be made is none.
            Ok(store) if matches!(name, "index.redb" | "reserve") => store.close().await,
            Ok(_) => panic!("{name} was followed"),
            Err(error) => {
                let text = error.to_string();
                let file = if name == "format.new" { "format" } else { name };
                assert!(text.contains(file) && text.contains("symbolic link"), "{name}: {text}");
            }
        }
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious", "{name}");
    }
}

#[tokio::test]
async fn a_data_directory_may_be_reached_by_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    std::fs::create_dir(dir.path().join("data")).unwrap();
    symlink(dir.path().join("data"), &link).unwrap();
    let store = EmbeddedStore::open(&link, config()).unwrap();
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    assert!(matches!(EmbeddedStore::open(dir.path().join("data"), config()), Err(OpenError::InUse { .. })));
}

#[tokio::test]
async fn removing_a_file_does_not_let_a_second_process_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), config()).unwrap();
    let lock = dir.path().join("lock");
    let pid = std::fs::read_to_string(&lock).unwrap();
    assert_eq!(pid.trim(), std::process::id().to_string());
    std::fs::remove_file(&lock).unwrap();
    assert!(matches!(EmbeddedStore::open(dir.path(), config()), Err(OpenError::InUse { .. })));
    assert!(matches!(DirectoryLock::of(dir.path()), Err(OpenError::InUse { .. })));
    store.close().await;
    EmbeddedStore::open(dir.path(), config()).unwrap();
}

/// Whatever the umask takes away, and whatever was there before.
#[tokio::test]
async fn files_are_0600_and_directories_0700() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o277));
    let store = EmbeddedStore::open(&data, StoreConfig { reserve: 4096, ..config() }).unwrap();
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    store.close().await;
    rustix::process::umask(before);
    for name in ["index.redb", "format", "reserve", "segments/00000000.seg"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    for name in ["", "segments", "bodies", "spool", "quarantine"] {
        assert_eq!(mode(&data.join(name)), 0o700, "{name}");
    }
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(data.join("index.redb"), PermissionsExt::from_mode(0o644)).unwrap();
    EmbeddedStore::open(&data, config()).unwrap().close().await;
    assert_eq!((mode(&data), mode(&data.join("index.redb"))), (0o700, 0o600));
}
