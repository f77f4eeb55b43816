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

/// A record as a newer relay would write it.
fn newer_record(seq: u64) -> Vec<u8> {
    let mut octets = vec![2, b'?', b'?'];
    let mut sum = crc32fast::Hasher::new();
    sum.update(&seq.to_le_bytes());
    sum.update(&octets);
    octets.extend(sum.finalize().to_le_bytes());
    octets
}

#[tokio::test]
async fn a_log_to_which_a_newer_relay_writes_is_refused_and_its_owner_is_not_fenced() {
    let (log, first, second) = (MemoryLog::new(), temp(), temp());
    let a = open(first.path(), &log, "a").unwrap();
    a.accept(vec![simple(1, "b.test")], vec![]).await.unwrap();
    let before = log.bounds().await.unwrap().last;
    let newer = newer_record(before + 1);
    log.append(before, &newer).await.unwrap();
    for dir in [second.path(), second.path()] {
        let error = open(dir, &log, "b").unwrap_err().to_string();
        assert!(error.contains("version 2") && error.contains("newer relay"), "{error}");
        assert!(error.contains("upgrade this node"), "{error}");
    }
    assert_eq!(log.bounds().await.unwrap().last, before + 1, "nobody is fenced off");
    // Also within the log: nothing of it is served, and nothing after it is applied.
    log.append(before + 1, b"a fence of an older relay, say").await.unwrap();
    let error = open(second.path(), &log, "b").unwrap_err().to_string();
    assert!(error.contains(&format!("record {}", before + 1)) && error.contains("version 2"), "{error}");
    a.close().await;
    let error = open(first.path(), &log, "a").unwrap_err().to_string();
    assert!(error.contains("version 2"), "nor by who owned it before an upgrade was undone: {error}");
}

