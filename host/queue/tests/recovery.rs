//! What survives a stop, a crash and damage.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::*;
use relevo_queue::disk::{Disk, DiskFault, FaultyDisk};
use relevo_queue::*;

fn open(disk: &FaultyDisk) -> Arc<EmbeddedStore> {
    EmbeddedStore::open_on(Arc::new(disk.clone()), "/q", config()).unwrap()
}

#[tokio::test]
async fn state_survives_a_restart_and_leases_of_an_earlier_boot_are_due() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    store
        .accept(vec![simple(1, "x.test"), simple(2, "y.test")], vec![event("acme", "email.queued", T0)])
        .await
        .unwrap();
    let old = lease_all(&store, T0).await;
    assert_eq!(old.len(), 2);
    settle_all(&store, vec![later(&old[0], T0 + HOUR)], vec![], vec![]).await.unwrap();
    store.close().await;
    let store = open(&disk);
    let lease = lease_one(&store, T0).await;
    assert_eq!(lease.delivery.id, old[1].delivery.id);
    assert_ne!(lease.token, old[1].token);
    let stale = settle_all(&store, vec![settle(&old[1], RecipientState::Delivered)], vec![], vec![]).await;
    assert!(matches!(stale, Err(StoreError::LeaseLost(_))));
    let view = store.item(old[0].delivery.id.item).await.unwrap().unwrap();
    assert_eq!(view.deliveries[0].delivery.attempts, 1);
    assert_eq!(view.deliveries[0].delivery.last.as_ref().unwrap().text, "try later");
    assert_eq!(store.events(None, 0, 10).await.unwrap().len(), 1);
    assert_eq!(store.next_due(T0).await, Some(T0 + HOUR));
}

/// A bounce that is written after a restart quotes for each recipient what was said about it.
#[tokio::test]
async fn what_was_learnt_of_each_recipient_survives_a_restart() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let new = vec![delivery("x.test", [0, 1, 2, 3], T0)];
    store.accept(vec![item(1, "acme", body_of(1), new)], vec![]).await.unwrap();
    let lease = lease_one(&store, T0).await;
    let failed = RecipientState::Failed { reported: false };
    let first = Settlement {
        recipients: vec![(0, failed.clone()), (1, failed.clone())],
        reasons: vec![(1, attempt("552 full")), (2, attempt("450 busy"))],
        last: Some(attempt("550 unknown")),
        ..later(&lease, T0 + HOUR)
    };
    settle_all(&store, vec![first], vec![], vec![]).await.unwrap();
    store.close().await;
    let store = open(&disk);
    let lease = lease_one(&store, T0 + HOUR).await;
    let heard = |delivery: &Delivery, index| delivery.reason(index).unwrap().text.clone();
    let texts: Vec<String> = (0..4).map(|i| heard(&lease.delivery, i)).collect();
    assert_eq!(texts, ["550 unknown", "552 full", "450 busy", "550 unknown"]);
    assert_eq!(lease.delivery.reasons.len(), 2, "what is the same is stored once");
    // A later attempt for 2 and 3 changes nothing about those that failed.
    let second = Settlement {
        recipients: vec![(2, RecipientState::Delivered), (3, failed)],
        reasons: vec![],
        ..later(&lease, T0 + 2 * HOUR)
    };
    settle_all(&store, vec![second], vec![], vec![]).await.unwrap();
    store.close().await;
    let store = open(&disk);
    let rounds = store.unreported(T0 + HOUR, 10).await.unwrap();
    let told: Vec<(u32, &str)> =
        rounds[0].2.iter().map(|u| (u.recipient.index, u.last.text.as_str())).collect();
    assert_eq!(told, [(0, "550 unknown"), (1, "552 full"), (3, "try later")]);
    let named = rounds[0].2.iter().filter(|u| u.recipient.index < 2).map(Unreported::key).collect();
    store.report(id(1), named, None, vec![]).await.unwrap();
    let view = store.item(id(1)).await.unwrap().unwrap();
    assert_eq!(view.deliveries[0].delivery.reasons, [], "reported ones are forgotten");
}

