//! Nodes with stores: what one promised, another delivers when it is gone.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use relevo_cluster::host::{StoreHost, StoreHostConfig};
use relevo_cluster::member::{Member, NodeName};
use relevo_cluster::memory::MemoryEngine;
use relevo_cluster::shards::Shards;
use relevo_queue::{
    ItemId, ItemMeta, NewDelivery, NewItem, Queue as _, QueueKey, Recipient, RecipientState, Settlement,
    SpooledBody, StoreConfig, StoreError,
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
    let name = NodeName { name: name.into(), address: format!("{name}:1"), home };
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
    let done = |lease| {
        Arc::new(Settlement {
            recipients: vec![(0, RecipientState::Delivered)],
            lease: Arc::new(lease),
            next_attempt: None,
            last: None,
            reasons: vec![],
            events: vec![],
        })
    };
    b.shards.get(2).unwrap().settle(vec![done(twice)], vec![]).await.unwrap();
    b.shards.settle(leases.into_iter().map(done).collect(), vec![]).await.unwrap();
    assert_eq!(b.shards.stats().items, 0);
    b.member.leave().await;
    assert!(b.shards.ready().is_err());
    b.task.abort();
}
