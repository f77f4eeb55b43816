//! An index that is missing, empty or older must not destroy what it does not know.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::*;
use relevo_queue::disk::{Disk, FaultyDisk};
use relevo_queue::*;

const INDEX: &str = "/q/index.redb";

fn try_open(disk: &FaultyDisk) -> Result<Arc<EmbeddedStore>, OpenError> {
    EmbeddedStore::open_on(Arc::new(disk.clone()), "/q", config())
}

fn recover(disk: &FaultyDisk, release: bool) -> Recovered {
    EmbeddedStore::recover_on(Arc::new(disk.clone()), "/q", &config(), release).unwrap()
}

/// Forty messages, one of them large, and three that were delivered.
async fn forty() -> FaultyDisk {
    let disk = FaultyDisk::new();
    let store = try_open(&disk).unwrap();
    for n in 1..40 {
        store.accept(vec![simple(n, "x.test")], vec![]).await.unwrap();
    }
    let mut spool = store.spool().await.unwrap();
    spool.write(&vec![b'x'; 100_000]).await.unwrap();
    let body = spool.finish().await.unwrap();
    let meta = ItemMeta { size: 100_000, ..meta("acme") };
    let large = NewItem { id: id(40), meta, body, deliveries: vec![delivery("y.test", [0], T0)] };
    store.accept(vec![large], vec![]).await.unwrap();
    store.close().await;
    disk
}

/// Refused by name, with the remedy, and everything is still there.
fn assert_refused(disk: &FaultyDisk, why: &str) {
    let before = disk.paths();
    for _ in 0..2 {
        let error = try_open(disk).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("relevo queue recover"), "{error}");
    }
    let spool = |path: &&PathBuf| !path.starts_with("/q/spool");
    assert_eq!(disk.paths().iter().filter(spool).collect::<Vec<_>>(), before.iter().collect::<Vec<_>>());
}

async fn assert_all_there(disk: &FaultyDisk) {
    let store = try_open(disk).unwrap();
    assert_eq!((store.stats().items, store.stats().quarantined), (40, 0));
    for n in 1..40 {
        assert_eq!(read(&store, id(n), 0..u64::MAX).await.unwrap(), body_of(n));
    }
    assert_eq!(read(&store, id(40), 0..u64::MAX).await.unwrap(), vec![b'x'; 100_000]);
    store.close().await;
}

#[tokio::test]
async fn without_its_index_a_store_is_refused_and_can_be_recovered() {
    for empty in [false, true] {
        let disk = forty().await;
        if empty {
            replace(&disk, Path::new(INDEX), b"")
        } else {
            disk.remove(Path::new(INDEX)).unwrap()
        }
        assert_refused(&disk, if empty { "it is empty" } else { "it is missing" });
        assert_eq!(recover(&disk, false), Recovered { kept: 0, found: 40, quarantined: vec![] });
        // Again: nothing is found twice.
        assert_eq!(recover(&disk, false), Recovered { kept: 40, found: 0, quarantined: vec![] });
        assert_all_there(&disk).await;
        let store = try_open(&disk).unwrap();
        assert_eq!(store.stats().held, 40, "some may have been delivered already");
        assert!(lease_all(&store, T0).await.is_empty());
        assert_eq!(store.act(id(3), OperatorAction::Release, T0, vec![]).await.unwrap(), Acted::Done);
        assert_eq!(lease_one(&store, T0).await.delivery.recipients, [recipient(0, "x.test")]);
    }
}

#[tokio::test]
async fn what_is_recovered_can_be_sent_at_once() {
    let disk = forty().await;
    replace(&disk, Path::new(INDEX), &[7; 10_000]);
    let error = try_open(&disk).unwrap_err().to_string();
    assert!(error.contains(INDEX), "{error}");
    let quarantined = vec!["index.redb.1".to_owned()];
    assert_eq!(recover(&disk, true), Recovered { kept: 0, found: 40, quarantined });
    let store = try_open(&disk).unwrap();
    assert_eq!(lease_all(&store, T0).await.len(), 40);
}

