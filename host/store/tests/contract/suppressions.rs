//! Suppressed addresses.

use relevo_store::{
    ControlStore, ControlStoreError, SuppressionBatch, SuppressionCause, SuppressionCount, SuppressionFilter,
    SuppressionRecord, SuppressionRuleStore, SuppressionStore,
};

fn entry(address: &str, stream: &str, reason: &str, created_at: i64) -> SuppressionRecord {
    SuppressionRecord {
        id: format!("{address} {stream} {created_at}"),
        address: address.into(),
        stream: stream.into(),
        reason: reason.into(),
        detail: "550 5.1.1 no such user".into(),
        message_id: Some("01J".into()),
        created_at,
        cause: None,
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

fn by_rule(address: &str, created_at: i64, rule: &str, provider: &str, mx: &str) -> SuppressionRecord {
    let cause = SuppressionCause { rule: rule.into(), provider: provider.into(), mx: mx.into() };
    SuppressionRecord { cause: Some(cause), ..entry(address, "all", "bounce", created_at) }
}

fn count(tenant: &str, address: &str, times: i64, last_at: i64) -> SuppressionCount {
    let (tenant, address, kind) = (tenant.into(), address.into(), "mailbox_full".into());
    SuppressionCount { tenant, address, kind, times, first_at: 100, last_at }
}

pub(super) async fn what_rules_added_is_told_apart(store: &ControlStore) {
    let entries = [
        by_rule("a@example.net", 1_000, "no-such-user", "google", "alt1.gmail-smtp-in.l.google.com"),
        by_rule("b@example.net", 2_000, "no-such-user", "microsoft", "mx_1.example.net"),
        by_rule("c@example.net", 3_000, "disabled", "google", "gmail-smtp-in.l.google.com"),
        entry("d@example.net", "all", "bounce", 1_500),
    ];
    store.add_suppressions("acme", &entries).await.expect("adds");
    assert_eq!(store.suppressions_of("acme", "a@example.net").await.expect("reads"), entries[..1]);
    let by_rule = SuppressionFilter { by_rule: true, ..SuppressionFilter::default() };
    let of = |filter: SuppressionFilter| async move {
        let found = store.suppressions("acme", &filter, ("", ""), 10).await.expect("reads");
        let count = store.count_matching("acme", &filter).await.expect("counts");
        assert_eq!(Ok(found.len()), usize::try_from(count));
        found.iter().map(|entry| entry.address[..1].to_owned()).collect::<String>()
    };
    assert_eq!(of(by_rule.clone()).await, "abc");
    let google = SuppressionFilter { provider: Some("google".into()), ..by_rule.clone() };
    assert_eq!(of(google.clone()).await, "ac");
    assert_eq!(of(SuppressionFilter { rule: Some("disabled".into()), ..google.clone() }).await, "c");
    assert_eq!(of(SuppressionFilter { until: Some(3_000), ..google }).await, "a");
    for (mx, found) in [
        ("l.google.com", "ac"),
        ("gmail-smtp-in.l.google.com", "ac"),
        ("oogle.com", ""),
        ("mx_1.example.net", "b"),
        ("_1.example.net", ""),
        ("%", ""),
    ] {
        let filter = SuppressionFilter { mx: Some(mx.into()), ..by_rule.clone() };
        assert_eq!(of(filter).await, found, "{mx}");
    }
    assert_eq!(store.suppression_rule_tenants(0, 1_000).await.expect("reads"), Vec::<String>::new());
    assert_eq!(store.suppression_rule_tenants(1_000, 1_001).await.expect("reads"), ["acme"]);
    assert_eq!(store.remove_suppressions("acme", &by_rule, 10).await.expect("removes"), entries[..3]);
    let all = SuppressionFilter::default();
    assert_eq!(store.remove_suppressions("acme", &all, 10).await.expect("removes"), entries[3..]);
}

pub(super) async fn rules_move_with_the_cursor(store: &ControlStore) {
    let reader = "suppression:one";
    assert_eq!(store.suppression_cursor(reader).await.expect("reads"), 0);
    assert!(!store.has_suppression_counts().await.expect("reads"));
    let known = entry("b@example.net", "all", "manual", 500);
    store.add_suppressions("acme", std::slice::from_ref(&known)).await.expect("adds");
    let new = by_rule("a@example.net", 1_000, "no-such-user", "google", "");
    let own = |tenant: &str, entry: &SuppressionRecord| {
        let id = format!("{tenant} {}", entry.id);
        (tenant.to_owned(), SuppressionRecord { id, ..entry.clone() })
    };
    let first = SuppressionBatch {
        reader: reader.into(),
        after: 0,
        cursor: 10,
        entries: vec![
            own("other", &new),
            own("acme", &by_rule("b@example.net", 1_000, "no-such-user", "google", "")),
            own("acme", &new),
        ],
        forgotten: Vec::new(),
        counts: vec![count("acme", "f@example.net", 1, 100), count("other", "f@example.net", 2, 200)],
    };
    let added = store.apply_suppressions(first.clone()).await.expect("applies");
    assert_eq!(added, [own("acme", &new), own("other", &new)], "an entry that is there stays");
    let again = store.apply_suppressions(first).await.expect_err("was applied");
    assert!(matches!(again, ControlStoreError::Stale), "{again:?}");
    assert!(store.has_suppression_counts().await.expect("reads"));

    let address = |tenant: &str| (tenant.to_owned(), "f@example.net".to_owned());
    let both = [address("acme"), address("other"), ("acme".to_owned(), "g@example.net".to_owned())];
    let mut found = store.suppression_counts(&both).await.expect("reads");
    found.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    assert_eq!(found, [count("acme", "f@example.net", 1, 100), count("other", "f@example.net", 2, 200)]);
    let second = SuppressionBatch {
        reader: reader.into(),
        after: 10,
        cursor: 20,
        forgotten: both[..2].to_vec(),
        counts: vec![count("acme", "f@example.net", 3, 300)],
        ..SuppressionBatch::default()
    };
    store.apply_suppressions(second).await.expect("applies");
    assert_eq!(store.suppression_cursor(reader).await.expect("reads"), 20);
    let found = store.suppression_counts(&both).await.expect("reads");
    assert_eq!(found, [count("acme", "f@example.net", 3, 300)], "others are forgotten first");
    assert_eq!(store.prune_suppression_counts(300).await.expect("removes"), 0);
    assert_eq!(store.prune_suppression_counts(301).await.expect("removes"), 1);
    for tenant in ["acme", "other"] {
        let all = SuppressionFilter::default();
        store.remove_suppressions(tenant, &all, 10).await.expect("removes");
    }
}
