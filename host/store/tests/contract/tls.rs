//! MTA-STS policies, and tallies for TLS reports.

use relevo_store::{ControlStore, StsPolicyRecord, TlsStore, TlsTallyRecord};

fn policy(domain: &str, renew_at: i64, expires_at: i64) -> StsPolicyRecord {
    StsPolicyRecord {
        domain: domain.into(),
        id: "1".into(),
        body: "version: STSv1\r\n'; DROP TABLE tls_tally; --".into(),
        fetched_at: 5,
        expires_at,
        renew_at,
    }
}

pub(super) async fn policies_are_kept_until_they_lapse(store: &ControlStore) {
    let (a, b) = (policy("a.example", 10, 100), policy("b.example", 20, 50));
    store.put_sts_policy(&a).await.expect("stores");
    store.put_sts_policy(&b).await.expect("stores");
    assert_eq!(store.sts_policy("a.example", 99).await.expect("reads"), Some(a.clone()));
    assert_eq!(store.sts_policy("a.example", 100).await.expect("reads"), None, "lapsed");
    assert_eq!(store.sts_policy("c.example", 0).await.expect("reads"), None);
    let renewed = StsPolicyRecord { id: "2".into(), fetched_at: 60, expires_at: 200, ..a };
    store.put_sts_policy(&renewed).await.expect("stores");
    assert_eq!(store.sts_policy("a.example", 150).await.expect("reads"), Some(renewed));
    assert_eq!(store.count_sts_policies().await.expect("counts"), 2);
    assert!(store.take_stale_sts_policies(50, 90, 10).await.is_ok());
    assert_eq!(store.count_sts_policies().await.expect("counts"), 1, "what lapsed is deleted");
}

pub(super) async fn stale_policies_are_taken_in_turn(store: &ControlStore) {
    for (domain, renew_at) in [("c.example", 10), ("a.example", 20), ("b.example", 30), ("d.example", 900)] {
        store.put_sts_policy(&policy(domain, renew_at, 1_000)).await.expect("stores");
    }
    let mut taken = Vec::new();
    for (now, retry_at) in [(40, 140), (40, 140), (40, 140), (140, 240)] {
        let policies = store.take_stale_sts_policies(now, retry_at, 2).await.expect("takes");
        assert!(policies.iter().all(|policy| policy.renew_at == retry_at), "{policies:?}");
        taken.push(policies.into_iter().map(|policy| policy.domain).collect::<Vec<_>>());
    }
    let rounds: [&[&str]; 4] =
        [&["a.example", "c.example"], &["b.example"], &[], &["a.example", "b.example"]];
    assert_eq!(taken, rounds, "who was taken goes behind the others");
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
