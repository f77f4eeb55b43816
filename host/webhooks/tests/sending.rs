//! What endpoints get, and what becomes of deliveries whose endpoint fails in one way or another.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::time::Duration;

use relevo_mailkit::labels::{Labels, Stream, Tag};
use relevo_mailkit::webhook::{WebhookSecret, signature};
use relevo_store::StoredTag;
use relevo_webhooks::WebhookChange;
use support::{Hook, World, answer, now, wait_for};

#[tokio::test]
async fn an_event_arrives_signed_and_its_delivery_is_shown() {
    let world = World::new().await;
    let hook = Hook::with_status(204).await;
    let id = world
        .endpoint_with(&hook.url, |new| new.headers = vec![("authorization".into(), "Bearer x".into())])
        .await;
    world.tell("Hi").await;
    let request = hook.wait(1).await.remove(0);
    let endpoint = world.webhooks.get("acme", &id).await.unwrap();
    let secret = WebhookSecret::parse(&endpoint.settings.secrets[0].secret).unwrap();
    let timestamp = request.field("webhook-timestamp").parse().unwrap();
    let expected = signature(&[secret], request.field("webhook-id"), timestamp, &request.body);
    for name in ["webhook-signature", "svix-signature"] {
        assert_eq!(request.field(name), expected);
    }
    assert_eq!(request.field("svix-id"), request.field("webhook-id"));
    assert_eq!(request.field("authorization"), "Bearer x");
    assert_eq!(request.field("content-type"), "application/json");
    assert!((now() / 1_000 - timestamp).abs() < 300);
    assert_eq!((request.json()["type"].as_str(), request.subject().as_str()), (Some("email.queued"), "Hi"));

    let (delivery, attempts) = world.wait(&id, "success").await;
    assert_eq!((delivery.as_str(), attempts), (request.field("webhook-id"), 1));
    let shown = world.webhooks.delivery("acme", &id, &delivery).await.unwrap().delivery;
    let payload = world.webhooks.payload("acme", &shown).await.unwrap().unwrap();
    assert_eq!(payload, request.json());
    assert!(world.webhooks.delivery("other", &id, &delivery).await.is_err());
    assert_eq!(world.webhooks.payload("other", &shown).await.unwrap(), None);
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_under_the_same_id() {
    let world = World::new().await;
    let hook = Hook::start(|n| Some(answer(if n < 2 { 500 } else { 200 }))).await;
    let id = world.endpoint(&hook.url).await;
    world.tell("Hi").await;
    let (delivery, attempts) = world.wait(&id, "success").await;
    assert_eq!(attempts, 3);
    assert!(hook.requests().iter().all(|request| request.field("webhook-id") == delivery));
    let attempts = world.webhooks.attempts("acme", &id, Some(&delivery), None, "", 10).await.unwrap();
    let shown: Vec<_> = attempts.iter().map(|a| (a.number, a.status, a.detail.as_str())).collect();
    assert_eq!(shown, [(3, Some(200), "said"), (2, Some(500), "said"), (1, Some(500), "said")]);
    let failed = world.webhooks.attempts("acme", &id, None, Some(false), "", 10).await.unwrap();
    assert_eq!(failed.len(), 2);
    let behind = relevo_webhooks::attempt_id(&attempts[1]);
    let last = world.webhooks.attempts("acme", &id, None, None, &behind, 10).await.unwrap();
    assert_eq!(last, attempts[2..]);
    let endpoint = world.webhooks.get("acme", &id).await.unwrap();
    assert_eq!(endpoint.failing_since, None, "it works again");
}

#[tokio::test]
async fn a_delivery_that_always_fails_is_given_up() {
    let world = World::new().await;
    let hook = Hook::with_status(500).await;
    let id = world.endpoint(&hook.url).await;
    world.tell("Hi").await;
    assert_eq!(world.wait(&id, "failed").await.1, 4, "the first and three more");
    let endpoint = world.webhooks.get("acme", &id).await.unwrap();
    assert!(endpoint.enabled && endpoint.failing_since.is_some());
}

#[tokio::test]
async fn an_endpoint_that_fails_for_days_is_disabled_with_the_reason() {
    let world = World::with(|config| config.disable_after = Duration::from_millis(1)).await;
    let hook = Hook::with_status(500).await;
    let id = world.endpoint(&hook.url).await;
    world.tell("Hi").await;
    let endpoint = wait_for("it is disabled", async || {
        Some(world.webhooks.get("acme", &id).await.unwrap()).filter(|endpoint| !endpoint.enabled)
    })
    .await;
    let reason = endpoint.disabled_reason.unwrap();
    assert!(reason.contains("every attempt since 20") && reason.contains("status 500"), "{reason}");
}

#[tokio::test]
async fn gone_disables_until_the_owner_enables() {
    let world = World::new().await;
    let hook = Hook::start(|n| Some(answer(if n == 0 { 410 } else { 200 }))).await;
    let id = world.endpoint(&hook.url).await;
    world.tell("one").await;
    assert_eq!(world.wait(&id, "failed").await.1, 1);
    let endpoint = wait_for("it is disabled", async || {
        Some(world.webhooks.get("acme", &id).await.unwrap()).filter(|endpoint| !endpoint.enabled)
    })
    .await;
    assert_eq!(endpoint.disabled_reason.as_deref(), Some("it answered 410 Gone"));
    world.tell("while it is disabled").await;
    // Told of the same events: when it has this one, the other one got what it gets.
    let other = Hook::with_status(200).await;
    world.endpoint(&other.url).await;
    world.tell("two").await;
    other.wait(1).await;
    let change = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
    let enabled = world.webhooks.change("acme", &id, change).await.unwrap();
    assert_eq!((enabled.enabled, enabled.disabled_reason), (true, None));
    world.tell("three").await;
    let subjects: Vec<_> = hook.wait(2).await.iter().map(support::Request::subject).collect();
    assert_eq!(subjects, ["one", "three"]);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let world = World::new().await;
    let target = Hook::with_status(200).await;
    let to = target.url.clone();
    let hook = Hook::start(move |_| {
        Some(format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"))
    })
    .await;
    let id = world.endpoint(&hook.url).await;
    world.tell("Hi").await;
    let (delivery, _) = world.wait(&id, "failed").await;
    let attempts = world.webhooks.attempts("acme", &id, Some(&delivery), None, "", 1).await.unwrap();
    assert_eq!((attempts[0].status, attempts[0].detail.as_str()), (Some(307), "redirects are not followed"));
    assert_eq!(target.requests().len(), 0);
}

#[tokio::test]
async fn retry_after_counts_for_the_endpoint() {
    let world = World::new().await;
    let hook = Hook::start(|_| {
        Some("HTTP/1.1 503 Busy\r\nRetry-After: 1800\r\nContent-Length: 0\r\n\r\n".to_owned())
    })
    .await;
    let id = world.endpoint(&hook.url).await;
    let before = now();
    world.tell("one").await;
    let found = wait_for("the first attempt", async || {
        let found = world.webhooks.deliveries("acme", &id, None, "", 1).await.unwrap();
        found.into_iter().next().filter(|view| view.delivery.attempts == 1)
    })
    .await;
    assert!(found.delivery.next_at >= before + 1_800_000);
    world.tell("two").await;
    let other = Hook::with_status(200).await;
    world.endpoint(&other.url).await;
    world.tell("three").await;
    other.wait(1).await;
    assert_eq!(hook.requests().len(), 1, "the endpoint asked for a pause");
}

#[tokio::test]
async fn a_huge_answer_is_a_success_and_is_cut() {
    let world = World::new().await;
    let hook = Hook::start(|_| {
        let body = "x".repeat(300_000);
        Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    })
    .await;
    let id = world.endpoint(&hook.url).await;
    world.tell("Hi").await;
    let (delivery, attempts) = world.wait(&id, "success").await;
    assert_eq!(attempts, 1);
    let attempts = world.webhooks.attempts("acme", &id, Some(&delivery), None, "", 1).await.unwrap();
    assert_eq!(attempts[0].detail, "x".repeat(512));
}

#[tokio::test]
async fn silent_and_dead_endpoints_hold_up_no_other() {
    let world = World::with(|config| {
        config.connections = relevo_webhooks::ConnectionBounds { total: 4, per_tenant: 3, per_endpoint: 1 };
    })
    .await;
    let silent = Hook::start(|_| None).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    world.endpoint(&silent.url).await;
    let dead = world.endpoint(&dead).await;
    let good = Hook::with_status(200).await;
    world.endpoint(&good.url).await;
    for n in 0..20 {
        world.tell(&format!("{n}")).await;
    }
    good.wait(20).await;
    assert_eq!(silent.requests().len(), 1, "one at a time");
    let attempts = wait_for("an attempt", async || {
        let found = world.webhooks.attempts("acme", &dead, None, None, "", 1).await.unwrap();
        Some(found).filter(|found| !found.is_empty())
    })
    .await;
    assert!(attempts[0].status.is_none() && attempts[0].detail.contains("no connection"), "{attempts:?}");
}

#[tokio::test]
async fn what_is_due_survives_a_kill_and_nothing_is_doubled() {
    let mut world = World::with(|config| config.retry = vec![Duration::from_millis(300); 9]).await;
    let hook = Hook::start(|n| Some(answer(if n == 0 { 500 } else { 200 }))).await;
    let good = Hook::with_status(200).await;
    let id = world.endpoint(&hook.url).await;
    let good_id = world.endpoint(&good.url).await;
    world.tell("one").await;
    wait_for("the first attempt", async || {
        let found = world.webhooks.deliveries("acme", &id, None, "", 1).await.unwrap();
        found.into_iter().next().filter(|view| view.delivery.attempts == 1)
    })
    .await;
    world.wait(&good_id, "success").await;
    world.kill().await;
    world.tell("while it was down").await;
    world.run();
    let requests = hook.wait(3).await;
    world.wait(&id, "success").await;
    let ids: Vec<_> = requests.iter().map(|r| (r.field("webhook-id").to_owned(), r.subject())).collect();
    let again = ids.iter().filter(|(id, _)| *id == ids[0].0).count();
    assert_eq!((ids.len(), again), (3, 2), "{ids:?}");
    let subjects: Vec<_> = good.wait(2).await.iter().map(support::Request::subject).collect();
    assert_eq!(subjects, ["one", "while it was down"], "once each");
}

#[tokio::test]
async fn a_request_that_was_cut_is_made_again() {
    let mut world = World::new().await;
    let hook = Hook::start(|n| (n > 0).then(|| answer(200))).await;
    let id = world.endpoint(&hook.url).await;
    world.tell("Hi").await;
    hook.wait(1).await;
    let attempting = world.webhooks.deliveries("acme", &id, None, "", 1).await.unwrap();
    assert!(attempting[0].is_attempting);
    world.kill().await;
    world.run();
    let requests = hook.wait(2).await;
    assert_eq!(requests[0].field("webhook-id"), requests[1].field("webhook-id"));
    assert_eq!(world.wait(&id, "success").await.1, 1);
}

#[tokio::test]
async fn filters_choose() {
    let world = World::new().await;
    let labels = |stream, tag: &str| Labels {
        stream,
        tags: vec![Tag { name: "campaign".into(), value: tag.into() }],
        ..Labels::default()
    };
    let hooks = [Hook::with_status(200).await, Hook::with_status(200).await, Hook::with_status(200).await];
    world.endpoint_with(&hooks[0].url, |new| new.streams = vec!["marketing".into()]).await;
    world
        .endpoint_with(&hooks[1].url, |new| {
            new.tags = vec![StoredTag { name: "campaign".into(), value: Some("spring".into()) }];
        })
        .await;
    world.endpoint_with(&hooks[2].url, |new| new.types = vec!["email.sent".into()]).await;
    world.tell_with("one", labels(Stream::Transactional, "spring")).await;
    world.tell_with("two", labels(Stream::Marketing, "autumn")).await;
    world.tell_with("three", labels(Stream::Marketing, "spring")).await;
    let mut got = Vec::new();
    for (hook, count) in hooks.iter().zip([2, 2, 3]) {
        let mut subjects: Vec<_> = hook.wait(count).await.iter().map(support::Request::subject).collect();
        subjects.sort_unstable();
        got.push(subjects.join(" "));
    }
    assert_eq!(got, ["three two", "one three", "one three two"]);
    assert_eq!(hooks[2].requests()[0].json()["type"], "email.sent");
}
