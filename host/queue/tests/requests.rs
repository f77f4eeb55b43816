//! Idempotency keys, scheduled messages, and events read backwards.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;

use common::*;
use relevo_mailkit::event::{Event, Queued};
use relevo_mailkit::labels::{Labels, Stream, Tag};
use relevo_queue::disk::FaultyDisk;
use relevo_queue::*;

fn open(disk: &FaultyDisk) -> Arc<EmbeddedStore> {
    EmbeddedStore::open_on(Arc::new(disk.clone()), "/q", config()).unwrap()
}

fn request(key: &str, at: Millis) -> IdempotentRequest {
    IdempotentRequest {
        tenant: "acme".into(),
        key: key.into(),
        digest: [7; 32],
        at,
        answer: format!("answer of {key}").into_bytes(),
    }
}

#[tokio::test]
async fn a_request_is_remembered_with_its_messages() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    store.accept_request(request("k", T0), vec![simple(1, "x.test")], vec![]).await.unwrap();
    let again = store.accept_request(request("k", T0 + 1), vec![simple(2, "x.test")], vec![]).await;
    assert!(matches!(again, Err(StoreError::KnownKey)));
    assert!(store.item(id(2)).await.unwrap().is_none(), "nothing of the second request is queued");
    assert_eq!(store.accepted_request("other", "k", T0).await.unwrap(), None, "keys are a tenant's own");
    store.close().await;

    let store = open(&disk);
    let known = store.accepted_request("acme", "k", T0 + IDEMPOTENCY_LIFETIME - 1).await.unwrap();
    assert_eq!(known, Some(request("k", T0)));
    let later = T0 + IDEMPOTENCY_LIFETIME;
    assert_eq!(store.accepted_request("acme", "k", later).await.unwrap(), None);
    store.accept_request(request("k", later), vec![simple(3, "x.test")], vec![]).await.unwrap();
    assert_eq!(store.accepted_request("acme", "k", later).await.unwrap(), Some(request("k", later)));
}

#[tokio::test]
async fn a_key_that_is_used_again_outlives_its_first_time() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let accept = async |key: &str, at: Millis, n: u64| {
        store.accept_request(request(key, at), vec![simple(n, "x.test")], vec![]).await.unwrap();
    };
    for n in 0..20 {
        accept(&format!("k{n}"), T0 + Millis::try_from(n).unwrap(), n).await;
    }
    // The youngest first: the times of the others are removed before its own.
    let again = T0 + IDEMPOTENCY_LIFETIME + HOUR;
    for n in (0..20).rev() {
        accept(&format!("k{n}"), again, 100 + n).await;
    }
    for n in 0..20 {
        let key = format!("k{n}");
        assert_eq!(store.accepted_request("acme", &key, again).await.unwrap(), Some(request(&key, again)));
    }
}

#[tokio::test]
async fn two_requests_of_one_group_with_the_same_key_are_one() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let (first, second) = tokio::join!(
        store.accept_request(request("k", T0), vec![simple(1, "x.test")], vec![]),
        store.accept_request(request("k", T0), vec![simple(2, "x.test")], vec![]),
    );
    assert_eq!([&first, &second].iter().filter(|done| done.is_ok()).count(), 1);
    assert_eq!(store.list(None, 10).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_scheduled_message_moves_or_is_canceled_while_nothing_was_attempted() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let mut scheduled = item(1, "acme", body_of(1), vec![delivery("x.test", [0], T0 + HOUR)]);
    scheduled.meta.scheduled_at = Some(T0 + HOUR);
    store.accept(vec![scheduled], vec![]).await.unwrap();
    let keys = [QueueKey::of_domain("x.test")];
    assert!(store.lease(&keys, T0, T0 + HOUR, 1).await.unwrap().is_empty());

    let moved = OperatorAction::Reschedule(T0 + 3 * HOUR);
    assert_eq!(store.act(id(1), moved, T0, vec![]).await.unwrap(), Acted::Done);
    let meta = store.item(id(1)).await.unwrap().unwrap().meta;
    assert_eq!((meta.scheduled_at, meta.expires_at), (Some(T0 + 3 * HOUR), T0 + 122 * HOUR));
    assert!(store.lease(&keys, T0 + 2 * HOUR, T0 + 3 * HOUR, 1).await.unwrap().is_empty());
    assert_eq!(
        store.act(id(1), OperatorAction::Reschedule(T0 + HOUR), T0, vec![]).await.unwrap(),
        Acted::Done
    );
    let leases = store.lease(&keys, T0 + HOUR, T0 + 2 * HOUR, 1).await.unwrap();
    assert_eq!(leases[0].meta.scheduled_at, Some(T0 + HOUR), "what is leased has the new time");

    let written = vec![event("acme", "late", T0)];
    for action in [OperatorAction::Cancel, OperatorAction::Reschedule(T0)] {
        assert_eq!(store.act(id(1), action, T0 + HOUR, written.clone()).await.unwrap(), Acted::Begun);
    }
    assert!(store.events(None, 0, 10).await.unwrap().is_empty(), "no event of what was not done");
}

