//! The replicated log below the store: what is promised is in it, and whoever takes the shard over
//! has it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use relevo_queue::disk::{Disk, DiskFault, FaultyDisk};
use relevo_queue::shard_log::memory::{LogFault, MemoryLog};
use relevo_queue::shard_log::{AppendError, ShardLog as _};
use relevo_queue::testing::binding;
use relevo_queue::*;

fn open(dir: &Path, log: &MemoryLog, owner: &str) -> Result<Arc<EmbeddedStore>, OpenError> {
    EmbeddedStore::open_logged(dir, config(), &binding(log, owner, 1 << 30))
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Octets that hardly shrink.
fn noise(n: u64, octets: u64) -> Vec<u8> {
    let mut state = n | 1 << 40;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[2]
    };
    (0..octets).map(|_| next()).collect()
}

/// Larger than what a segment takes.
fn large(n: u64) -> Vec<u8> {
    noise(n, 700_000)
}

async fn spooled(store: &EmbeddedStore, body: &[u8]) -> SpooledBody {
    let mut spool = store.spool().await.unwrap();
    for chunk in body.chunks(60_000) {
        spool.write(chunk).await.unwrap();
    }
    spool.finish().await.unwrap()
}

async fn accept_large(store: &EmbeddedStore, n: u64, domain: &str) {
    let body = large(n);
    let mut new = item(n, "acme", body.clone(), vec![delivery(domain, [0], T0)]);
    new.body = spooled(store, &body).await;
    store.accept(vec![new], vec![]).await.unwrap();
}

#[tokio::test]
async fn whoever_takes_over_has_what_was_promised() {
    let (log, first, second) = (MemoryLog::new(), temp(), temp());
    let a = open(first.path(), &log, "a").unwrap();
    a.accept(vec![simple(1, "b.test"), simple(2, "c.test")], vec![event("acme", "one", T0)]).await.unwrap();
    accept_large(&a, 3, "b.test").await;
    let lease = a.lease(&[QueueKey::of_domain("c.test")], T0, T0 + HOUR, 1).await.unwrap().remove(0);
    settle_all(&a, vec![settle(&lease, RecipientState::Delivered)], vec![], vec![event("acme", "two", T0)])
        .await
        .unwrap();

    let b = open(second.path(), &log, "b").unwrap();
    assert_eq!(b.id(), a.id());
    assert_eq!(read(&b, id(1), 0..100).await.unwrap(), body_of(1));
    assert_eq!(b.item(id(2)).await.unwrap().map(|_| ()), None, "it was delivered");
    assert_eq!(read(&b, id(3), 0..1 << 20).await.unwrap(), large(3));
    assert_eq!(marks(b.events(None, 0, 10).await.unwrap()), ["one", "two"]);
    assert_eq!(lease_all(&b, T0).await.len(), 2);
    b.close().await;
    // Also from its own directory, with what the log has beyond it.
    let b = open(second.path(), &log, "b").unwrap();
    assert_eq!(read(&b, id(3), 0..1 << 20).await.unwrap(), large(3));
}

