//! What every engine keeps. Run on real ones by `cargo xtask cluster`.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

use std::sync::Arc;

use relevo_cluster::engine::{Engine, ShardId};
use relevo_queue::shard_log::{AppendError, LogError, ShardLog};
use relevo_queue::testing::binding_of;
use relevo_queue::{
    EmbeddedStore, ItemId, ItemMeta, NewDelivery, NewItem, Queue as _, QueueKey, Recipient, SpooledBody,
    StoreConfig,
};

/// Checks everything. `first` and the shards after it must be new.
pub async fn holds(engine: &dyn Engine, first: ShardId) {
    places_are_fenced(&*engine.log(first).await.unwrap()).await;
    one_of_two_wins(&engine.log(first + 1).await.unwrap()).await;
    large_records_come_back(&*engine.log(first + 2).await.unwrap()).await;
    leases_change_by_comparison(engine).await;
    a_store_moves_to_another_directory(engine, first + 3).await;
    let shards = engine.shards().await.unwrap();
    assert!((first..first + 4).all(|shard| shards.contains(&shard)), "{shards:?}");
}

async fn places_are_fenced(log: &dyn ShardLog) {
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.last), (1, 0));
    assert!(log.read(1, 100).await.unwrap().is_empty());
    for n in 0..5_u8 {
        log.append(u64::from(n), &[n; 1000]).await.unwrap();
    }
    assert_eq!(log.append(4, b"late").await, Err(AppendError::Fenced(4)));
    assert_eq!(log.append(7, b"early").await, Err(AppendError::Fenced(7)));
    let records = log.read(2, 1500).await.unwrap();
    let found: Vec<_> = records.iter().map(|record| (record.seq, record.octets[0])).collect();
    assert!(found.starts_with(&[(2, 1), (3, 2)]), "{found:?}");
    let all = log.read(1, usize::MAX).await.unwrap();
    assert_eq!(all.len(), 5);
    assert!(all.iter().zip(1..).all(|(record, seq)| record.seq == seq));
    log.trim(4).await.unwrap();
    log.trim(4).await.unwrap();
    assert_eq!(log.read(3, 1).await, Err(LogError::Trimmed(3)));
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.last), (4, 5));
    assert!((2000..4000).contains(&bounds.octets), "{bounds:?}");
    log.trim(100).await.unwrap();
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.last), (6, 5));
    assert!(log.read(6, 1).await.unwrap().is_empty());
    log.append(5, b"six").await.unwrap();
    assert_eq!(log.read(6, 1).await.unwrap()[0].octets, b"six");
}

async fn one_of_two_wins(log: &Arc<dyn ShardLog>) {
    let write = async |who: u8| {
        let (mut won, mut last) = (0_usize, 0);
        for _ in 0..100 {
            match log.append(last, &[who]).await {
                Ok(()) => {
                    won += 1;
                    last += 1;
                }
                Err(AppendError::Fenced(_)) => last = log.bounds().await.unwrap().last,
                Err(error) => panic!("{error}"),
            }
        }
        won
    };
    let (a, b) = tokio::join!(write(1), write(2));
    let records = log.read(1, usize::MAX).await.unwrap();
    assert_eq!(records.len(), a + b);
    assert_eq!(records.iter().filter(|record| record.octets == [1]).count(), a);
}

async fn large_records_come_back(log: &dyn ShardLog) {
    let max = log.max_record();
    assert!(max >= 64 << 10);
    for (expected, octets) in (0..).zip([max, 1, max / 2]) {
        log.append(expected, &vec![7; octets]).await.unwrap();
    }
    let records = log.read(1, usize::MAX).await.unwrap();
    let sizes: Vec<_> = records.iter().map(|record| record.octets.len()).collect();
    assert_eq!(sizes, [max, 1, max / 2]);
}

async fn leases_change_by_comparison(engine: &dyn Engine) {
    let leases = engine.leases();
    assert_eq!(leases.entry("test.a").await.unwrap(), None);
    let one = leases.replace("test.a", 0, "node1", "10.0.0.1:1").await.unwrap().unwrap();
    assert_eq!(leases.replace("test.a", 0, "node2", "").await.unwrap(), None);
    let two = leases.replace("test.a", one, "node2", "x").await.unwrap().unwrap();
    assert!(two > one);
    assert_eq!(leases.replace("test.a", one, "node1", "").await.unwrap(), None);
    let entry = leases.entry("test.a").await.unwrap().unwrap();
    assert_eq!((entry.revision, entry.holder.as_str(), entry.note.as_str()), (two, "node2", "x"));
    leases.replace("test.b", 0, "", "").await.unwrap().unwrap();
    leases.replace("other", 0, "n", "").await.unwrap().unwrap();
    let keys: Vec<_> = leases.entries("test.").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["test.a", "test.b"]);
}

fn item(n: u8) -> NewItem {
    let key = QueueKey::of_domain("b.test");
    let recipients = vec![Recipient::pending(0, "r@b.test".to_owned())];
    let delivery = NewDelivery { key, recipients, due_at: 1, ..NewDelivery::default() };
    let meta = ItemMeta { tenant: "acme".into(), expires_at: i64::MAX, ..ItemMeta::default() };
    NewItem {
        id: ItemId::new(1_800_000_000_000, [n; 10]),
        meta,
        body: SpooledBody::in_memory(vec![n; 5000]),
        deliveries: vec![delivery],
    }
}

async fn a_store_moves_to_another_directory(engine: &dyn Engine, shard: ShardId) {
    let log = engine.log(shard).await.unwrap();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |folder: &tempfile::TempDir, owner| {
        let config = StoreConfig { min_free: 0, reserve: 0, ..StoreConfig::default() };
        tokio::task::block_in_place(|| {
            EmbeddedStore::open_logged(folder.path(), config, &binding_of(log.clone(), owner, 64 << 10))
                .unwrap()
        })
    };
    let a = open(&first, "a");
    for n in 0..50 {
        a.accept(vec![item(n)], vec![]).await.unwrap();
    }
    let b = open(&second, "b");
    assert!(a.accept(vec![item(60)], vec![]).await.is_err());
    assert_eq!(b.stats().items, 50);
    for n in 0..50 {
        let id = item(n).id;
        let body = b.body(id).await.unwrap().unwrap();
        assert_eq!(body.size(), 5000);
    }
}