#[tokio::test]
async fn a_power_loss_right_after_ok_loses_nothing() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let mut spool = store.spool().await.unwrap();
    spool.write(&vec![b'x'; 100_000]).await.unwrap();
    let body = spool.finish().await.unwrap();
    let large =
        NewItem { id: id(2), meta: meta("acme"), body, deliveries: vec![delivery("x.test", [0], T0)] };
    store.accept(vec![simple(1, "x.test"), large], vec![]).await.unwrap();
    let store = open(&disk.power_loss(|| 0));
    assert_eq!(read(&store, id(1), 0..u64::MAX).await.unwrap(), body_of(1));
    assert_eq!(read(&store, id(2), 0..u64::MAX).await.unwrap(), vec![b'x'; 100_000]);
    assert_eq!(lease_all(&store, T0).await.len(), 2);
    assert_eq!(store.stats().quarantined, 0);
}

#[tokio::test]
async fn a_failed_sync_stops_the_store_for_good() {
    for nth in 1..=3 {
        let disk = FaultyDisk::new();
        let store = open(&disk);
        store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
        disk.order(DiskFault::Sync(nth));
        let mut failed = false;
        for n in 2..5 {
            failed |= store.accept(vec![simple(n, "x.test")], vec![]).await.is_err();
            assert!(failed || n < 5);
        }
        assert!(failed);
        disk.mend();
        assert!(store.ready().is_err());
        assert!(store.spool().await.is_err());
        assert!(store.append(vec![event("acme", "email.opened", T0)]).await.is_err());
        assert!(store.due(T0, &|_| false, 10).await.is_err());
        assert!(read(&store, id(1), 0..1).await.is_err());
        let store = open(&disk.power_loss(|| 0));
        assert_eq!(read(&store, id(1), 0..u64::MAX).await.unwrap(), body_of(1));
        assert_eq!(store.stats().quarantined, 0, "nothing half-written");
    }
}

/// An uncaught error anywhere once ended the process.
#[tokio::test]
async fn a_panic_in_the_writer_is_contained() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    let lease = lease_one(&store, T0).await;
    disk.order(DiskFault::Panic(1));
    let bounce = vec![simple(2, "example.com")];
    let done = settle(&lease, RecipientState::Delivered);
    let failed = settle_all(&store, vec![done.clone()], bounce, vec![]).await;
    assert!(matches!(&failed, Err(StoreError::Io(why)) if why.contains("internal fault")), "{failed:?}");
    store.accept(vec![simple(3, "x.test")], vec![]).await.unwrap();
    settle_all(&store, vec![done], vec![simple(2, "example.com")], vec![]).await.unwrap();
    assert_eq!(store.stats().items, 2);
    assert_eq!(read(&store, id(2), 0..u64::MAX).await.unwrap(), body_of(2));
}

#[tokio::test]
async fn a_spool_error_reaches_the_caller() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let mut spool = store.spool().await.unwrap();
    disk.order(DiskFault::Write(1));
    let wrote = spool.write(&vec![0; 200_000]).await;
    assert!(matches!(wrote, Err(StoreError::Io(_))));
    drop(spool);
    disk.order(DiskFault::TornWrite(1));
    assert!(store.accept(vec![simple(1, "x.test")], vec![]).await.is_err());
    assert!(store.item(id(1)).await.unwrap().is_none());
    store.accept(vec![simple(2, "x.test")], vec![]).await.unwrap();
    assert_eq!(read(&store, id(2), 0..u64::MAX).await.unwrap(), body_of(2));
    assert!(!disk.paths().iter().any(|p| p.starts_with("/q/spool")), "no file of a failed spool stays");
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_without_a_restart() {
    for nth in [1, 2, 3, 4, 6, 8, 11] {
        let disk = FaultyDisk::new();
        let store = open(&disk);
        store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
        disk.order(DiskFault::Full(nth));
        let mut refused = Vec::new();
        for n in 2..8 {
            match store.accept(vec![simple(n, "x.test")], vec![]).await {
                Ok(()) => {}
                Err(StoreError::Full) => refused.push(n),
                Err(other) => panic!("fault {nth}, item {n}: {other}"),
            }
        }
        assert!(!refused.is_empty());
        disk.mend();
        // What is free is asked for once a second.
        while matches!(store.accept(vec![simple(20, "x.test")], vec![]).await, Err(StoreError::Full)) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        for n in refused {
            assert!(store.item(id(n)).await.unwrap().is_none(), "nothing half-written");
        }
        let items = store.stats().items;
        store.close().await;
        let store = open(&disk);
        assert_eq!(store.stats().items, items);
        assert_eq!(store.stats().quarantined, 0);
        assert_eq!(read(&store, id(20), 0..u64::MAX).await.unwrap(), body_of(20));
    }
}

