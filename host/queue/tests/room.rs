//! A disk that somebody else filled, by octets or by inodes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use relevo_queue::disk::FaultyDisk;
use relevo_queue::*;

fn reserved() -> StoreConfig {
    StoreConfig { reserve: 1 << 20, ..config() }
}

fn open(disk: &FaultyDisk) -> Arc<EmbeddedStore> {
    EmbeddedStore::open_on(Arc::new(disk.clone()), "/q", reserved()).unwrap()
}

/// As the relay does: until it is stored.
async fn settle_in_the_end(store: &Arc<EmbeddedStore>, lease: &Lease) {
    for _ in 0..3 {
        let done = settle(lease, RecipientState::Delivered);
        match settle_all(store, vec![done], vec![], vec![event("acme", "email.delivered", T0)]).await {
            Ok(()) => return,
            Err(StoreError::Full) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the outcome found no room");
}

/// 318 messages once became 632 and 947 over clean restarts: what was delivered could not be
/// stored.
#[tokio::test]
async fn on_a_full_disk_outcomes_are_stored_and_nothing_else_begins() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    for n in 0..60 {
        store.accept(vec![simple(n, "x.test")], vec![]).await.unwrap();
    }
    let leases = store.lease(&[QueueKey::of_domain("x.test")], T0, T0 + HOUR, 40).await.unwrap();
    assert_eq!(leases.len(), 40);
    let used = disk.set_capacity(None);
    disk.set_capacity(Some(used));
    for lease in &leases {
        settle_in_the_end(&store, lease).await;
    }
    assert!(matches!(store.accept(vec![simple(90, "x.test")], vec![]).await, Err(StoreError::Full)));
    assert!(matches!(store.append(vec![event("acme", "email.opened", T0)]).await, Err(StoreError::Full)));
    assert!(matches!(store.ready(), Err(StoreError::Full)));
    assert!(lease_all(&store, T0).await.is_empty(), "an attempt began whose outcome may find no room");
    assert_eq!(store.next_due(T0).await, Some(T0 + 1000), "room is looked for again");
    store.close().await;
    // The disk is as full after a restart: nothing is repeated.
    for _ in 0..3 {
        let store = open(&disk);
        assert_eq!(store.stats().items, 20);
        assert!(lease_all(&store, T0).await.is_empty());
        store.close().await;
    }
    let store = open(&disk);
    disk.set_capacity(None);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(lease_all(&store, T0).await.len(), 20);
    store.accept(vec![simple(91, "x.test")], vec![]).await.unwrap();
}

#[tokio::test]
async fn a_reserve_that_is_allocated_survives_others() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    store.close().await;
    let used = disk.set_capacity(None);
    disk.set_capacity(Some(used));
    let store = open(&disk);
    let leases = lease_all(&store, T0).await;
    for lease in &leases {
        settle_in_the_end(&store, lease).await;
    }
    assert_eq!(store.stats().items, 1 - leases.len() as u64);
}

#[tokio::test]
async fn without_inodes_new_mail_is_refused() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    disk.set_inodes(1000);
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    disk.set_inodes(10);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(matches!(store.accept(vec![simple(2, "x.test")], vec![]).await, Err(StoreError::NoInodes)));
    assert!(matches!(store.spool().await.err(), Some(StoreError::NoInodes)));
    let error = store.ready().unwrap_err();
    assert!(error.to_string().contains("inodes"), "{error}");
    assert_eq!(store.stats().free_inodes, Some(10));
    let lease = lease_one(&store, T0).await;
    settle_in_the_end(&store, &lease).await;
}
