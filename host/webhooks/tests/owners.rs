//! What owners do: replay, rotate, test, and what they may not have.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::time::Duration;

use relevo_mailkit::webhook::{WebhookSecret, signature};
use relevo_queue::EventLog;
use relevo_webhooks::{NewWebhook, ReplaySpan, WebhookChange, WebhookError, WebhookStatus};
use support::{Hook, Request, World, now, wait_for};

async fn enable(world: &World, id: &str, enabled: bool) {
    let change = WebhookChange { enabled: Some(enabled), ..WebhookChange::default() };
    world.webhooks.change("acme", id, change).await.unwrap();
}

#[tokio::test]
async fn a_delivery_is_replayed_under_its_id() {
    let world = World::new().await;
    let hook = Hook::with_status(200).await;
    let id = world.endpoint(&hook.url).await;
    world.tell("Hi").await;
    let (delivery, _) = world.wait(&id, "success").await;
    world.webhooks.replay("acme", &id, &delivery).await.unwrap();
    let requests = hook.wait(2).await;
    assert_eq!(requests[1].field("webhook-id"), delivery);
    assert_eq!(requests[1].body, requests[0].body);
    for (tenant, delivery) in [("other", delivery.as_str()), ("acme", "msg_n1_1"), ("acme", "x")] {
        let refused = world.webhooks.replay(tenant, &id, delivery).await.unwrap_err();
        assert!(matches!(refused, WebhookError::NotFound(_)), "{refused:?}");
    }
    enable(&world, &id, false).await;
    let refused = world.webhooks.replay("acme", &id, &delivery).await.unwrap_err();
    assert!(matches!(refused, WebhookError::Conflict(_)), "{refused:?}");
}

#[tokio::test]
async fn a_span_has_what_failed_and_what_was_never_sent() {
    let world = World::with(|config| config.retry = vec![Duration::from_millis(1)]).await;
    let hook = Hook::start(|n| Some(support::answer(if n < 2 { 500 } else { 200 }))).await;
    let id = world.endpoint(&hook.url).await;
    let since = now();
    world.tell("failed").await;
    world.wait(&id, "failed").await;
    enable(&world, &id, false).await;
    world.tell("never").await;
    let between = now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.tell("outside").await;
    // When another endpoint has the last event, the reader is behind all of them.
    let other = Hook::with_status(200).await;
    world.endpoint(&other.url).await;
    world.tell("last").await;
    other.wait(1).await;
    enable(&world, &id, true).await;
    let span = |status| ReplaySpan { since, until: between, status };
    let failed = world.webhooks.replay_span("acme", &id, span(Some(WebhookStatus::Failed))).await.unwrap();
    assert_eq!(failed, 1);
    hook.wait(3).await;
    world.wait(&id, "success").await;
    let all = world.webhooks.replay_span("acme", &id, span(None)).await.unwrap();
    assert_eq!(all, 2);
    let mut subjects: Vec<_> = hook.wait(5).await[2..].iter().map(Request::subject).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["failed", "failed", "never"]);
    let backwards = ReplaySpan { since: between, until: since - 1, status: None };
    assert!(world.webhooks.replay_span("acme", &id, backwards).await.is_err());
}

#[tokio::test]
async fn both_secrets_sign_after_a_rotation() {
    let world = World::new().await;
    let hook = Hook::with_status(200).await;
    let id = world.endpoint(&hook.url).await;
    let old = world.webhooks.get("acme", &id).await.unwrap().settings.secrets;
    let rotated = world.webhooks.rotate("acme", &id, Duration::from_secs(60)).await.unwrap();
    let secrets = &rotated.settings.secrets;
    assert_eq!((secrets.len(), secrets[1].secret.as_str()), (2, old[0].secret.as_str()));
    world.tell("Hi").await;
    let request = hook.wait(1).await.remove(0);
    let timestamp = request.field("webhook-timestamp").parse().unwrap();
    let all: Vec<_> = request.field("webhook-signature").split(' ').collect();
    assert_eq!(all.len(), 2);
    for stored in secrets {
        let secret = WebhookSecret::parse(&stored.secret).unwrap();
        let expected = signature(&[secret], request.field("webhook-id"), timestamp, &request.body);
        assert!(all.contains(&expected.as_str()));
    }
    let at_once = world.webhooks.rotate("acme", &id, Duration::ZERO).await.unwrap();
    let counting = |until: &Option<i64>| until.is_none_or(|at| at > now());
    let left = at_once.settings.secrets.iter().filter(|secret| counting(&secret.until)).count();
    assert_eq!(left, 1, "a leaked secret can be ended at once");
    for _ in 0..9 {
        world.webhooks.rotate("acme", &id, Duration::from_secs(60)).await.unwrap();
    }
    assert_eq!(world.webhooks.get("acme", &id).await.unwrap().settings.secrets.len(), 4);
}

