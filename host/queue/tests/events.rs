//! The event log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::*;
use relevo_queue::*;

#[tokio::test]
async fn a_reader_is_behind_by_the_age_of_the_oldest_event_that_it_has_not_handled() {
    let store = EmbeddedStore::open_temp().unwrap();
    let position = ReaderPosition::default();
    let now = T0 + HOUR;
    assert_eq!(position.delay(&*store, now).await.unwrap(), None, "not known yet");
    for (n, at) in [T0, T0 + 1_000, T0 + 2 * HOUR].into_iter().enumerate() {
        store.append(vec![event("acme", &n.to_string(), at)]).await.unwrap();
    }
    let cursors: Vec<u64> =
        store.events(None, 0, 10).await.unwrap().iter().map(|stored| stored.cursor).collect();
    for (cursor, delay) in [(0, HOUR), (cursors[0], HOUR - 1_000), (cursors[1], 0), (cursors[2], 0)] {
        position.set(cursor);
        assert_eq!(position.delay(&*store, now).await.unwrap(), Some(delay), "after {cursor}");
    }
    // The rest of what was removed is missing, and what is kept is not handled.
    position.set(cursors[0] - 1);
    while store.prune(T0 + 1, u64::MAX).await.unwrap() > 0 {}
    assert_eq!(position.delay(&*store, now).await.unwrap(), Some(HOUR - 1_000));
}

#[tokio::test]
async fn cursors_ascend_and_tenants_see_their_own() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.append(vec![event("a", "1", T0), event("b", "2", T0), event("a", "3", T0)]).await.unwrap();
    store.accept(vec![simple(1, "x.test")], vec![event("a", "4", T0)]).await.unwrap();
    let all = store.events(None, 0, 100).await.unwrap();
    assert!(all.windows(2).all(|w| w[0].cursor < w[1].cursor));
    assert_eq!(all[0].cursor >> 16, all[2].cursor >> 16, "one commit, one sequence");
    assert!(all[3].cursor >> 16 > all[2].cursor >> 16);
    assert_eq!(marks(store.events(Some("a"), 0, 100).await.unwrap()), ["1", "3", "4"]);
    assert_eq!(marks(store.events(Some("a"), all[0].cursor, 1).await.unwrap()), ["3"]);
    assert_eq!(marks(store.events(Some("b"), 0, 100).await.unwrap()), ["2"]);
    assert!(store.events(Some("c"), 0, 100).await.unwrap().is_empty());
    assert!(store.events(None, u64::MAX, 100).await.unwrap().is_empty());
    assert_eq!(all[0].event, event("a", "1", T0));
}

#[tokio::test]
async fn a_tenant_whose_name_begins_anothers_does_not_see_it() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.append(vec![event("ab", "1", T0), event("a", "2", T0)]).await.unwrap();
    assert_eq!(store.events(Some("a"), 0, 100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_pruned_cursor_is_refused_and_pruning_is_bounded() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.append((0..1500).map(|n| event("a", "old", T0 + n)).collect()).await.unwrap();
    store.append(vec![event("a", "new", T0 + HOUR)]).await.unwrap();
    let first = store.events(None, 0, 1).await.unwrap()[0].cursor;
    assert_eq!(store.prune(T0, u64::MAX).await.unwrap(), 0);
    assert_eq!(store.prune(T0 + HOUR, u64::MAX).await.unwrap(), 1000);
    assert_eq!(store.prune(T0 + HOUR, u64::MAX).await.unwrap(), 500);
    assert_eq!(store.prune(T0 + HOUR, u64::MAX).await.unwrap(), 0);
    let Err(EventError::Pruned { oldest }) = store.events(Some("a"), first, 10).await else {
        panic!("not pruned")
    };
    let left = store.events(Some("a"), oldest, 10).await.unwrap();
    assert_eq!(marks(left.clone()), ["new"]);
    assert_eq!(store.events(Some("a"), 0, 10).await.unwrap(), left);
}

#[tokio::test]
async fn the_oldest_of_too_many_events_are_pruned() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.append((0..5).map(|n| event("a", &n.to_string(), T0 + n)).collect()).await.unwrap();
    assert_eq!(store.prune(T0, 5).await.unwrap(), 0);
    assert_eq!(store.prune(T0 + 1, 2).await.unwrap(), 3);
    assert_eq!(store.prune(T0 + 1, 2).await.unwrap(), 0);
    assert_eq!(marks(store.events(Some("a"), 0, 10).await.unwrap()), ["3", "4"]);
}

#[tokio::test]
async fn large_events_come_in_pages() {
    let store = EmbeddedStore::open_temp().unwrap();
    let large = "x".repeat(EVENT_PAGE_OCTETS / 3);
    store.append((0..7).map(|_| event("a", &large, T0)).collect()).await.unwrap();
    let (mut after, mut pages) = (0, Vec::new());
    loop {
        let page = store.events(Some("a"), after, 100).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.cursor;
        pages.push(page.len());
    }
    assert_eq!(pages, [3, 3, 1]);
    assert_eq!(store.events(None, 0, 2).await.unwrap().len(), 2);
}

fn about(message: u64, kind: &str, at: Millis) -> NewEvent {
    NewEvent { item: Some(id(message)), ..event("a", kind, at) }
}

#[tokio::test]
async fn events_of_a_message_are_found_when_it_is_gone() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.accept(vec![simple(1, "x.test"), simple(2, "x.test")], vec![about(1, "queued", T0)]).await.unwrap();
    let lease = lease_all(&store, T0).await.into_iter().find(|l| l.delivery.id.item == id(1)).unwrap();
    let done = settle(&lease, RecipientState::Delivered);
    settle_all(&store, vec![done], vec![], vec![about(2, "other", T0), about(1, "delivered", T0)])
        .await
        .unwrap();
    store.append(vec![about(1, "opened", T0 + HOUR)]).await.unwrap();
    assert!(store.item(id(1)).await.unwrap().is_none());
    let all = store.events_of(id(1), 0, 10).await.unwrap();
    assert_eq!(marks(all.clone()), ["queued", "delivered", "opened"]);
    assert_eq!(marks(store.events_of(id(1), all[0].cursor, 1).await.unwrap()), ["delivered"]);
    assert_eq!(marks(store.events_of(id(2), 0, 10).await.unwrap()), ["other"]);
    assert!(store.events_of(id(3), 0, 10).await.unwrap().is_empty());
    assert_eq!(store.prune(T0 + HOUR, u64::MAX).await.unwrap(), 3);
    assert_eq!(marks(store.events_of(id(1), 0, 10).await.unwrap()), ["opened"]);
    assert!(store.events_of(id(2), 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_reader_is_woken_by_the_next_event() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), config()).unwrap();
    let reader = tokio::spawn({
        let store = store.clone();
        async move { store.wait_after(0).await }
    });
    tokio::task::yield_now().await;
    // A commit without an event wakes nobody.
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    assert!(!reader.is_finished());
    store.append(vec![event("a", "1", T0)]).await.unwrap();
    let newest = reader.await.unwrap();
    assert_eq!(store.events(None, 0, 10).await.unwrap()[0].cursor, newest);
    assert_eq!(store.wait_after(newest - 1).await, newest, "at once");
    store.close().await;
    let store = EmbeddedStore::open(dir.path(), config()).unwrap();
    assert_eq!(store.wait_after(0).await, newest, "also after a restart");
}
