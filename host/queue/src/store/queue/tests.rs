//! Reads that fail.

use std::path::Path;

use super::*;
use crate::disk::FaultyDisk;
use crate::{NewDelivery, Recipient, SpooledBody, StoreConfig};

fn message(n: u8) -> NewItem {
    let recipient = Recipient::pending(0, "r@a.test");
    let delivery = NewDelivery {
        key: QueueKey::of_domain("a.test"),
        recipients: vec![recipient],
        ..NewDelivery::default()
    };
    let meta = ItemMeta { tenant: "t".into(), size: 4, ..ItemMeta::default() };
    let body = SpooledBody::in_memory(b"body".to_vec());
    NewItem { id: ItemId([n; 16]), meta, body, deliveries: vec![delivery] }
}

#[tokio::test]
async fn leases_that_cannot_be_read_are_handed_back() {
    let config = StoreConfig { min_free: 0, reserve: 0, ..StoreConfig::default() };
    let store = EmbeddedStore::open_on(Arc::new(FaultyDisk::new()), Path::new("/queue"), config).unwrap();
    store.accept(vec![message(1), message(2)], Vec::new()).await.unwrap();
    let mut granted = store.inner.schedule().lease(&[QueueKey::of_domain("a.test")], 1, 1000, 9);
    let ids: Vec<_> = granted.iter().map(|grant| grant.key.id).collect();
    // One was accepted a moment ago, the other must be read.
    let rest = granted.split_off(1);
    let (leases, _) = store.fresh_leases(granted);
    assert_eq!((leases.len(), rest.len()), (1, 1));

    let _ = store.inner.poison.fatal("as a test");
    assert!(store.add_granted(leases, rest).await.is_err());
    for id in ids {
        assert_eq!(store.inner.schedule().leased_until(id), None);
    }
}
