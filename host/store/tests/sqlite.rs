//! The contract on SQLite, and what is particular to a file.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use relevo_store::{ControlStore, ControlStoreError, DirectoryStore, StoreUrl, TenantRecord, TenantSettings};
use sqlx::Connection as _;

mod contract;

async fn open(path: &Path) -> Result<ControlStore, ControlStoreError> {
    ControlStore::open(&StoreUrl::File(path.to_owned())).await
}

fn tenant(id: &str) -> TenantRecord {
    TenantRecord { id: id.into(), settings: TenantSettings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("control.sqlite")).await.expect("opens");
    contract::holds(&store).await;
}

#[tokio::test]
async fn what_was_written_is_there_without_a_clean_stop() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control.sqlite");
    let store = open(&path).await.expect("opens");
    store.put_tenant(&tenant("acme")).await.expect("adds");
    // As after SIGKILL: file and log are taken as they are at this moment.
    let copy = directory.path().join("copy.sqlite");
    for (from, to) in [(path.clone(), copy.clone()), (log_of(&path), log_of(&copy))] {
        std::fs::copy(from, to).expect("copies");
    }
    let again = open(&copy).await.expect("opens");
    assert_eq!(again.directory().await.expect("reads").tenants, [tenant("acme")]);
}

fn log_of(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

#[tokio::test]
async fn the_files_are_nobody_elses() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control.sqlite");
    let store = open(&path).await.expect("opens");
    store.put_tenant(&tenant("acme")).await.expect("adds");
    for file in [path.clone(), log_of(&path)] {
        let mode = std::fs::metadata(&file).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    store.close().await;

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("ours");
    let error = open(&path).await.expect_err("open to others").to_string();
    assert!(error.contains("0600"), "{error}");

    let link = directory.path().join("link.sqlite");
    symlink(directory.path().join("elsewhere"), &link).expect("links");
    let error = open(&link).await.expect_err("a link").to_string();
    assert!(error.contains("link.sqlite"), "{error}");
    assert!(!directory.path().join("elsewhere").exists());
}

/// An empty store in its place would have no plugins.
#[tokio::test]
async fn a_store_that_is_gone_is_not_made_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control.sqlite");
    open(&path).await.expect("opens").close().await;
    open(&path).await.expect("opens again").close().await;
    std::fs::remove_file(&path).expect("was there");
    let error = open(&path).await.expect_err("gone").to_string();
    assert!(error.contains("is gone") && error.contains("control.made"), "{error}");
    assert!(!path.exists());
    std::fs::remove_file(path.with_extension("made")).expect("was there");
    open(&path).await.expect("begins anew");
}

#[tokio::test]
async fn a_file_that_is_no_store_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control.sqlite");
    let text = b"this is somebody's letter, long enough to have the length of a header of SQLite: 100 octets, and more than that";
    std::fs::write(&path, text).expect("writes");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
    assert!(open(&path).await.is_err());
    assert_eq!(std::fs::read(&path).expect("reads"), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_two_processes_wait_for_each_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control.sqlite");
    let stores = [open(&path).await.expect("opens"), open(&path).await.expect("opens again")];
    let [one, two] = stores.map(|store| {
        tokio::spawn(async move {
            for n in 0..50 {
                store.put_tenant(&tenant(&format!("t{n}"))).await.expect("adds");
            }
            store
        })
    });
    let (one, two) = (one.await.expect("runs"), two.await.expect("runs"));
    assert_eq!(one.directory_revision().await.expect("reads"), 100);
    assert_eq!(two.directory().await.expect("reads").tenants.len(), 50);
}

#[tokio::test]
async fn a_store_of_another_version_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control.sqlite");
    let url = StoreUrl::File(path.clone());
    let error = ControlStore::open_as_is(&url).await.expect_err("nothing there").to_string();
    assert!(error.contains("control.sqlite"), "{error}");
    assert!(!path.exists());
    open(&path).await.expect("opens").close().await;
    ControlStore::open_as_is(&url).await.expect("of this version").close().await;
    let change = async |sql: &'static str| {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("opens");
        sqlx::query(sql).execute(&mut connection).await.expect("changes");
        connection.close().await.expect("closes");
    };
    change("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 20").await;
    for error in
        [open(&path).await.expect_err("newer"), ControlStore::open_as_is(&url).await.expect_err("newer")]
    {
        assert!(matches!(error, ControlStoreError::Newer(9999)), "{error:?}");
        assert!(error.to_string().contains("start that version"), "{error}");
    }
    change("DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    let error = ControlStore::open_as_is(&url).await.expect_err("older");
    assert!(matches!(error, ControlStoreError::Older(19)), "{error:?}");
}
