//! Webhooks.

use relevo_store::{
    ControlStore, ControlStoreError, StoredSecret, StoredTag, WebhookAttempt, WebhookAttemptFilter,
    WebhookAttemptPlace, WebhookDelivery, WebhookDeliveryFilter, WebhookDeliveryPlace, WebhookDeliveryStore,
    WebhookEndpoint, WebhookEndpointStore, WebhookFailing, WebhookSettings, WebhookSettlement, WebhookSpan,
    WebhookStatus,
};

fn endpoint(id: &str, tenant: &str) -> WebhookEndpoint {
    WebhookEndpoint {
        tenant: tenant.into(),
        id: id.into(),
        url: format!("https://hooks.example.com/{id}"),
        enabled: true,
        disabled_reason: None,
        failing_since: None,
        settings: WebhookSettings {
            types: vec!["email.delivered".into()],
            tags: vec![StoredTag { name: "campaign".into(), value: None }],
            headers: vec![("x-key".into(), "1".into())],
            secrets: vec![StoredSecret { secret: "whsec_x".into(), until: Some(9) }],
            ..WebhookSettings::default()
        },
        created_at: 1_000,
        version: 1,
    }
}

fn pending(endpoint: &str, node: &str, event: i64) -> WebhookDelivery {
    WebhookDelivery {
        endpoint: endpoint.into(),
        node: node.into(),
        event,
        event_type: "email.delivered".into(),
        message_id: Some("01J".into()),
        status: WebhookStatus::Pending,
        attempts: 0,
        tries: 0,
        next_at: 5_000 + event,
        created_at: 4_000 + event,
    }
}

fn attempt(event: i64, number: i64, status: Option<i64>) -> WebhookAttempt {
    let started_at = 5_000 + number;
    WebhookAttempt { node: "n".into(), event, number, started_at, took: 20, status, detail: "no".into() }
}

fn settled(delivery: WebhookDelivery, status: Option<i64>, failing: WebhookFailing) -> WebhookSettlement {
    let attempt = attempt(delivery.event, delivery.attempts, status);
    WebhookSettlement { delivery, attempt, failing }
}

/// An endpoint of this tenant.
pub(super) async fn add_one(store: &ControlStore, tenant: &str) {
    let endpoint = endpoint(&format!("{tenant}-w"), tenant);
    assert!(store.add_webhook_endpoint(&endpoint, 1).await.expect("adds"));
}

pub(super) async fn endpoints_belong_to_one_tenant(store: &ControlStore) {
    let (one, two) = (endpoint("w1", "acme"), endpoint("w2", "other"));
    for each in [&one, &two] {
        assert!(store.add_webhook_endpoint(each, 1).await.expect("adds"));
    }
    assert!(!store.add_webhook_endpoint(&endpoint("w3", "acme"), 1).await.expect("has one"));
    assert_eq!(store.webhook_endpoint("other", "w1").await.expect("acme's"), None);
    assert_eq!(store.webhook_endpoints_of("acme", "", 9).await.expect("reads"), std::slice::from_ref(&one));
    assert_eq!(store.webhook_endpoints_of("acme", "w1", 9).await.expect("reads"), []);

    let mut changed = one.clone();
    changed.url = "https://hooks.example.com/new".into();
    assert!(store.change_webhook_endpoint(&changed).await.expect("changes"));
    changed.version = 2;
    let stale = store.change_webhook_endpoint(&one).await.expect_err("of version 1");
    assert!(matches!(stale, ControlStoreError::Stale), "{stale:?}");
    let stolen = WebhookEndpoint { tenant: "other".into(), ..changed.clone() };
    assert!(!store.change_webhook_endpoint(&stolen).await.expect("acme's"));
    assert_eq!(store.webhook_endpoints().await.expect("reads"), [changed.clone(), two]);

    assert!(store.disable_webhook_endpoint("w1", "410 Gone").await.expect("disables"));
    assert!(!store.disable_webhook_endpoint("w1", "again").await.expect("is disabled"));
    let found = store.webhook_endpoint("acme", "w1").await.expect("reads").expect("is there");
    assert_eq!(
        (found.enabled, found.disabled_reason.as_deref(), found.version),
        (false, Some("410 Gone"), 3)
    );
    let again = WebhookEndpoint { enabled: true, ..found };
    assert!(store.change_webhook_endpoint(&again).await.expect("enables"));
    let found = store.webhook_endpoint("acme", "w1").await.expect("reads").expect("is there");
    assert_eq!((found.enabled, found.disabled_reason), (true, None));

    assert!(!store.delete_webhook_endpoint("other", "w1").await.expect("acme's"));
    assert!(store.delete_webhook_endpoint("acme", "w1").await.expect("deletes"));
    assert!(store.delete_webhook_endpoint("other", "w2").await.expect("deletes"));
    assert!(!format!("{one:?}").contains("whsec_x"));
}

