//! Suspensions and counts of warm-up.

use relevo_store::{ControlStore, ShapingStore, SuspensionRecord, WarmupRecord};

fn suspension(subject: &str, until: i64) -> SuspensionRecord {
    SuspensionRecord {
        subject: subject.into(),
        provider: "google".into(),
        since: 1,
        until,
        made_by: "rule".into(),
        author: "blocked".into(),
        reason: "'; DROP TABLE warmup; --".into(),
    }
}

pub(super) async fn suspensions_are_kept_until_they_end(store: &ControlStore) {
    let (a, b) = (suspension("source:192.0.2.1", 100), suspension("tenant:acme", 50));
    store.put_suspension(&a).await.expect("stores");
    store.put_suspension(&b).await.expect("stores");
    assert_eq!(store.suspensions(10).await.expect("reads"), [a.clone(), b.clone()]);
    let longer = SuspensionRecord { until: 200, ..a.clone() };
    store.put_suspension(&longer).await.expect("stores");
    // The end of the one before is not the end of this one.
    store.delete_suspension(&a.subject, &a.provider, a.until).await.expect("deletes");
    assert_eq!(store.suspensions(50).await.expect("reads"), std::slice::from_ref(&longer));
    assert_eq!(
        store.suspensions(10).await.expect("reads"),
        std::slice::from_ref(&longer),
        "what is over is gone"
    );
    store.delete_suspension(&a.subject, &a.provider, 200).await.expect("deletes");
    assert_eq!(store.suspensions(0).await.expect("reads"), []);
}

pub(super) async fn early_ends_are_kept_until_they_are_over(store: &ControlStore) {
    for until in [300, 100, 300] {
        store.put_early_end(until).await.expect("stores");
    }
    assert_eq!(store.early_ends(99).await.expect("reads"), [100, 300]);
    assert_eq!(store.early_ends(100).await.expect("reads"), [300]);
    assert_eq!(store.early_ends(0).await.expect("reads"), [300], "what is over is gone");
    assert_eq!(store.early_ends(300).await.expect("reads"), [0; 0]);
}

pub(super) async fn counts_of_warmup_are_replaced(store: &ControlStore) {
    let count = WarmupRecord {
        address: "192.0.2.1".into(),
        provider: "google".into(),
        day: 20_000,
        step: 2,
        used: 75,
        accepted: 60,
        deferred: 3,
        complaints: 1,
        hour: 480_007,
        in_hour: 20,
        note: "one step up".into(),
    };
    let other = WarmupRecord { provider: "yahoo".into(), ..count.clone() };
    store.put_warmups(&[count.clone(), other.clone()]).await.expect("stores");
    let later = WarmupRecord { used: 80, ..count.clone() };
    store.put_warmups(std::slice::from_ref(&later)).await.expect("stores");
    assert_eq!(store.warmups().await.expect("reads"), [later.clone(), other.clone()]);

    // Nodes change what they have read.
    assert_eq!(store.warmup("192.0.2.1", "google").await.expect("reads"), Some(later.clone()));
    assert_eq!(store.warmup("192.0.2.2", "google").await.expect("reads"), None);
    let exchange = async |before: Option<&WarmupRecord>, after: &WarmupRecord| {
        store.exchange_warmup(before, after).await.expect("stores")
    };
    let last = WarmupRecord { in_hour: 25, used: 85, ..later.clone() };
    assert!(!exchange(None, &last).await, "there is one");
    assert!(!exchange(Some(&count), &last).await, "it has changed since");
    assert!(exchange(Some(&later), &last).await);
    assert!(!exchange(Some(&later), &count).await, "somebody was faster");
    let new = WarmupRecord { address: "192.0.2.2".into(), ..count };
    assert!(!exchange(Some(&new), &new).await, "there is none");
    assert!(exchange(None, &new).await);
    assert_eq!(store.warmups().await.expect("reads"), [last, other, new]);
}
