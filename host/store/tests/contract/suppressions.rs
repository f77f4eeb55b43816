//! Suppressed addresses.

use relevo_store::{ControlStore, SuppressionFilter, SuppressionRecord, SuppressionStore};

fn entry(address: &str, stream: &str, reason: &str, created_at: i64) -> SuppressionRecord {
    SuppressionRecord {
        id: format!("{address} {stream} {created_at}"),
        address: address.into(),
        stream: stream.into(),
        reason: reason.into(),
        detail: "550 5.1.1 no such user".into(),
        message_id: Some("01J".into()),
        created_at,
    }
}

/// A suppressed address of this tenant.
pub(super) async fn add_one(store: &ControlStore, tenant: &str) {
    let one = entry("a@example.net", "all", "manual", 1_000);
    store.add_suppressions(tenant, &[one]).await.expect("adds");
}

pub(super) async fn suppressions_are_found_and_removed(store: &ControlStore) {
    let entries = [
        entry("a@example.net", "all", "bounce", 1_000),
        entry("a@example.net", "marketing", "unsubscribe", 2_000),
        entry("b@example.org", "all", "complaint", 3_000),
        entry("c@example.net", "topic:news", "unsubscribe", 4_000),
    ];
    assert_eq!(store.add_suppressions("acme", &entries).await.expect("adds"), entries);
    let again = entry("a@example.net", "all", "manual", 9_000);
    assert_eq!(store.add_suppressions("acme", &[again]).await.expect("is there"), []);
    store.add_suppressions("other", &entries[..1]).await.expect("adds");

    assert_eq!(store.suppressions_of("acme", "a@example.net").await.expect("reads"), entries[..2]);
    assert_eq!(store.suppressions_of("other", "b@example.org").await.expect("reads"), []);
    assert_eq!(store.count_suppressions().await.expect("reads"), 5);
    let none = SuppressionFilter::default();
    let one = SuppressionFilter { id: Some(entries[2].id.clone()), ..none.clone() };
    assert_eq!(store.suppressions("acme", &one, ("", ""), 10).await.expect("reads"), entries[2..3]);
    let page = store.suppressions("acme", &none, ("", ""), 3).await.expect("reads");
    assert_eq!(page, entries[..3]);
    let next = store.suppressions("acme", &none, ("b@example.org", "all"), 3).await.expect("reads");
    assert_eq!(next, entries[3..]);
    let all = store.all_suppressions(("acme", "a@example.net"), 10).await.expect("reads");
    let pair = |tenant: &str, address: &str| (tenant.to_owned(), address.to_owned());
    let expected =
        [pair("acme", "b@example.org"), pair("acme", "c@example.net"), pair("other", "a@example.net")];
    assert_eq!(all, expected);

    only_new_ones_of_many_are_returned(store, &entries[0]).await;

    let window = SuppressionFilter { since: Some(2_000), until: Some(4_000), ..none.clone() };
    assert_eq!(store.remove_suppressions("acme", &window, 10).await.expect("removes"), entries[1..3]);
    let domain = SuppressionFilter { domain: Some("example.net".into()), ..none.clone() };
    assert_eq!(store.remove_suppressions("acme", &domain, 1).await.expect("removes"), entries[..1]);
    let reason = SuppressionFilter { reason: Some("unsubscribe".into()), ..none.clone() };
    assert_eq!(store.remove_suppressions("acme", &reason, 10).await.expect("removes"), entries[3..]);
    assert_eq!(store.remove_suppressions("acme", &none, 10).await.expect("nothing is left"), []);
    assert_eq!(store.remove_suppressions("other", &none, 10).await.expect("removes"), entries[..1]);
}

pub(super) async fn many_topics_hide_no_stream(store: &ControlStore) {
    let mut entries: Vec<_> =
        (0..1_100).map(|n| entry("a@example.net", &format!("topic:{n:04}"), "unsubscribe", n)).collect();
    entries.push(entry("a@example.net", "transactional", "manual", 5_000));
    entries.push(entry("b@example.net", "all", "manual", 6_000));
    entries.reverse();
    let added = store.add_suppressions("acme", &entries).await.expect("adds");
    assert_eq!(added.len(), entries.len());
    assert_eq!(
        (&added[0].stream, &added[1_101].address),
        (&"topic:0000".to_owned(), &"b@example.net".to_owned())
    );

    let found = store.suppressions_of("acme", "a@example.net").await.expect("reads");
    assert_eq!((found.len(), &found[0].stream), (1_101, &"transactional".to_owned()));
    let one = SuppressionFilter { address: Some("a@example.net".into()), ..SuppressionFilter::default() };
    assert_eq!(store.remove_suppressions("acme", &one, 1_000).await.expect("removes").len(), 1_000);
    assert_eq!(store.remove_suppressions("acme", &one, 1_000).await.expect("removes").len(), 101);
    let both = SuppressionFilter {
        id: Some(entries[0].id.clone()),
        stream: Some("all".into()),
        since: Some(6_000),
        until: Some(6_001),
        ..SuppressionFilter::default()
    };
    let wrong = SuppressionFilter { stream: Some("marketing".into()), ..both.clone() };
    assert_eq!(store.remove_suppressions("acme", &wrong, 10).await.expect("another stream"), []);
    assert_eq!(store.remove_suppressions("acme", &both, 10).await.expect("removes"), entries[..1]);
}

/// More than one statement adds: what was there, and what comes twice, is not new.
async fn only_new_ones_of_many_are_returned(store: &ControlStore, known: &SuppressionRecord) {
    let mut new: Vec<_> =
        (0..97).map(|n| entry(&format!("{n:02}@many.example"), "all", "manual", 5_000)).collect();
    let known_again = SuppressionRecord { id: "another".into(), ..known.clone() };
    let twice = SuppressionRecord { id: "twice".into(), ..new[50].clone() };
    let last = new.pop().into_iter();
    let mixed: Vec<_> = new.iter().cloned().chain([known_again, twice]).chain(last.clone()).collect();
    new.extend(last);
    assert_eq!(store.add_suppressions("acme", &mixed).await.expect("adds"), new);
    let domain = SuppressionFilter { domain: Some("many.example".into()), ..SuppressionFilter::default() };
    assert_eq!(store.remove_suppressions("acme", &domain, 1_000).await.expect("removes"), new);
}