#[tokio::test]
async fn a_test_tells_what_the_endpoint_said() {
    let world = World::new().await;
    let hook = Hook::with_status(418).await;
    let id = world.endpoint_with(&hook.url, |new| new.enabled = false).await;
    let result = world.webhooks.test("acme", &id).await.unwrap();
    assert_eq!((result.status, result.succeeded, result.detail.as_str()), (Some(418), false, "said"));
    let request = hook.wait(1).await.remove(0);
    assert_eq!(request.field("webhook-id"), result.id);
    assert_eq!(
        (&request.json()["type"], &request.json()["data"]["webhook_id"]),
        (&"webhook.test".into(), &id.clone().into())
    );
    assert!(world.webhooks.test("other", &id).await.is_err());

    let silent = Hook::start(|_| None).await;
    let slow = world.endpoint(&silent.url).await;
    let webhooks = world.webhooks.clone();
    let first = tokio::spawn(async move { webhooks.test("acme", &slow).await });
    silent.wait(1).await;
    assert_eq!(world.webhooks.test("acme", &id).await, Err(WebhookError::Busy));
    first.abort();
    let _ = first.await;
    assert!(world.webhooks.test("acme", &id).await.is_ok(), "a test that was broken off has ended");
}

#[tokio::test]
async fn inner_addresses_are_refused() {
    let world = World::new().await;
    let create = async |url: &str| {
        let new = NewWebhook { url: url.to_owned(), enabled: true, ..NewWebhook::default() };
        world.webhooks.create("acme", new).await
    };
    for url in [
        "http://10.0.0.1/",
        "https://[::1]/",
        "http://2852039166/",
        "ftp://a.example.com/",
        "hooks",
        "https://u@a.example.com/",
    ] {
        let refused = create(url).await.unwrap_err();
        assert!(
            matches!(&refused, WebhookError::Field { param, .. } if param == "endpoint"),
            "{url}: {refused:?}"
        );
    }
    let id = create("https://a.example.com/").await.unwrap().id;
    let change = WebhookChange { url: Some("http://[fd00::1]/".into()), ..WebhookChange::default() };
    assert!(world.webhooks.change("acme", &id, change).await.is_err());
    assert_eq!(world.webhooks.get("acme", &id).await.unwrap().url, "https://a.example.com/");
}

#[tokio::test]
async fn a_tenant_has_a_number_of_endpoints() {
    let world = World::with(|config| config.max_endpoints = 2).await;
    for _ in 0..2 {
        world.endpoint("http://127.0.0.1:9/").await;
    }
    let new = NewWebhook { url: "http://127.0.0.1:9/".into(), ..NewWebhook::default() };
    let refused = world.webhooks.create("acme", new.clone()).await.unwrap_err();
    assert!(matches!(refused, WebhookError::Conflict(_)), "{refused:?}");
    world.webhooks.create("other", new).await.unwrap();
}

#[tokio::test]
async fn deleting_ends_deliveries() {
    let world = World::new().await;
    let hook = Hook::with_status(500).await;
    let id = world.endpoint(&hook.url).await;
    world.tell("Hi").await;
    hook.wait(1).await;
    assert!(world.webhooks.delete("other", &id).await.is_err());
    world.webhooks.delete("acme", &id).await.unwrap();
    assert!(world.webhooks.get("acme", &id).await.is_err());
    let other = Hook::with_status(200).await;
    world.endpoint(&other.url).await;
    world.tell("next").await;
    other.wait(1).await;
    assert!(hook.requests().iter().all(|request| request.subject() == "Hi"));
}

#[tokio::test]
async fn an_endpoint_that_too_much_waits_for_is_disabled() {
    let mut world = World::with(|config| {
        config.max_pending = 3;
        config.retry = vec![Duration::from_secs(3_600)];
    })
    .await;
    let hook = Hook::with_status(500).await;
    let id = world.endpoint(&hook.url).await;
    for n in 0..4 {
        world.tell(&format!("{n}")).await;
    }
    hook.wait(4).await;
    // It is counted at the start and then once a minute.
    world.kill().await;
    world.run();
    let endpoint = wait_for("it is disabled", async || {
        Some(world.webhooks.get("acme", &id).await.unwrap()).filter(|endpoint| !endpoint.enabled)
    })
    .await;
    assert_eq!(endpoint.disabled_reason.as_deref(), Some("4 deliveries wait for it, and 3 may"));
}

#[tokio::test]
async fn events_that_were_removed_too_early_are_counted_and_the_rest_is_told() {
    let mut world = World::new().await;
    let hook = Hook::with_status(200).await;
    let id = world.endpoint(&hook.url).await;
    world.tell("one").await;
    world.wait(&id, "success").await;
    world.kill().await;
    for n in 0..3 {
        world.tell(&format!("lost {n}")).await;
    }
    while world.events.prune(i64::MAX, u64::MAX).await.unwrap() > 0 {}
    world.tell("two").await;
    world.run();
    let subjects: Vec<_> = hook.wait(2).await.iter().map(Request::subject).collect();
    assert_eq!(subjects, ["one", "two"]);
    assert_eq!(world.metrics.lost_events_count(), 1);
}