#[tokio::test]
async fn below_the_reserve_new_mail_is_refused_and_outcomes_pass() {
    let disk = FaultyDisk::new();
    disk.set_free(10_000);
    let reserve = StoreConfig { min_free: 1000, ..config() };
    let store = EmbeddedStore::open_on(Arc::new(disk.clone()), "/q", reserve).unwrap();
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    let lease = lease_one(&store, T0).await;
    disk.set_free(999);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert!(matches!(store.accept(vec![simple(2, "x.test")], vec![]).await, Err(StoreError::Full)));
    assert!(matches!(store.spool().await.err(), Some(StoreError::Full)));
    assert!(matches!(store.ready(), Err(StoreError::Full)));
    let bounce = item(3, "", body_of(3), vec![delivery("example.com", [0], T0)]);
    let failed = settle(&lease, RecipientState::Failed { reported: true });
    settle_all(&store, vec![failed], vec![bounce], vec![event("acme", "email.bounced", T0)]).await.unwrap();
    assert_eq!(store.stats().items, 1);
}

/// Overwrites part of a record in the index behind the store's back.
async fn damage(disk: &FaultyDisk, needle: &[u8]) {
    let file = disk.open(Path::new("/q/index.redb"), false).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    let places: Vec<usize> =
        bytes.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle).map(|(i, _)| i).collect();
    assert!(!places.is_empty());
    for place in places {
        disk.flip_bit(Path::new("/q/index.redb"), place);
    }
}

#[tokio::test]
async fn corrupt_entries_go_to_quarantine_and_stop_nothing() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let mut bad = simple(2, "bad-item.test");
    bad.meta.subject = "damaged subject".into();
    store
        .accept(
            vec![simple(1, "x.test"), bad, simple(3, "damaged-delivery.test"), simple(4, "x.test")],
            vec![],
        )
        .await
        .unwrap();
    store.close().await;
    damage(&disk, b"damaged subject").await;
    damage(&disk, b"damaged-delivery.test").await;
    let store = open(&disk);
    let leases = lease_all(&store, T0).await;
    let mut items: Vec<ItemId> = leases.iter().map(|l| l.delivery.id.item).collect();
    items.sort();
    assert_eq!(items, [id(1), id(4)]);
    assert_eq!(store.stats().items, 2);
    assert_eq!(store.stats().quarantined, 4);
    for n in [2, 3] {
        let kept = disk.open(&Path::new("/q/quarantine").join(format!("{}.eml", id(n))), false).unwrap();
        assert_eq!(kept.size().unwrap(), body_of(n).len() as u64);
    }
    store.close().await;
    let store = open(&disk);
    assert_eq!(store.stats().quarantined, 4);
    assert_eq!(lease_all(&store, T0).await.len(), 2);
}

#[tokio::test]
async fn a_body_that_fails_its_checksum_goes_to_quarantine_when_read() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    store.accept(vec![simple(1, "x.test"), simple(2, "x.test")], vec![]).await.unwrap();
    let segment = disk.paths().into_iter().find(|p| p.starts_with("/q/segments")).unwrap();
    disk.flip_bit(&segment, 48);
    // What was accepted a moment ago comes from memory; damage is met by who reads from the disk.
    assert_eq!(store.body(id(1)).await.unwrap().unwrap().size(), body_of(1).len() as u64);
    store.close().await;
    let store = open(&disk);
    assert!(matches!(store.body(id(1)).await, Err(StoreError::Corrupt(_))));
    assert!(store.item(id(1)).await.unwrap().is_none());
    assert_eq!(store.stats().quarantined, 2);
    assert_eq!(lease_one(&store, T0).await.delivery.id.item, id(2));
}

