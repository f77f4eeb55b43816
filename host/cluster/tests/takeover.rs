//! Nodes with stores: what one promised, another delivers when it is gone.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use relevo_cluster::engine::Engine as _;
use relevo_cluster::host::{StoreHost, StoreHostConfig};
use relevo_cluster::member::{Member, NodeName};
use relevo_cluster::memory::MemoryEngine;
use relevo_cluster::shards::Shards;
use relevo_queue::{
    ItemId, ItemMeta, Lease, NewDelivery, NewItem, Queue as _, QueueKey, Recipient, RecipientState,
    Settlement, SpooledBody, StoreConfig, StoreError,
};

struct Node {
    engine: MemoryEngine,
    shards: Arc<Shards>,
    member: Arc<Member>,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

fn node(shared: &MemoryEngine, name: &str, home: u16) -> Node {
    let (engine, dir) = (shared.node(), tempfile::tempdir().unwrap());
    let shards = Arc::new(Shards::new(home));
    let config = StoreHostConfig {
        data_dir: dir.path().to_path_buf(),
        store: StoreConfig { min_free: 0, reserve: 0, ..StoreConfig::default() },
        node: name.into(),
        trim_at: 1 << 30,
    };
    let host = Arc::new(StoreHost::new(shards.clone(), Arc::new(engine.clone()), config));
    let name = NodeName { name: name.into(), address: format!("{name}:1"), peer_address: None, home };
    let member = Arc::new(Member::new(Arc::new(engine.clone()), host, name));
    let running = member.clone();
    let task = tokio::spawn(async move { running.run().await });
    Node { engine, shards, member, task, _dir: dir }
}

fn item(n: u8, shard: u16) -> NewItem {
    let recipients = vec![Recipient::pending(0, "r@b.test".to_owned())];
    let delivery =
        NewDelivery { key: QueueKey::of_domain("b.test"), recipients, due_at: 1, ..NewDelivery::default() };
    NewItem {
        id: ItemId::new(1_800_000_000_000, [n; 10]).in_shard(shard),
        meta: ItemMeta { tenant: "acme".into(), expires_at: i64::MAX, ..ItemMeta::default() },
        body: SpooledBody::in_memory(vec![n; 100]),
        deliveries: vec![delivery],
    }
}

fn delivered(lease: Lease) -> Arc<Settlement> {
    Arc::new(Settlement {
        recipients: vec![(0, RecipientState::Delivered)],
        lease: Arc::new(lease),
        next_attempt: None,
        last: None,
        reasons: vec![],
        events: vec![],
    })
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..600 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(what(), "in a minute");
}

/// In real time: stores answer from threads of their own.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_node_promised_is_delivered_by_another() {
    let shared = MemoryEngine::new();
    let (a, b) = (node(&shared, "a", 1), node(&shared, "b", 2));
    until(|| a.shards.ready().is_ok() && b.shards.ready().is_ok()).await;
    a.shards.accept(vec![item(1, 1), item(2, 1)], vec![]).await.unwrap();
    b.shards.accept(vec![item(3, 2)], vec![]).await.unwrap();
    let elsewhere = a.shards.item(item(3, 2).id).await;
    assert!(matches!(elsewhere, Err(StoreError::Unavailable(_))), "{elsewhere:?}");

