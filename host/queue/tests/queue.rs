//! The queue as its callers see it.

mod common;

use common::*;
use relevo_queue::*;

#[tokio::test]
async fn an_accepted_message_is_leased_delivered_and_gone() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.accept(vec![simple(1, "x.test")], vec![event("acme", "email.queued", T0)]).await.unwrap();
    assert_eq!(store.read(id(1), 0..7).await.unwrap(), b"Subject");
    let lease = lease_one(&store, T0).await;
    assert_eq!(lease.meta.recipe, vec![7; 20]);
    assert!(lease_all(&store, T0).await.is_empty());
    let done = settle(&lease, RecipientState::Delivered);
    store.settle(vec![done], vec![], vec![event("acme", "email.delivered", T0)]).await.unwrap();
    assert!(store.item(id(1)).await.unwrap().is_none());
    assert!(store.body(id(1)).await.unwrap().is_none());
    assert_eq!(store.stats().items, 0);
    assert_eq!(store.stats().deliveries, 0);
    let kinds: Vec<String> =
        store.events(Some("acme"), 0, 10).await.unwrap().into_iter().map(|e| e.event.kind).collect();
    assert_eq!(kinds, ["email.queued", "email.delivered"]);
}

#[tokio::test]
async fn a_large_body_goes_through_a_file() {
    let store = EmbeddedStore::open_temp().unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let mut spool = store.spool().await.unwrap();
    for chunk in bytes.chunks(7777) {
        spool.write(chunk).await.unwrap();
    }
    let body = spool.finish().await.unwrap();
    assert_eq!(body.source.size(), 300_000);
    let new = NewItem { id: id(1), meta: meta("acme"), body, deliveries: vec![delivery("x.test", [0], T0)] };
    store.accept(vec![new], vec![]).await.unwrap();
    assert_eq!(store.read(id(1), 0..u64::MAX).await.unwrap(), bytes);
    assert_eq!(std::fs::read_dir(store.path().join("spool")).unwrap().count(), 0);
    let lease = lease_one(&store, T0).await;
    store.settle(vec![settle(&lease, RecipientState::Delivered)], vec![], vec![]).await.unwrap();
    store.close().await;
    assert_eq!(std::fs::read_dir(store.path().join("bodies")).unwrap().count(), 0);
}
