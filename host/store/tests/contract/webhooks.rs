//! Webhooks.

use relevo_store::{
    ControlStore, StoredSecret, WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookSettings,
    WebhookStatus, WebhookStore,
};

fn endpoint(id: &str, tenant: &str) -> WebhookEndpoint {
    WebhookEndpoint {
        tenant: tenant.into(),
        id: id.into(),
        url: format!("https://hooks.example.com/{id}"),
        enabled: true,
        settings: WebhookSettings {
            types: vec!["email.delivered".into()],
            headers: vec![("x-key".into(), "1".into())],
            secrets: vec![StoredSecret { secret: "whsec_x".into(), until: Some(9) }],
            ..WebhookSettings::default()
        },
        created_at: 1_000,
    }
}

fn pending(endpoint: &str, event: i64) -> WebhookDelivery {
    WebhookDelivery {
        endpoint: endpoint.into(),
        event,
        event_type: "email.delivered".into(),
        message_id: Some("01J".into()),
        status: WebhookStatus::Pending,
        attempts: 0,
        next_at: 5_000 + event,
        created_at: 4_000 + event,
    }
}

/// An endpoint of this tenant.
pub(super) async fn add_one(store: &ControlStore, tenant: &str) {
    assert!(store.put_webhook_endpoint(&endpoint(&format!("{tenant}-w"), tenant)).await.expect("adds"));
}

pub(super) async fn endpoints_belong_to_one_tenant(store: &ControlStore) {
    let (one, two) = (endpoint("w1", "acme"), endpoint("w2", "other"));
    for each in [&one, &two] {
        assert!(store.put_webhook_endpoint(each).await.expect("adds"));
    }
    assert!(!store.put_webhook_endpoint(&endpoint("w1", "other")).await.expect("acme's"));
    let mut changed = one.clone();
    (changed.enabled, changed.url) = (false, "https://hooks.example.com/new".into());
    assert!(store.put_webhook_endpoint(&changed).await.expect("replaces"));
    assert_eq!(store.webhook_endpoints().await.expect("reads"), [changed, two]);
    assert!(!store.delete_webhook_endpoint("other", "w1").await.expect("acme's"));
    assert!(store.delete_webhook_endpoint("acme", "w1").await.expect("deletes"));
    assert!(store.delete_webhook_endpoint("other", "w2").await.expect("deletes"));
    assert!(!format!("{one:?}").contains("whsec_x"));
}

pub(super) async fn deliveries_move_with_the_cursor(store: &ControlStore) {
    store.put_webhook_endpoint(&endpoint("w1", "acme")).await.expect("adds");
    let all = [pending("w1", 1), pending("gone", 2), pending("w1", 3)];
    for _ in 0..2 {
        store.add_webhook_deliveries(&all, 3).await.expect("adds, once");
    }
    assert_eq!(store.webhook_cursor().await.expect("reads"), 3);
    assert_eq!(store.pending_webhooks("w1", 10).await.expect("reads"), [all[0].clone(), all[2].clone()]);

    let attempt = |number: i64, status: Option<i64>| WebhookAttempt {
        number,
        started_at: 5_001,
        took: 20,
        status,
        detail: "no".into(),
    };
    let later = WebhookDelivery { attempts: 1, next_at: 10_000, ..pending("w1", 1) };
    store.settle_webhook(&later, &attempt(1, None)).await.expect("writes");
    let done = WebhookDelivery { attempts: 2, status: WebhookStatus::Delivered, ..later.clone() };
    store.settle_webhook(&done, &attempt(2, Some(204))).await.expect("writes");
    store.settle_webhook(&pending("gone", 2), &attempt(1, None)).await.expect("there is nothing to write");
    assert_eq!(
        store.webhook_attempts("w1", 1).await.expect("reads"),
        [attempt(1, None), attempt(2, Some(204))]
    );
    let newest = store.webhook_deliveries("w1", None, i64::MAX, 10).await.expect("reads");
    assert_eq!(newest, [pending("w1", 3), done.clone()]);
    let delivered =
        store.webhook_deliveries("w1", Some(WebhookStatus::Delivered), 3, 10).await.expect("reads");
    assert_eq!(delivered, [done]);

    assert_eq!(store.replay_webhooks("w1", 1, 3, 20_000).await.expect("replays"), 1);
    let again = store.pending_webhooks("w1", 10).await.expect("reads");
    assert_eq!(again.iter().map(|d| (d.event, d.next_at)).collect::<Vec<_>>(), [(3, 5_003), (1, 20_000)]);
    assert_eq!(store.prune_webhooks(i64::MAX).await.expect("keeps what is pending"), 0);
    let failed = WebhookDelivery { status: WebhookStatus::Failed, attempts: 3, ..later };
    store.settle_webhook(&failed, &attempt(3, Some(410))).await.expect("writes");
    assert_eq!(store.prune_webhooks(4_001).await.expect("is younger"), 0);
    assert_eq!(store.prune_webhooks(4_002).await.expect("prunes"), 1);
    assert_eq!(store.webhook_attempts("w1", 1).await.expect("went with it"), []);
    store.delete_webhook_endpoint("acme", "w1").await.expect("deletes");
    assert_eq!(store.pending_webhooks("w1", 10).await.expect("went with it"), []);
}
