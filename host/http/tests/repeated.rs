//! Requests to send that come again under their idempotency key. Their recipients are suppressed:
//! such a request is accepted, and no stage sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(unreachable_pub, reason = "a test is a crate of its own")]

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use relevo_http::Listener;
use serde_json::{Value, json};

use self::support::{ACME, Answer, World};

#[allow(dead_code, reason = "shared with other tests")]
mod support;

/// 20 s after the time of the world's clock.
const EXPIRES_AT: &str = "2026-11-22T05:34:01.500Z";
const SECONDS: i64 = 1_000;

async fn world() -> World {
    let world = World::new().await;
    let added = post(&world, "/suppressions", &[], &json!({"email": "b@b.example"})).await;
    assert!((200..300).contains(&added.status), "{}", String::from_utf8_lossy(&added.body));
    world
}

async fn post(world: &World, path: &str, fields: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = Request::builder().method("POST").uri(path).header("host", "api.test");
    request = request.header("authorization", format!("Bearer {ACME}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    world.send(Listener::Api, request.body(Body::from(body.to_string())).unwrap()).await
}

fn name(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["name"].as_str().unwrap_or_default().to_owned()
}

fn email() -> Value {
    json!({"from": "a@acme.test", "to": "b@b.example", "subject": "s", "text": "t", "expires_at": EXPIRES_AT})
}

#[tokio::test]
async fn the_answer_stays_when_the_time_of_the_request_has_passed() {
    for (path, body) in [("/emails", email()), ("/emails/batch", json!([email(), email()]))] {
        let world = world().await;
        let key = [("idempotency-key", "order-7")];
        let first = post(&world, path, &key, &body).await;
        assert_eq!(first.status, 202, "{}", String::from_utf8_lossy(&first.body));
        assert_eq!(first.field("idempotent-replayed"), None);
        world.clock.0.fetch_add(40 * SECONDS, Ordering::SeqCst);
        let again = post(&world, path, &key, &body).await;
        assert_eq!((again.status, &again.body), (202, &first.body));
        assert_eq!(again.field("content-type"), first.field("content-type"));
        assert_eq!(again.field("idempotent-replayed"), Some("true"));
        let new = post(&world, path, &[("idempotency-key", "order-8")], &body).await;
        assert_eq!((new.status, name(&new).as_str()), (422, "validation_error"));
        // A request that was refused leaves its key free.
        let mut later = body.clone();
        match later.as_array_mut() {
            Some(all) => all.iter_mut().for_each(|one| one["expires_at"] = json!("in 1 hour")),
            None => later["expires_at"] = json!("in 1 hour"),
        }
        assert_eq!(post(&world, path, &[("idempotency-key", "order-8")], &later).await.status, 202);
    }
}

#[tokio::test]
async fn the_same_content_for_another_purpose_is_another_request() {
    let world = world().await;
    let (key, batch) = (("idempotency-key", "order-7"), json!([email()]));
    assert_eq!(post(&world, "/emails/batch", &[key], &batch).await.status, 202);
    let permissive = ("x-batch-validation", "permissive");
    for (path, fields) in [("/emails", vec![key]), ("/emails/batch", vec![key, permissive])] {
        let other = post(&world, path, &fields, &batch).await;
        assert_eq!((other.status, name(&other).as_str()), (409, "invalid_idempotent_request"), "{path}");
    }
    let strict = ("x-batch-validation", "strict");
    let again = post(&world, "/emails/batch", &[key, strict], &batch).await;
    assert_eq!((again.status, again.field("idempotent-replayed")), (202, Some("true")));
}

#[tokio::test]
async fn a_trial_keeps_no_answer() {
    let world = world().await;
    let mut trial = email();
    trial["dry_run"] = json!(true);
    let key = [("idempotency-key", "order-7")];
    for (path, body) in [("/emails", trial.clone()), ("/emails/batch", json!([trial]))] {
        for _ in 0..2 {
            let answer = post(&world, path, &key, &body).await;
            assert_eq!((answer.status, answer.field("idempotent-replayed")), (200, None), "{path}");
        }
    }
    assert_eq!(post(&world, "/emails", &key, &email()).await.status, 202);
}