async fn accept_large(store: &Arc<EmbeddedStore>, n: u64, bytes: &[u8]) {
    let mut spool = store.spool().await.unwrap();
    for chunk in bytes.chunks(10_000) {
        spool.write(chunk).await.unwrap();
    }
    let body = spool.finish().await.unwrap();
    let large =
        NewItem { id: id(n), meta: meta("acme"), body, deliveries: vec![delivery("x.test", [0], T0)] };
    store.accept(vec![large], vec![]).await.unwrap();
}

/// Nothing damaged is ever given out: neither what was accepted in this run, nor what an earlier
/// one left.
#[tokio::test]
async fn a_large_body_is_checked_as_it_is_read() {
    let bytes: Vec<u8> = (0..=250).cycle().take(200_000).collect();
    for restart in [false, true] {
        let disk = FaultyDisk::new();
        let mut store = open(&disk);
        accept_large(&store, 1, &bytes).await;
        if restart {
            store.close().await;
            store = open(&disk);
            assert_eq!(read(&store, id(1), 0..u64::MAX).await.unwrap(), bytes);
        }
        disk.flip_bit(&body_file(&disk, 1), 150_000);
        let body = store.body(id(1)).await.unwrap().expect("it is not read again as a whole");
        let mut part = [0; 100];
        assert_eq!(body.read_at(65_500, &mut part).unwrap(), 36, "up to the end of a chunk");
        assert_eq!(part[..36], bytes[65_500..65_536]);
        for (at, length) in [(131_072, 65_536), (149_999, 3), (190_000, 1)] {
            let error = body.read_at(at, &mut vec![0; length]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        }
        assert!(matches!(read(&store, id(1), 0..10).await, Err(StoreError::Corrupt(_))));
        assert!(store.item(id(1)).await.unwrap().is_none(), "in quarantine");
    }
}

#[tokio::test]
async fn bodies_of_middling_size_go_into_the_segment_while_there_is_room() {
    let disk = FaultyDisk::new();
    // Room for one.
    let config = StoreConfig { spool_memory: 192 << 10, ..config() };
    let store = EmbeddedStore::open_on(Arc::new(disk.clone()), "/q", config.clone()).unwrap();
    let bytes: Vec<u8> = (0..=250).cycle().take(300_000).collect();
    let mut spools = Vec::new();
    for size in [200_000, 200_000, 300_000, 65_536] {
        let mut spool = store.spool().await.unwrap();
        for chunk in bytes[..size].chunks(1000) {
            spool.write(chunk).await.unwrap();
        }
        spools.push((size, spool));
    }
    for (n, (size, spool)) in (1..).zip(spools) {
        let body = spool.finish().await.unwrap();
        assert_eq!(body.source.size(), size as u64);
        let deliveries = vec![delivery("x.test", [0], T0)];
        store
            .accept(vec![NewItem { id: id(n), meta: meta("acme"), body, deliveries }], vec![])
            .await
            .unwrap();
    }
    let files = |disk: &FaultyDisk| disk.paths().iter().filter(|p| p.starts_with("/q/bodies")).count();
    assert_eq!(files(&disk), 2, "the first has the room, the last needs none");
    // The room is free again.
    let mut spool = store.spool().await.unwrap();
    spool.write(&bytes[..256 << 10]).await.unwrap();
    let body = spool.finish().await.unwrap();
    let deliveries = vec![delivery("x.test", [0], T0)];
    store.accept(vec![NewItem { id: id(5), meta: meta("acme"), body, deliveries }], vec![]).await.unwrap();
    assert_eq!(files(&disk), 2);
    let disk = disk.power_loss(|| 0);
    let store = EmbeddedStore::open_on(Arc::new(disk), "/q", config).unwrap();
    for (n, size) in (1..).zip([200_000, 200_000, 300_000, 65_536, 256 << 10]) {
        assert!(read(&store, id(n), 0..u64::MAX).await.unwrap() == bytes[..size], "{n}");
    }
    assert_eq!((store.stats().items, store.stats().quarantined), (5, 0));
}

#[tokio::test]
async fn damage_that_a_reader_of_the_store_finds_puts_the_item_aside() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    accept_large(&store, 1, &[7; 100_000]).await;
    disk.flip_bit(&body_file(&disk, 1), 99_999);
    assert!(matches!(read(&store, id(1), 90_000..91_000).await, Err(StoreError::Corrupt(_))));
    assert_eq!(store.stats().quarantined, 2);
}