/// A copy of the shard, from before its log was written anew, must not take the new records for those
/// that follow its own.
#[tokio::test]
async fn a_directory_of_another_history_is_refused_by_name() {
    let (old, first, second) = (MemoryLog::new(), temp(), temp());
    let a = open(first.path(), &old, "a").unwrap();
    a.accept(vec![simple(1, "b.test"), simple(2, "c.test")], vec![]).await.unwrap();
    a.close().await;
    // Another node has the shard for a while, and gives it back.
    let b = open(second.path(), &old, "b").unwrap();
    b.accept(vec![simple(3, "b.test")], vec![]).await.unwrap();
    b.close().await;
    let a = open(first.path(), &old, "a").unwrap();
    a.accept(vec![simple(4, "b.test")], vec![]).await.unwrap();
    a.close().await;
    open(second.path(), &old, "b").expect("its own history").close().await;
    // The engine loses the log, which is written anew from the first directory.
    let new = MemoryLog::new();
    EmbeddedStore::rebuild_log(first.path(), &config(), &binding(&new, "a", 1 << 30)).unwrap();
    let a = open(first.path(), &new, "a").unwrap();
    for n in 5..40 {
        a.accept(vec![simple(n, "b.test")], vec![]).await.unwrap();
    }
    assert_eq!(a.stats().items, 39);
    a.close().await;
    let error = open(second.path(), &new, "b").unwrap_err();
    assert!(matches!(error, OpenError::OtherHistory { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("Move the directory away") && words.contains("relevo shard rebuild"), "{words}");
    let third = temp();
    assert_eq!(open(third.path(), &new, "c").unwrap().stats().items, 39);
}

/// One bit in so many octets of a file; with `after`, in the octet behind those only.
fn flip(path: &Path, every: usize, after: Option<&[u8]>) {
    let mut octets = std::fs::read(path).unwrap();
    match after {
        Some(needle) => {
            let found = octets.windows(needle.len()).position(|window| window == needle);
            octets[found.unwrap() + needle.len()] ^= 16;
        }
        None => octets.iter_mut().step_by(every).skip(2).for_each(|octet| *octet ^= 16),
    }
    std::fs::write(path, octets).unwrap();
}

#[tokio::test]
async fn a_damaged_directory_is_made_anew_from_its_log() {
    let (log, first) = (MemoryLog::new(), temp());
    let a = open(first.path(), &log, "a").unwrap();
    a.accept((1..30).map(|n| simple(n, "b.test")).collect(), vec![event("acme", "one", T0)]).await.unwrap();
    accept_large(&a, 30, "b.test").await;
    let is_whole = async |store: &Arc<EmbeddedStore>| {
        assert_eq!((store.stats().items, store.stats().quarantined), (30, 0));
        for n in 1..30 {
            assert_eq!(read(store, id(n), 0..100).await.unwrap(), body_of(n), "{n}");
        }
        assert_eq!(read(store, id(30), 0..1 << 20).await.unwrap(), large(30));
        assert_eq!(marks(store.events(None, 0, 10).await.unwrap()), ["one"]);
    };
    is_whole(&a).await;
    a.close().await;

    // An index that cannot be read, and one that is gone: the start finds it.
    flip(&first.path().join("index.redb"), 512, None);
    let a = open(first.path(), &log, "a").unwrap();
    is_whole(&a).await;
    a.accept(vec![simple(31, "b.test")], vec![]).await.unwrap();
    let lease = a.lease(&[QueueKey::of_domain("b.test")], T0, T0 + HOUR, 1).await.unwrap().remove(0);
    settle_all(&a, vec![settle(&lease, RecipientState::Delivered)], vec![], vec![]).await.unwrap();
    a.close().await;
    assert!(first.path().join("damaged/index.redb").exists(), "it is kept");

    let (log, first) = (MemoryLog::new(), temp());
    let a = open(first.path(), &log, "a").unwrap();
    a.accept((1..30).map(|n| simple(n, "b.test")).collect(), vec![event("acme", "one", T0)]).await.unwrap();
    accept_large(&a, 30, "b.test").await;
    a.close().await;
    std::fs::remove_file(first.path().join("index.redb")).unwrap();
    let a = open(first.path(), &log, "a").unwrap();
    is_whole(&a).await;
    a.close().await;

    // A body: whoever reads it finds it, and the next start mends it.
    let a = open(first.path(), &log, "a").unwrap();
    let segment = std::fs::read_dir(first.path().join("segments")).unwrap().next().unwrap().unwrap().path();
    flip(&segment, 0, Some(&body_of(3)[..20]));
    assert!(read(&a, id(3), 0..100).await.is_err());
    assert!(a.has_ended(), "nothing is put into quarantine");
    a.close().await;
    let a = open(first.path(), &log, "a").unwrap();
    is_whole(&a).await;
}

#[tokio::test]
async fn a_damaged_directory_without_its_log_is_left_alone() {
    let (log, first) = (MemoryLog::new(), temp());
    let a = open(first.path(), &log, "a").unwrap();
    a.accept(vec![simple(1, "b.test")], vec![]).await.unwrap();
    a.close().await;
    let index = first.path().join("index.redb");
    flip(&index, 512, None);
    let before = std::fs::read(&index).unwrap();
    assert!(open(first.path(), &MemoryLog::new(), "a").is_err());
    assert_eq!(std::fs::read(&index).unwrap().len(), before.len());
    assert!(!first.path().join("damaged").exists());
}

/// The ids of a relay that was not in a cluster name any shard.
#[tokio::test]
async fn messages_of_other_shards_are_counted() {
    let dir = temp();
    let store = EmbeddedStore::open(dir.path(), config()).unwrap();
    for (n, shard) in [(1, 7), (2, 8), (3, 7)] {
        let mut item = simple(n, "b.test");
        item.id = item.id.in_shard(shard);
        store.accept(vec![item], vec![]).await.unwrap();
    }
    assert!(EmbeddedStore::items_outside(dir.path(), 7).is_err(), "it is in use");
    store.close().await;
    drop(store);
    assert_eq!([7, 8, 9].map(|shard| EmbeddedStore::items_outside(dir.path(), shard).unwrap()), [1, 2, 3]);
}
