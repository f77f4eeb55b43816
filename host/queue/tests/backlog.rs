//! What waits, as operators see it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::*;

use relevo_queue::*;

/// Three messages: one to two domains.
async fn store() -> std::sync::Arc<EmbeddedStore> {
    let store = EmbeddedStore::open_temp().unwrap();
    let mut both = simple(2, "x.test");
    both.deliveries = vec![delivery("x.test", [0, 1], T0), delivery("y.test", [2], T0 + HOUR)];
    store.accept(vec![simple(1, "x.test"), both, simple(3, "z.test")], vec![]).await.unwrap();
    store
}

async fn backlog(store: &EmbeddedStore, domain: &str) -> KeyBacklog {
    let backlog = store.backlog(T0, 1000).await;
    assert!(!backlog.is_truncated);
    backlog.keys.into_iter().find(|of| of.key.domain == domain).unwrap()
}

#[tokio::test]
async fn what_waits_is_counted_by_domain() {
    let store = store().await;
    let x = backlog(&store, "x.test").await;
    assert_eq!((x.deliveries, x.recipients, x.due, x.leased, x.held), (2, 3, 2, 0, 0));
    assert_eq!((x.next_due, x.oldest), (Some(T0), DeliveryId { item: id(1), number: 0 }));
    let y = backlog(&store, "y.test").await;
    assert_eq!((y.deliveries, y.recipients, y.due, y.next_due), (1, 1, 0, Some(T0 + HOUR)));

    // One of two recipients is settled: the other is still counted.
    let leases = lease_all(&store, T0).await;
    assert_eq!(backlog(&store, "x.test").await.leased, 2);
    let both = leases.iter().find(|lease| lease.delivery.recipients.len() == 2).unwrap();
    let mut settled = later(both, T0 + 2 * HOUR);
    settled.recipients = vec![(0, RecipientState::Delivered)];
    settle_all(&store, vec![settled], vec![], vec![]).await.unwrap();
    let x = backlog(&store, "x.test").await;
    assert_eq!((x.deliveries, x.recipients, x.due, x.leased), (2, 2, 0, 1));
    assert_eq!(x.next_due, Some(T0 + 2 * HOUR));
}

#[tokio::test]
async fn a_bounded_look_says_that_there_is_more() {
    let store = store().await;
    let some = store.backlog(T0, 2).await;
    assert!(some.is_truncated);
    assert_eq!(some.keys.iter().map(|of| of.deliveries).sum::<u64>(), 2);
    assert_eq!(EmbeddedStore::open_temp().unwrap().backlog(T0, 2).await, Backlog::default());
}

#[tokio::test]
async fn items_to_a_domain_come_in_pages() {
    let store = store().await;
    let found = store.items_to("x.test", None, 1000, 10).await;
    assert_eq!(found.items, [(id(1), "acme".to_owned()), (id(2), "acme".to_owned())]);
    assert_eq!(found.next, None);
    let first = store.items_to("x.test", None, 1000, 1).await;
    assert_eq!((first.items.len(), first.next), (1, Some(id(1))));
    let second = store.items_to("x.test", first.next, 1000, 1).await;
    assert_eq!(second.items, [(id(2), "acme".to_owned())]);
    assert_eq!(store.items_to("x.test", second.next, 1000, 1).await, DomainItems::default());
    // Few looks: nothing is found, and where to go on.
    let looked = store.items_to("z.test", None, 1, 10).await;
    assert_eq!((looked.items.len(), looked.next), (0, Some(id(1))));
}

#[tokio::test]
async fn one_domain_of_a_message_is_held_and_released() {
    let store = store().await;
    let act = async |action| store.act_on_domain(id(2), "y.test", action, T0).await.unwrap();
    assert_eq!(act(OperatorAction::Hold).await, Acted::Done);
    assert_eq!((backlog(&store, "x.test").await.held, backlog(&store, "y.test").await.held), (0, 1));
    assert_eq!(act(OperatorAction::Release).await, Acted::Done);
    let y = backlog(&store, "y.test").await;
    assert_eq!((y.held, y.due, y.next_due), (0, 1, Some(T0)));
    assert_eq!(act(OperatorAction::Cancel).await, Acted::Begun, "that is for whole messages");
    let gone = store.act_on_domain(id(9), "y.test", OperatorAction::Hold, T0).await.unwrap();
    assert_eq!(gone, Acted::NotFound);
    let found = store.delivery(y.oldest).await.unwrap().unwrap();
    assert_eq!((found.meta.tenant.as_str(), found.view.delivery.key.domain.as_str()), ("acme", "y.test"));
    assert!(store.delivery(DeliveryId { item: id(9), number: 0 }).await.unwrap().is_none());
}