#[test]
fn a_second_process_and_another_format_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), config()).unwrap();
    let second = EmbeddedStore::open(dir.path(), config()).unwrap_err();
    assert!(
        matches!(&second, OpenError::InUse { pid, .. } if *pid == std::process::id().to_string()),
        "{second}"
    );
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.close());
    for (format, said) in [(4, "format 4 is newer than format 3"), (2, "format 2 is older than format 3")] {
        std::fs::write(dir.path().join("format"), format!("relevo-queue {format}\n")).unwrap();
        let refused = EmbeddedStore::open(dir.path(), config()).unwrap_err();
        assert!(refused.to_string().contains(said), "{refused}");
    }
    std::fs::write(dir.path().join("format"), "something\n").unwrap();
    assert!(matches!(EmbeddedStore::open(dir.path(), config()), Err(OpenError::NotAStore { .. })));
}

#[test]
fn the_data_directory_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let _store = EmbeddedStore::open(&path, config()).unwrap();
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("bodies")), 0o700);
    assert_eq!(mode(&path.join("index.redb")), 0o600);
}

/// A policy's verdicts come with the message: one commit, and after a restart they are still so.
#[tokio::test]
async fn what_is_held_or_refused_from_the_start() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let said = |text: &str| LastAttempt { text: text.into(), ..LastAttempt::default() };
    let mut new = simple(1, "x.test");
    let mut refused = delivery("x.test", [1, 2], T0);
    refused.last = Some(said("550 no"));
    for recipient in &mut refused.recipients {
        recipient.state = RecipientState::Failed { reported: false };
    }
    let mut held = delivery("y.test", [3], T0);
    (held.held, held.last) = (true, Some(said("by plugin a")));
    new.deliveries.extend([refused, held]);
    store.accept(vec![new], vec![]).await.unwrap();
    assert_eq!((store.held("acme"), store.held("other"), store.stats().held), (1, 0, 1));
    assert!(store.unreported(T0, 10).await.unwrap().is_empty(), "one of them is due: the round is not over");

    let lease = lease_one(&store, T0).await;
    assert_eq!(lease.delivery.recipients[0].index, 0);
    settle_all(&store, vec![settle(&lease, RecipientState::Delivered)], vec![], vec![]).await.unwrap();
    assert!(lease_all(&store, T0).await.is_empty(), "the held one is not due");
    let round = store.unreported(T0, 10).await.unwrap();
    let told: Vec<_> = round[0].2.iter().map(|u| (u.recipient.index, u.last.text.as_str())).collect();
    assert_eq!(told, [(1, "550 no"), (2, "550 no")]);
    let names = round[0].2.iter().map(Unreported::key).collect();
    store.report(id(1), names, None, vec![]).await.unwrap();

    store.close().await;
    let store = open(&disk);
    assert_eq!(store.held("acme"), 1);
    assert!(lease_all(&store, T0).await.is_empty());
    assert_eq!(store.act(id(1), OperatorAction::Release, T0, vec![]).await.unwrap(), Acted::Done);
    assert_eq!((store.held("acme"), store.stats().held), (0, 0));
    let lease = lease_one(&store, T0).await;
    assert_eq!(lease.delivery.reason(3).map(|l| l.text.as_str()), Some("by plugin a"));
    settle_all(&store, vec![settle(&lease, RecipientState::Delivered)], vec![], vec![]).await.unwrap();
    assert!(store.item(id(1)).await.unwrap().is_none());
}
