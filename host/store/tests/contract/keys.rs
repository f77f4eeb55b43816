//! API keys, claims of domains, quotas and the audit log.

use relevo_store::{
    ApiKeyRecord, ApiKeySettings, ApiKeyStore, AuditRecord, AuditStore, ControlStore, ControlStoreError,
    DirectoryStore, DomainRecord, PreviousHash, QuotaStore, QuotaUse,
};

use super::{clear, domain, tenant};

pub(super) fn key(tenant: &str, name: &str, hash: u8) -> ApiKeyRecord {
    ApiKeyRecord {
        tenant: tenant.into(),
        id: format!("id of {name}"),
        name: name.into(),
        hash: [hash; 32],
        previous: None,
        settings: ApiKeySettings {
            scopes: vec!["send".into(), "read".into()],
            domain: Some("example.com".into()),
            prefix: "rv_abcd".into(),
            expires_at: Some(9_000),
        },
        created_at: 1_000,
        used_at: None,
    }
}

/// A key of this tenant.
pub(super) async fn add_one(store: &ControlStore, tenant: &str) {
    let hash = tenant.bytes().next().unwrap_or_default();
    store.add_api_key(&key(tenant, "one", hash), 10).await.expect("adds");
}

fn is_conflict<T>(result: Result<T, ControlStoreError>, word: &str) -> bool {
    matches!(result, Err(ControlStoreError::Conflict(why)) if why.contains(word))
}

/// Their tenants may be those of a file, which the store does not know.
pub(super) async fn keys_belong_to_one_tenant(store: &ControlStore) {
    let (ci, shop) = (key("acme", "ci", 1), key("acme", "shop", 2));
    let theirs = key("other", "ci", 3);
    for key in [&shop, &ci, &theirs] {
        store.add_api_key(key, 10).await.expect("adds");
    }
    assert!(is_conflict(store.add_api_key(&key("acme", "third", 4), 2).await, "2 keys"));
    let same_name = ApiKeyRecord { id: "new".into(), ..key("acme", "ci", 4) };
    assert!(is_conflict(store.add_api_key(&same_name, 10).await, "`ci`"));
    assert!(store.add_api_key(&key("acme", "copy", 3), 10).await.is_err(), "a token is one key's");

    assert_eq!(store.api_keys("acme", "", 10).await.expect("reads"), [ci.clone(), shop.clone()]);
    assert_eq!(store.api_keys("acme", &ci.id, 10).await.expect("reads"), std::slice::from_ref(&shop));
    assert_eq!(store.api_keys("acme", "", 1).await.expect("reads"), std::slice::from_ref(&ci));
    assert_eq!(store.api_key("acme", "id of other").await.expect("reads"), None);

    assert!(!store.rename_api_key("other", &shop.id, "mine").await.expect("not other's"));
    assert!(is_conflict(store.rename_api_key("acme", &shop.id, "ci").await, "`ci`"));
    assert!(store.rename_api_key("acme", &shop.id, "till").await.expect("renames"));
    let found = store.api_key("acme", &shop.id).await.expect("reads");
    assert_eq!(found.map(|key| key.name).as_deref(), Some("till"));

    let revision = store.directory_revision().await.expect("reads");
    let uses = [("acme".to_owned(), ci.id.clone(), 5_000), ("nobody".to_owned(), "none".to_owned(), 5_000)];
    store.touch_api_keys(&uses).await.expect("notes");
    store.touch_api_keys(&[("acme".into(), ci.id.clone(), 4_000)]).await.expect("notes");
    assert_eq!(store.directory_revision().await.expect("reads"), revision, "no change of the directory");
    let found = store.api_key("acme", &ci.id).await.expect("reads").expect("is there");
    assert_eq!(found.used_at, Some(5_000), "the latest");

    assert!(!store.delete_api_key("other", &shop.id).await.expect("nothing of other's"));
    for (tenant, id) in [("acme", &ci.id), ("acme", &shop.id), ("other", &theirs.id)] {
        assert!(store.delete_api_key(tenant, id).await.expect("deletes"));
        assert!(!store.delete_api_key(tenant, id).await.expect("is gone"));
    }
    assert!(store.directory_revision().await.expect("reads") > revision);
    assert_eq!(store.directory().await.expect("reads").api_keys, []);
}

pub(super) async fn a_rotated_key_has_two_tokens(store: &ControlStore) {
    let ci = key("acme", "ci", 1);
    store.add_api_key(&ci, 10).await.expect("adds");
    for (hash, prefix, until) in [(2, "rv_new", 6_000), (3, "rv_newer", 7_000)] {
        let token = (&[hash; 32], prefix);
        assert!(store.rotate_api_key("acme", &ci.id, token, until).await.expect("rotates"));
        assert!(!store.rotate_api_key("other", &ci.id, token, until).await.expect("not other's"));
    }
    let found = store.directory().await.expect("reads").api_keys;
    let settings = ApiKeySettings { prefix: "rv_newer".into(), ..ci.settings.clone() };
    let previous = Some(PreviousHash { hash: [2; 32], until: 7_000 });
    let expected = ApiKeyRecord { hash: [3; 32], previous, settings, ..ci.clone() };
    assert_eq!(found, [expected], "the token before the last one is gone");
    assert!(store.delete_api_key("acme", &ci.id).await.expect("deletes"));
}