async fn newest(store: &ControlStore, status: Option<WebhookStatus>) -> Vec<i64> {
    let filter = WebhookDeliveryFilter { endpoint: "w1", status };
    let found = store.webhook_deliveries(filter, None, 10).await.expect("reads");
    found.iter().map(|delivery| delivery.event).collect()
}

pub(super) async fn deliveries_move_with_the_cursor(store: &ControlStore) {
    store.add_webhook_endpoint(&endpoint("w1", "acme"), 9).await.expect("adds");
    let all = [pending("w1", "n", 1), pending("gone", "n", 2), pending("w1", "n", 3)];
    for _ in 0..2 {
        store.add_webhook_deliveries("n", &all, 3).await.expect("adds, once");
    }
    assert_eq!(store.webhook_cursor("n").await.expect("reads"), 3);
    assert_eq!(store.webhook_cursor("other").await.expect("reads"), 0);
    assert_eq!(store.pending_webhooks("n", "w1", 10).await.expect("reads"), [all[0].clone(), all[2].clone()]);
    // Another node's event of the same position is another event.
    store.add_webhook_deliveries("other", &[pending("w1", "other", 1)], 1).await.expect("adds");
    let due = store.pending_webhook_endpoints("n").await.expect("reads");
    assert_eq!(
        due.iter().map(|d| (d.endpoint.as_str(), d.next_at, d.count)).collect::<Vec<_>>(),
        [("w1", 5_001, 2)]
    );
    assert_eq!(newest(store, None).await, [3, 1, 1]);
    let place = WebhookDeliveryPlace(4_001, "other".into(), 1);
    let filter = WebhookDeliveryFilter { endpoint: "w1", status: None };
    let behind = store.webhook_deliveries(filter, Some(place), 10).await.expect("reads");
    assert_eq!(behind, [pending("w1", "n", 1)]);
    store.delete_webhook_endpoint("acme", "w1").await.expect("deletes");
    assert_eq!(store.pending_webhooks("n", "w1", 10).await.expect("went with it"), []);
}

pub(super) async fn attempts_are_settled_with_their_deliveries(store: &ControlStore) {
    store.add_webhook_endpoint(&endpoint("w1", "acme"), 9).await.expect("adds");
    let all = [pending("w1", "n", 1), pending("w1", "n", 3)];
    store.add_webhook_deliveries("n", &all, 3).await.expect("adds");
    let later = WebhookDelivery { attempts: 1, tries: 1, next_at: 10_000, ..pending("w1", "n", 1) };
    let gone = WebhookDelivery { attempts: 1, ..pending("gone", "n", 2) };
    let done = WebhookDelivery { attempts: 2, status: WebhookStatus::Success, ..later.clone() };
    let settlements = [
        settled(later.clone(), None, WebhookFailing::Since(5_001)),
        settled(gone, None, WebhookFailing::Since(1)),
        settled(done.clone(), Some(204), WebhookFailing::Same),
    ];
    store.settle_webhooks(&settlements).await.expect("writes");
    let failing =
        async || store.webhook_endpoint("acme", "w1").await.expect("reads").expect("is there").failing_since;
    assert_eq!(failing().await, Some(5_001));
    store
        .settle_webhooks(&[settled(later.clone(), None, WebhookFailing::Since(9_000))])
        .await
        .expect("writes");
    assert_eq!(failing().await, Some(5_001), "since the first");
    store.settle_webhooks(&[settled(done.clone(), Some(204), WebhookFailing::Ended)]).await.expect("writes");
    assert_eq!(failing().await, None);

    let attempts = async |delivery, succeeded, after| {
        let filter = WebhookAttemptFilter { endpoint: "w1", delivery, succeeded };
        store.webhook_attempts(filter, after, 10).await.expect("reads")
    };
    let (first, second) = (attempt(1, 1, None), attempt(1, 2, Some(204)));
    assert_eq!(attempts(Some(("n", 1)), None, None).await, [second.clone(), first.clone()]);
    assert_eq!(attempts(Some(("n", 3)), None, None).await, []);
    assert_eq!(attempts(None, Some(true), None).await, std::slice::from_ref(&second));
    assert_eq!(attempts(None, Some(false), None).await, std::slice::from_ref(&first));
    let place = WebhookAttemptPlace(second.started_at, "n".into(), 1, 2);
    assert_eq!(attempts(None, None, Some(place)).await, [first]);
    assert_eq!(newest(store, Some(WebhookStatus::Success)).await, [1]);
    assert_eq!(store.webhook_delivery("w1", "n", 1).await.expect("reads"), Some(done));
    store.delete_webhook_endpoint("acme", "w1").await.expect("deletes");
}

