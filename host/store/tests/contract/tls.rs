//! MTA-STS policies, and tallies for TLS reports.

use relevo_store::{ControlStore, StsPolicyRecord, TlsStore, TlsTallyRecord};

fn policy(domain: &str, fetched_at: i64, expires_at: i64) -> StsPolicyRecord {
    StsPolicyRecord {
        domain: domain.into(),
        id: "1".into(),
        body: "version: STSv1\r\n'; DROP TABLE tls_tally; --".into(),
        fetched_at,
        expires_at,
    }
}

pub(super) async fn policies_are_kept_until_they_lapse(store: &ControlStore) {
    let (a, b) = (policy("a.example", 10, 100), policy("b.example", 20, 50));
    store.put_sts_policy(&a).await.expect("stores");
    store.put_sts_policy(&b).await.expect("stores");
    assert_eq!(store.sts_policy("a.example", 99).await.expect("reads"), Some(a.clone()));
    assert_eq!(store.sts_policy("a.example", 100).await.expect("reads"), None, "lapsed");
    assert_eq!(store.sts_policy("c.example", 0).await.expect("reads"), None);
    assert_eq!(store.stale_sts_policies(30, 0, 10).await.expect("reads"), [b.clone(), a.clone()]);
    assert_eq!(store.stale_sts_policies(30, 0, 1).await.expect("reads"), [b]);
    assert_eq!(store.stale_sts_policies(15, 0, 10).await.expect("reads"), std::slice::from_ref(&a));
    assert_eq!(store.stale_sts_policies(30, 50, 10).await.expect("reads"), std::slice::from_ref(&a));
    assert_eq!(store.count_sts_policies().await.expect("counts"), 1, "what lapsed is deleted");
    let renewed = StsPolicyRecord { id: "2".into(), fetched_at: 60, expires_at: 200, ..a };
    store.put_sts_policy(&renewed).await.expect("stores");
    assert_eq!(store.sts_policy("a.example", 150).await.expect("reads"), Some(renewed));
}

pub(super) async fn tallies_belong_to_a_node(store: &ControlStore) {
    let tally = |day, domain: &str, node: &str, body: &str| TlsTallyRecord {
        day,
        domain: domain.into(),
        node: node.into(),
        body: body.into(),
    };
    let (a, b) = (tally(2, "a.example", "mx1", "{}"), tally(1, "b.example", "mx1", "{}"));
    let other = tally(2, "a.example", "mx2", "{}");
    store.put_tls_tallies(&[a.clone(), b.clone(), other.clone()]).await.expect("stores");
    assert_eq!(store.tls_tallies("mx1").await.expect("reads"), [b.clone(), a.clone()]);
    let more = TlsTallyRecord { body: "{\"a\":1}".into(), ..a };
    store.put_tls_tallies(std::slice::from_ref(&more)).await.expect("stores");
    store.delete_tls_tally(1, "b.example", "mx1").await.expect("deletes");
    assert_eq!(store.tls_tallies("mx1").await.expect("reads"), [more]);
    assert_eq!(store.tls_tallies("mx2").await.expect("reads"), [other]);
}