/// A copy of the index from before a restart.
#[tokio::test]
async fn an_index_of_an_earlier_start_is_refused() {
    let disk = FaultyDisk::new();
    let store = try_open(&disk).unwrap();
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    store.close().await;
    let old = content(&disk, Path::new(INDEX));
    for n in 2..4 {
        let store = try_open(&disk).unwrap();
        store.accept(vec![simple(n, "x.test")], vec![]).await.unwrap();
        store.close().await;
    }
    replace(&disk, Path::new(INDEX), &old);
    assert_refused(&disk, "older than the directory");
    assert_eq!(recover(&disk, false), Recovered { kept: 1, found: 2, quarantined: vec![] });
    let store = try_open(&disk).unwrap();
    assert_eq!(store.stats().held, 2);
    assert_eq!(lease_one(&store, T0).await.delivery.id.item, id(1));
}

/// A copy of the index that was made while the store was open, and put back after a crash.
#[tokio::test]
async fn an_index_of_an_earlier_commit_is_refused() {
    for large in [false, true] {
        let disk = FaultyDisk::new();
        let store = try_open(&disk).unwrap();
        store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
        let old = content(&disk, Path::new(INDEX));
        for n in 2..5 {
            let mut spool = store.spool().await.unwrap();
            spool.write(&vec![b'x'; if large { 70_000 } else { 10 }]).await.unwrap();
            let body = spool.finish().await.unwrap();
            let meta = ItemMeta { size: body.source.size(), ..meta("acme") };
            let item = NewItem { id: id(n), meta, body, deliveries: vec![delivery("y.test", [0], T0)] };
            store.accept(vec![item], vec![]).await.unwrap();
        }
        let disk = disk.power_loss(|| 0);
        replace(&disk, Path::new(INDEX), &old);
        assert_refused(&disk, "the index is older");
        assert_eq!(recover(&disk, false), Recovered { kept: 1, found: 3, quarantined: vec![] });
        let store = try_open(&disk).unwrap();
        assert_eq!(store.stats().items, 4);
    }
}

#[tokio::test]
async fn an_index_of_another_store_is_refused() {
    let (disk, other) = (forty().await, forty().await);
    replace(&disk, Path::new(INDEX), &content(&other, Path::new(INDEX)));
    assert_refused(&disk, "another store");
    disk.remove(Path::new("/q/format")).unwrap();
    assert_refused(&disk, "the directory has mail");
}

/// What was delivered and whose segment is not gone yet comes again, held; what has no envelope is
/// kept as a file.
#[tokio::test]
async fn bodies_that_nothing_is_known_of_go_to_quarantine() {
    let disk = forty().await;
    disk.remove(Path::new(INDEX)).unwrap();
    for path in disk.paths().iter().filter(|p| p.starts_with("/q/segments")) {
        disk.remove(path).unwrap();
    }
    let quarantined = vec![format!("{}.eml", id(40))];
    assert_eq!(recover(&disk, false), Recovered { kept: 0, found: 0, quarantined });
    let kept = content(&disk, &Path::new("/q/quarantine").join(format!("{}.eml", id(40))));
    assert_eq!(kept, vec![b'x'; 100_000]);
}

/// Whatever is damaged: the store opens, or the error names the file. It never panics.
#[tokio::test]
async fn damage_to_the_index_is_an_error_that_names_it() {
    let disk = forty().await;
    let good = content(&disk, Path::new(INDEX));
    for n in 0..120 {
        let mut bad = good.clone();
        let at = (n * 7919 * 37) % (bad.len() - 64);
        bad[at..at + 64].iter_mut().for_each(|octet| *octet = octet.wrapping_mul(3).wrapping_add(91));
        let copy = disk.image(|| 1);
        replace(&copy, Path::new(INDEX), &bad);
        if let Err(error) = try_open(&copy) {
            assert!(error.to_string().contains(INDEX), "{error}");
        }
    }
}