    a.engine.cut(true);
    let refused = a.shards.accept(vec![item(4, 1)], vec![]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    a.task.abort();
    until(|| b.member.held() == [1, 2]).await;
    until(|| b.shards.all().len() == 2).await;
    let keys = [QueueKey::of_domain("b.test")];
    let due = b.shards.due(2, &|_| false, 10).await.unwrap();
    assert_eq!(due.iter().map(|due| due.ready).collect::<Vec<_>>(), [3]);
    let leases = b.shards.lease(&keys, 2, 1_000_000, 10).await.unwrap();
    assert_eq!(leases.len(), 3);
    // One lease of the second shard is settled already: the others are not refused for it.
    let twice = leases.iter().find(|lease| lease.delivery.id.item.shard() == 2).unwrap().clone();
    b.shards.get(2).unwrap().settle(vec![delivered(twice)], vec![]).await.unwrap();
    b.shards.settle(leases.into_iter().map(delivered).collect(), vec![]).await.unwrap();
    assert_eq!(b.shards.stats().items, 0);
    b.member.leave().await;
    assert!(b.shards.ready().is_err());
    b.task.abort();
}

/// A record as a newer relay would write it.
fn newer_record(seq: u64) -> Vec<u8> {
    let mut octets = vec![2, b'?'];
    let mut sum = crc32fast::Hasher::new();
    sum.update(&seq.to_le_bytes());
    sum.update(&octets);
    octets.extend(sum.finalize().to_le_bytes());
    octets
}

/// During an upgrade a node of the version before may see a shard that it cannot read.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_of_a_newer_version_is_left_to_others_and_the_node_goes_on() {
    let shared = MemoryEngine::new();
    let log = shared.log(1).await.unwrap();
    log.append(0, &newer_record(1)).await.unwrap();
    let b = node(&shared, "b", 2);
    until(|| b.shards.ready().is_ok() && b.member.refusal(1).is_some()).await;
    let why = b.member.refusal(1).unwrap();
    assert!(why.contains("version 2") && why.contains("newer relay"), "{why}");
    assert_eq!(b.member.held(), [2]);
    b.shards.accept(vec![item(3, 2)], vec![]).await.unwrap();
    let leases = shared.leases();
    let lease = leases.entry("shard.0001").await.unwrap().unwrap();
    assert_eq!(lease.holder, "", "who can read it need not wait");
    assert_eq!(log.bounds().await.unwrap().last, 1);
    b.task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_refuses_mail_and_others_have_what_it_promised() {
    let shared = MemoryEngine::new();
    let (a, b) = (node(&shared, "a", 1), node(&shared, "b", 2));
    until(|| a.shards.ready().is_ok() && b.shards.ready().is_ok()).await;
    until(|| a.member.view().nodes.len() == 2).await;
    a.shards.accept(vec![item(1, 1), item(2, 1)], vec![]).await.unwrap();
    let keys = [QueueKey::of_domain("b.test")];
    let attempt = a.shards.lease(&keys, 2, 1_000_000, 1).await.unwrap().remove(0);
    a.member.drain().unwrap();
    let refused = a.shards.accept(vec![item(4, 1)], vec![]).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("draining")), "{refused:?}");
    assert!(a.shards.ready().unwrap_err().to_string().contains("draining"));
    assert!(a.shards.lease(&keys, 2, 1_000_000, 9).await.unwrap().is_empty(), "no attempt begins");
    // The attempt that is under way is not lost.
    let done = Settlement {
        recipients: vec![(0, RecipientState::Delivered)],
        lease: Arc::new(attempt),
        next_attempt: None,
        last: None,
        reasons: vec![],
        events: vec![],
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    a.shards.settle(vec![Arc::new(done)], vec![]).await.unwrap();
    until(|| a.member.drained().is_over()).await;
    until(|| b.shards.all().len() == 2).await;
    assert_eq!(b.shards.lease(&keys, 2, 1_000_000, 9).await.unwrap().len(), 1);
    until(|| b.member.view().shards.iter().all(|shard| shard.load.is_some())).await;
    let view = b.member.view();
    let load = view.shards.iter().find(|shard| shard.shard == 1).unwrap().load.unwrap();
    assert_eq!((load.items, load.applied), (1, shared.log(1).await.unwrap().bounds().await.unwrap().last));
    a.member.undrain();
    until(|| a.shards.ready().is_ok()).await;
    a.shards.accept(vec![item(5, 1)], vec![]).await.unwrap();
    for node in [a, b] {
        node.member.leave().await;
        node.task.abort();
    }
}

/// In real time, as above.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_are_under_way_are_settled_before_a_shard_is_given_back() {
    let shared = MemoryEngine::new();
    let a = node(&shared, "a", 1);
    until(|| a.shards.ready().is_ok()).await;
    a.shards.accept(vec![item(1, 1), item(2, 1)], vec![]).await.unwrap();
    let keys = [QueueKey::of_domain("b.test")];
    let lease = a.shards.lease(&keys, 2, i64::MAX, 1).await.unwrap().remove(0);
    let member = a.member.clone();
    let leaving = tokio::spawn(async move { member.leave().await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!leaving.is_finished());
    assert!(a.shards.due(2, &|_| false, 10).await.unwrap().is_empty(), "no other attempt begins");
    assert!(a.shards.lease(&keys, 2, i64::MAX, 1).await.unwrap().is_empty());
    a.shards.settle(vec![delivered(lease)], vec![]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), leaving).await.unwrap().unwrap();
    a.task.abort();
    let b = node(&shared, "b", 1);
    until(|| b.shards.ready().is_ok()).await;
    assert_eq!(b.shards.stats().items, 1, "what was delivered is not there");
    b.task.abort();
}