pub(super) async fn a_domain_is_claimed_by_many_and_verified_by_one(store: &ControlStore) {
    for id in ["acme", "other"] {
        store.put_tenant(&tenant(id)).await.expect("adds");
    }
    let claim = |tenant: &str| DomainRecord { verified_at: None, ..domain("shop.example", tenant) };
    for id in ["acme", "other"] {
        store.put_domain(&claim(id)).await.expect("claims");
    }
    assert_eq!(store.directory().await.expect("reads").domains, [claim("acme"), claim("other")]);
    let verified = domain("shop.example", "other");
    store.put_domain(&verified).await.expect("the first that proves it");
    assert!(is_conflict(store.put_domain(&domain("shop.example", "acme")).await, "shop.example"));
    store.put_domain(&claim("acme")).await.expect("a claim stays one");
    assert_eq!(store.domain("acme", "shop.example").await.expect("reads"), Some(claim("acme")));
    assert_eq!(store.domain("acme", "other.example").await.expect("reads"), None);
    store.put_domain(&domain("a.example", "acme")).await.expect("adds");
    let names = |found: Vec<DomainRecord>| found.into_iter().map(|d| d.name).collect::<Vec<_>>();
    let found = store.domains("acme", "", 10).await.expect("reads");
    assert_eq!(names(found), ["a.example", "shop.example"]);
    let found = store.domains("acme", "a.example", 10).await.expect("reads");
    assert_eq!(names(found), ["shop.example"]);
    store.delete_domain("other", "shop.example").await.expect("deletes");
    store.put_domain(&domain("shop.example", "acme")).await.expect("nobody's any more");
    clear(store).await;
}

pub(super) async fn quotas_add_up(store: &ControlStore) {
    let quota = |tenant: &str, period: &str, starts_at: i64, used: i64| QuotaUse {
        tenant: tenant.into(),
        period: period.into(),
        starts_at,
        used,
    };
    let first = [quota("other", "hour", 3_600, 7), quota("acme", "day", 0, 10), quota("acme", "hour", 0, 10)];
    assert_eq!(store.add_quota_uses(&first).await.expect("adds"), [7, 10, 10]);
    let more = [quota("acme", "hour", 0, 5), quota("acme", "day", 0, -3)];
    assert_eq!(store.add_quota_uses(&more).await.expect("adds"), [15, 7]);
    let all = [quota("acme", "day", 0, 7), quota("acme", "hour", 0, 15), quota("other", "hour", 3_600, 7)];
    assert_eq!(store.quota_uses(0).await.expect("reads"), all);
    assert_eq!(store.quota_uses(1).await.expect("reads"), all[2..]);
    store.prune_quota_uses(1).await.expect("prunes");
    assert_eq!(store.quota_uses(0).await.expect("reads"), all[2..]);
    store.prune_quota_uses(i64::MAX).await.expect("prunes");
    assert_eq!(store.quota_uses(0).await.expect("reads"), []);
}

pub(super) async fn the_audit_log_is_read_backwards(store: &ControlStore) {
    let act = |tenant: &str, n: i64| AuditRecord {
        tenant: tenant.into(),
        id: format!("{n:04}"),
        at: n,
        actor: "key '; DROP TABLE audit; --".into(),
        action: "DELETE /api-keys/{id}".into(),
        subject: "01J".into(),
        result: "done".into(),
    };
    for n in 1..=5 {
        store.add_audit(&act("acme", n)).await.expect("adds");
    }
    store.add_audit(&act("other", 1)).await.expect("adds");
    assert_eq!(store.audit("acme", "", 2).await.expect("reads"), [act("acme", 5), act("acme", 4)]);
    let rest = store.audit("acme", "0004", 10).await.expect("reads");
    assert_eq!(rest, [act("acme", 3), act("acme", 2), act("acme", 1)]);
    let all = store.all_audit("", i64::MAX, 2).await.expect("reads");
    assert_eq!(all, [act("acme", 5), act("acme", 4)]);
    let oldest = store.all_audit("0002", 2, 10).await.expect("reads");
    assert_eq!(oldest.len(), 2);
    assert!(oldest.contains(&act("acme", 1)) && oldest.contains(&act("other", 1)), "{oldest:?}");
    assert_eq!(store.prune_audit(4, 3).await.expect("prunes"), 3);
    assert_eq!(store.prune_audit(4, 3).await.expect("prunes"), 1);
    assert_eq!(store.audit("acme", "", 10).await.expect("reads"), [act("acme", 5), act("acme", 4)]);
    assert_eq!(store.audit("other", "", 10).await.expect("reads"), []);
    store.prune_audit(i64::MAX, 100).await.expect("prunes");
}