#[tokio::test]
async fn an_expiry_that_the_sender_gave_stays_when_a_message_moves() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let mut scheduled = item(1, "acme", body_of(1), vec![delivery("x.test", [0], T0 + HOUR)]);
    scheduled.meta.scheduled_at = Some(T0 + HOUR);
    scheduled.meta.is_expiry_given = true;
    let expires_at = scheduled.meta.expires_at;
    store.accept(vec![scheduled], vec![]).await.unwrap();
    store.close().await;

    let store = open(&disk);
    for at in [T0 + 3 * HOUR, T0 + 2 * HOUR] {
        assert_eq!(store.act(id(1), OperatorAction::Reschedule(at), T0, vec![]).await.unwrap(), Acted::Done);
        let meta = store.item(id(1)).await.unwrap().unwrap().meta;
        assert_eq!((meta.scheduled_at, meta.expires_at), (Some(at), expires_at));
        assert_eq!([expires_at - 1, expires_at].map(|at| meta.expires_before(at)), [false, true]);
    }
}

#[tokio::test]
async fn a_canceled_message_is_gone_with_its_event() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let both = vec![delivery("x.test", [0], T0 + HOUR), delivery("y.test", [1], T0 + HOUR)];
    store.accept(vec![item(1, "acme", body_of(1), both)], vec![]).await.unwrap();
    let canceled = vec![event("acme", "canceled", T0)];
    assert_eq!(store.act(id(1), OperatorAction::Cancel, T0, canceled.clone()).await.unwrap(), Acted::Done);
    assert!(store.item(id(1)).await.unwrap().is_none());
    assert_eq!(store.act(id(1), OperatorAction::Cancel, T0, canceled).await.unwrap(), Acted::NotFound);
    assert_eq!(marks(store.events(None, 0, 10).await.unwrap()), ["canceled"]);
}

#[tokio::test]
async fn labels_are_stored_with_items_and_events() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let labels = Labels {
        stream: Stream::Marketing,
        tags: vec![Tag { name: "campaign".into(), value: "spring".into() }],
        metadata: [("customer".to_owned(), "17".to_owned())].into(),
        ..Labels::default()
    };
    let mut labelled = simple(1, "x.test");
    labelled.meta.labels = labels.clone();
    let about = NewEvent { labels: labels.clone(), ..event("acme", "1", T0) };
    store.accept(vec![labelled], vec![about]).await.unwrap();
    store.close().await;
    let store = open(&disk);
    assert_eq!(store.item(id(1)).await.unwrap().unwrap().meta.labels, labels);
    assert_eq!(store.events(None, 0, 1).await.unwrap()[0].event.labels, labels);
}

#[tokio::test]
async fn a_tenants_events_are_read_backwards() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let all = ["1", "2", "3", "4"].map(|mark| event(if mark == "3" { "other" } else { "acme" }, mark, T0));
    store.append(all.to_vec()).await.unwrap();
    let page = store.events_before("acme", u64::MAX, 2).await.unwrap();
    let before = page.last().unwrap().cursor;
    assert_eq!(marks(page), ["4", "2"]);
    assert_eq!(marks(store.events_before("acme", before, 2).await.unwrap()), ["1"]);
}

#[tokio::test]
async fn a_tenants_messages_are_read_backwards() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let listed = |n: u64| {
        let queued = Event::Queued(Queued { subject: n.to_string(), ..Queued::default() });
        NewEvent { item: Some(id(n)), event: queued, ..event("acme", "", T0) }
    };
    let other = NewEvent { item: Some(id(1)), ..event("acme", "clicked", T0) };
    let all =
        vec![listed(1), other.clone(), listed(2), NewEvent { tenant: "other".into(), ..listed(3) }, other];
    store.append(all).await.unwrap();
    let page = store.messages_before("acme", u64::MAX, 1).await.unwrap();
    assert_eq!(page[0].event.item, Some(id(2)));
    let page = store.messages_before("acme", page[0].cursor, 9).await.unwrap();
    assert_eq!((page.len(), page[0].event.item), (1, Some(id(1))));
    assert_eq!(store.prune(T0 + HOUR, u64::MAX).await.unwrap(), 5);
    assert!(store.messages_before("acme", u64::MAX, 9).await.unwrap().is_empty());
}