#[tokio::test]
async fn an_owner_that_was_replaced_promises_nothing() {
    let (log, first, second) = (MemoryLog::new(), temp(), temp());
    let a = open(first.path(), &log, "a").unwrap();
    a.accept(vec![simple(1, "b.test")], vec![]).await.unwrap();
    let lease = lease_one(&a, T0).await;
    let b = open(second.path(), &log, "a").unwrap();
    b.accept(vec![simple(2, "b.test")], vec![]).await.unwrap();
    let refused = a.accept(vec![simple(3, "b.test")], vec![]).await;
    assert!(matches!(refused, Err(StoreError::Io(why)) if why.contains("another owner")));
    assert!(settle_all(&a, vec![settle(&lease, RecipientState::Delivered)], vec![], vec![]).await.is_err());
    assert!(a.due(T0, &|_| false, 10).await.is_err(), "it begins no attempt");
    assert_eq!(b.stats().items, 2);
    assert_eq!(b.item(id(3)).await.unwrap().map(|_| ()), None);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_never_guessed() {
    for fault in [LogFault::LostAnswer, LogFault::LostRecord, LogFault::Delayed] {
        let (log, first, second) = (MemoryLog::new(), temp(), temp());
        let a = open(first.path(), &log, "a").unwrap();
        log.fail([fault]);
        a.accept(vec![simple(1, "b.test")], vec![]).await.unwrap();
        a.accept(vec![simple(2, "b.test")], vec![]).await.unwrap();
        a.close().await;
        let b = open(second.path(), &log, "b").unwrap();
        assert_eq!(b.stats().items, 2, "{fault:?}");
        assert_eq!(lease_all(&b, T0).await.len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn nothing_is_accepted_or_attempted_while_the_log_is_away() {
    let (log, first) = (MemoryLog::new(), temp());
    let a = open(first.path(), &log, "a").unwrap();
    a.accept(vec![simple(1, "b.test")], vec![]).await.unwrap();
    log.set_away(true);
    let refused = a.accept(vec![simple(2, "b.test")], vec![]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(matches!(a.ready(), Err(StoreError::Unavailable(_))));
    assert!(a.spool().await.is_err());
    assert_eq!(lease_all(&a, T0).await.len(), 0);
    let before = log.appends();
    for n in 3..20 {
        assert!(a.accept(vec![simple(n, "b.test")], vec![]).await.is_err());
    }
    assert!(log.appends() <= before + 1, "one call in a second finds out");
    log.set_away(false);
    let mut tries = 0;
    while a.accept(vec![simple(30, "b.test")], vec![]).await.is_err() {
        tries += 1;
        assert!(tries < 100);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(lease_all(&a, T0).await.len(), 2);
    assert_eq!(a.stats().items, 2, "what was refused is not there");
}

#[tokio::test]
async fn a_log_gets_checkpoints_and_is_trimmed_while_mail_goes_on() {
    let log = MemoryLog::with_max_record(128 << 10);
    let disks: [Arc<dyn Disk>; 2] = [Arc::new(FaultyDisk::new()), Arc::new(FaultyDisk::new())];
    let open = |disk: usize, owner, config, trim_at| {
        let binding = binding(&log, owner, trim_at);
        EmbeddedStore::open_logged_on(disks[disk].clone(), "/q", config, &binding).unwrap()
    };
    let small = StoreConfig { segment_size: 256 << 10, compact_after: Duration::ZERO, ..config() };
    let a = open(0, "a", small, 2 << 20);
    accept_large(&a, 1_000_000, "waits.test").await;
    for n in 0..1500 {
        // Not compressible, as the log's size is looked at.
        let body = noise(n, 8_000);
        let domain = if n % 100 == 0 { "waits.test" } else { "b.test" };
        let new = item(n, "acme", body, vec![delivery(domain, [0], T0)]);
        a.accept(vec![new], vec![event("acme", &n.to_string(), T0)]).await.unwrap();
        if domain == "b.test" {
            let lease = a.lease(&[QueueKey::of_domain("b.test")], T0, T0 + HOUR, 10).await.unwrap();
            let done = lease.iter().map(|lease| Arc::new(settle(lease, RecipientState::Delivered)));
            a.settle(done.collect(), vec![]).await.unwrap();
        }
    }
    a.close().await;
    let bounds = log.bounds().await.unwrap();
    assert!(bounds.first > 1000, "{bounds:?}");
    assert!(bounds.octets < 8 << 20, "{bounds:?}");
    let b = open(1, "b", config(), 1 << 30);
    assert_eq!((b.stats().items, b.stats().quarantined), (16, 0));
    for n in (0..1500).step_by(100) {
        assert_eq!(read(&b, id(n), 0..10_000).await.unwrap(), noise(n, 8_000), "{n}");
    }
    assert_eq!(read(&b, id(1_000_000), 0..1 << 20).await.unwrap(), large(1_000_000));
    assert_eq!(b.events(None, 0, 2000).await.unwrap().len(), 1500);
    b.close().await;
    // The first owner's directory lacks what is trimmed: it is made anew.
    drop(a);
    let a = open(0, "a", config(), 1 << 30);
    assert_eq!((a.stats().items, a.stats().quarantined), (16, 0));
    assert_eq!(read(&a, id(1_000_000), 0..1 << 20).await.unwrap(), large(1_000_000));
}

#[tokio::test]
async fn a_directory_and_a_log_that_do_not_belong_together_are_refused() {
    let (log, dir, other) = (MemoryLog::new(), temp(), temp());
    let a = open(dir.path(), &log, "a").unwrap();
    for n in 0..3 {
        a.accept(vec![simple(n, "b.test")], vec![]).await.unwrap();
    }
    a.close().await;
    drop(a);
    let why = |opened: Result<Arc<EmbeddedStore>, OpenError>| opened.map(|_| ()).unwrap_err().to_string();
    let plain = EmbeddedStore::open(dir.path(), config());
    assert!(why(plain).contains("belongs to a shard with a log"));
    let foreign = MemoryLog::new();
    drop(open(other.path(), &foreign, "x").unwrap());
    let wrong = why(open(dir.path(), &foreign, "a"));
    assert!(wrong.contains("another store than the log"), "{wrong}");
    log.lose(2);
    let short = why(open(dir.path(), &log, "a"));
    assert!(short.contains("lost what it had acknowledged"), "{short}");

    let (damaged, second, third) = (MemoryLog::new(), temp(), temp());
    let c = open(second.path(), &damaged, "c").unwrap();
    for n in 0..3 {
        c.accept(vec![simple(n, "b.test")], vec![]).await.unwrap();
    }
    damaged.damage(3);
    let why = why(open(third.path(), &damaged, "d"));
    assert!(why.contains("record 3") && why.contains("checksum"), "{why}");

    let (plain, fourth) = (temp(), MemoryLog::new());
    let store = EmbeddedStore::open(plain.path(), config()).unwrap();
    store.accept(vec![simple(1, "b.test")], vec![]).await.unwrap();
    store.close().await;
    drop(store);
    let error = open(plain.path(), &fourth, "e").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("written without a log"), "{error}");
}

#[tokio::test]
async fn a_directory_without_room_never_differs_from_its_log() {
    let mut ended = 0;
    for write in 1..30 {
        let (log, disk) = (MemoryLog::new(), FaultyDisk::new());
        let open = |disk: &FaultyDisk| {
            let binding = binding(&log, "a", 1 << 30);
            EmbeddedStore::open_logged_on(Arc::new(disk.clone()), "/q", config(), &binding).unwrap()
        };
        let a = open(&disk);
        disk.order(DiskFault::Full(write));
        let first = a.accept(vec![simple(1, "b.test")], vec![]).await;
        disk.mend();
        ended += u32::from(a.has_ended());
        let second = a.accept(vec![simple(2, "b.test")], vec![]).await;
        a.close().await;
        drop(a);
        let promised = u64::from(first.is_ok()) + u64::from(second.is_ok());
        let (again, replica) = (open(&disk).stats().items, open(&FaultyDisk::new()).stats().items);
        assert_eq!(again, replica, "write {write}: {first:?} {second:?}");
        assert!(again >= promised, "write {write}: {first:?} {second:?}");
    }
    assert!(ended > 0, "some of the writes are those of the commit");
}

#[tokio::test]
async fn a_log_that_is_lost_is_written_anew_from_the_directory() {
    let (log, dir, other, scratch) = (MemoryLog::new(), temp(), temp(), temp());
    let a = open(dir.path(), &log, "a").unwrap();
    a.accept(vec![simple(1, "b.test"), simple(2, "c.test")], vec![event("acme", "one", T0)]).await.unwrap();
    accept_large(&a, 3, "b.test").await;
    a.close().await;
    drop(a);
    let of = |log: &MemoryLog| binding(log, "operator", 1 << 30);
    let same = EmbeddedStore::verify_log(dir.path(), scratch.path(), &config(), &of(&log)).unwrap();
    assert!(same.differences.is_empty() && same.rows > 5 && same.octets > 0, "{same:?}");
    let lost = MemoryLog::new();
    assert!(open(dir.path(), &lost, "a").is_err());
    assert!(EmbeddedStore::rebuild_log(dir.path(), &config(), &of(&lost)).unwrap() > 700_000);
    let b = open(other.path(), &lost, "b").unwrap();
    assert_eq!(read(&b, id(1), 0..100).await.unwrap(), body_of(1));
    assert_eq!(read(&b, id(3), 0..1 << 20).await.unwrap(), large(3));
    assert_eq!(marks(b.events(None, 0, 10).await.unwrap()), ["one"]);
    b.accept(vec![simple(4, "b.test")], vec![]).await.unwrap();
    b.close().await;
    drop(b);
    let scratch = temp();
    let behind = EmbeddedStore::verify_log(dir.path(), scratch.path(), &config(), &of(&lost)).unwrap();
    assert!(
        behind.differences.iter().any(|what| what.contains("items: the log has 1 rows more")),
        "{behind:?}"
    );
    EmbeddedStore::leave_log(other.path()).unwrap();
    let alone = EmbeddedStore::open(other.path(), config()).unwrap();
    assert_eq!(alone.stats().items, 4);
}

#[tokio::test]
async fn the_log_in_memory_keeps_the_contract() {
    let log = MemoryLog::new();
    log.append(0, b"one").await.unwrap();
    assert_eq!(log.append(0, b"two").await, Err(AppendError::Fenced(0)));
    assert_eq!(log.append(2, b"two").await, Err(AppendError::Fenced(2)));
    log.append(1, b"two").await.unwrap();
    assert_eq!(log.read(2, 1).await.unwrap().len(), 1);
    log.trim(2).await.unwrap();
    assert!(log.read(1, 1).await.is_err());
    assert_eq!(log.bounds().await.unwrap().first, 2);
}