pub(super) async fn ended_deliveries_are_replayed_and_pruned(store: &ControlStore) {
    let one = endpoint("w1", "acme");
    store.add_webhook_endpoint(&one, 9).await.expect("adds");
    let all = [pending("w1", "n", 1), pending("w1", "n", 2), pending("w1", "n", 3)];
    store.add_webhook_deliveries("n", &all, 3).await.expect("adds");
    let ended =
        |event, status| WebhookDelivery { attempts: 4, tries: 4, status, ..pending("w1", "n", event) };
    let settlements = [
        settled(ended(1, WebhookStatus::Success), Some(200), WebhookFailing::Same),
        settled(ended(2, WebhookStatus::Failed), Some(500), WebhookFailing::Same),
    ];
    store.settle_webhooks(&settlements).await.expect("writes");
    let span = |since, until, status| WebhookSpan { endpoint: "w1".into(), since, until, status };
    let replay = async |span: WebhookSpan| store.replay_webhooks(&span, 20_000).await.expect("replays");
    assert_eq!(replay(span(4_001, 4_003, Some(WebhookStatus::Failed))).await, 1);
    assert_eq!(replay(span(4_002, 4_003, None)).await, 0, "what is pending stays so");
    assert!(store.replay_webhook("w1", "n", 1, 30_000).await.expect("replays"));
    assert!(!store.replay_webhook("w1", "n", 1, 30_000).await.expect("is pending"));
    let again = store.pending_webhooks("n", "w1", 10).await.expect("reads");
    let order: Vec<_> = again.iter().map(|d| (d.event, d.next_at, d.attempts, d.tries)).collect();
    assert_eq!(order, [(3, 5_003, 0, 0), (2, 20_000, 4, 0), (1, 30_000, 4, 0)]);
    let missing = [pending("w1", "n", 3), pending("w1", "n", 4)];
    assert_eq!(store.add_missing_webhooks(&missing).await.expect("adds"), 1);
    assert_eq!(store.webhook_cursor("n").await.expect("reads"), 3, "no position moves");

    assert_eq!(store.prune_webhooks(i64::MAX, 9).await.expect("keeps what is pending"), 0);
    let failed = [settled(ended(1, WebhookStatus::Failed), Some(410), WebhookFailing::Same)];
    store.settle_webhooks(&failed).await.expect("writes");
    assert_eq!(store.prune_webhooks(4_001, 9).await.expect("is younger"), 0);
    assert_eq!(store.prune_webhooks(4_002, 9).await.expect("prunes"), 1);
    let filter = WebhookAttemptFilter { endpoint: "w1", delivery: Some(("n", 1)), succeeded: None };
    assert_eq!(store.webhook_attempts(filter, None, 9).await.expect("went with it"), []);
    store.disable_webhook_endpoint("w1", "gone").await.expect("disables");
    assert_eq!(store.prune_webhooks(i64::MAX, 2).await.expect("is not sent any more"), 2);
    store.delete_webhook_endpoint("acme", "w1").await.expect("deletes");
}
