//! `POST /validate` and `POST /validate/bulk`, with a resolver that knows no name.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests, which share their support"
)]

mod support;

use axum::body::Body;
use axum::http::Request;
use relevo_http::Listener;
use serde_json::{Value, json};
use support::{ACME, Answer, World};

async fn post(world: &World, path: &str, content_type: &str, body: String) -> Answer {
    let request = Request::builder().method("POST").uri(path).header("host", "api.test");
    let request =
        request.header("authorization", format!("Bearer {ACME}")).header("content-type", content_type);
    world.send(Listener::Api, request.body(Body::from(body)).unwrap()).await
}

async fn validate(world: &World, body: Value) -> (u16, Value) {
    let answer = post(world, "/validate", "application/json", body.to_string()).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn one_address_is_one_answer() {
    let world = World::new().await;
    let (status, found) = validate(&world, json!({"email": "Info@gmial.com"})).await;
    assert_eq!(status, 200, "{found}");
    assert_eq!((&found["object"], &found["email"]), (&json!("validation"), &json!("Info@gmial.com")));
    assert_eq!(found["result"], "undeliverable");
    assert_eq!(found["reasons"][0], "no_such_domain");
    assert!(found["reasons"].as_array().unwrap().contains(&json!("typo")), "{found}");
    assert_eq!(found["suggestion"], "Info@gmail.com");
    assert_eq!(found["domain"], json!({"name": "gmial.com", "status": "no_such_domain", "mx": []}));
    assert_eq!((&found["role"], &found["free"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn a_list_has_its_order_and_its_bounds() {
    let world = World::new().await;
    let (status, found) = validate(&world, json!({"emails": ["b@x.test", "", "a@x.test"]})).await;
    assert_eq!((status, &found["object"]), (200, &json!("list")));
    let emails: Vec<&Value> = found["data"].as_array().unwrap().iter().map(|one| &one["email"]).collect();
    assert_eq!(emails, ["b@x.test", "", "a@x.test"]);
    assert_eq!(found["data"][1]["reasons"], json!(["invalid_syntax"]));
    assert_eq!(found["data"][1].get("domain"), None);

    let long = "a".repeat(2_000);
    for (body, param) in [
        (json!({}), "email"),
        (json!({"email": "a@x.test", "emails": []}), "email"),
        (json!({"emails": vec!["a@x.test"; 1_001]}), "emails"),
        (json!({"emails": ["a@x.test", long]}), "emails[1]"),
        (json!({"email": 7}), "email"),
        (json!({"address": "a@x.test"}), "address"),
    ] {
        let (status, refused) = validate(&world, body).await;
        assert_eq!((status, &refused["param"]), (422, &json!(param)), "{refused}");
    }
}

#[tokio::test]
async fn the_list_of_the_tenant_counts() {
    let world = World::new().await;
    let body = json!({"email": "Ana@Known.test"}).to_string();
    assert_eq!(post(&world, "/suppressions", "application/json", body).await.status, 201);
    let (_, found) = validate(&world, json!({"email": "\"ana\"@known.test"})).await;
    assert_eq!((&found["result"], &found["reasons"][0]), (&json!("undeliverable"), &json!("no_such_domain")));
    assert_eq!(found["reasons"][1], "suppressed", "{found}");
}

#[tokio::test]
async fn an_upload_is_answered_line_by_line() {
    let world = World::new().await;
    let csv = format!("id,email\n{}", (0..1_200).map(|n| format!("{n},u{n}@x.test\n")).collect::<String>());
    let answer = post(&world, "/validate/bulk", "text/csv", csv).await;
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/x-ndjson")));
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1_200);
    assert!(lines.iter().enumerate().all(|(n, line)| line["email"] == format!("u{n}@x.test")));

    // The tenant of the test may ask about 1,500 in a minute.
    let lines = "\"a@x.test\"\n".repeat(400);
    let refused = post(&world, "/validate/bulk", "application/x-ndjson", lines).await;
    assert_eq!((refused.status, refused.json()["name"].as_str()), (429, Some("rate_limit_exceeded")));
    assert!(refused.field("retry-after").is_some());
    let lines = "\"a@x.test\"\n".repeat(1_501);
    let refused = post(&world, "/validate/bulk", "application/x-ndjson", lines).await;
    assert_eq!(refused.status, 413, "{}", refused.text());
}
