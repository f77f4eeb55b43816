//! `/reputation`, and the imports of what large receivers report.
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
use support::{ACME, World};

async fn call(world: &World, method: &str, path: &str, content_type: &str, body: String) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("host", "api.test");
    let request =
        request.header("authorization", format!("Bearer {ACME}")).header("content-type", content_type);
    let answer = world.send(Listener::Api, request.body(Body::from(body)).unwrap()).await;
    (answer.status, answer.json())
}

async fn import(world: &World, content_type: &str, body: &str) -> (u16, Value) {
    call(world, "POST", "/reputation/imports", content_type, body.to_owned()).await
}

async fn health(world: &World) -> Vec<Value> {
    let (status, found) = call(world, "GET", "/domains/acme.test/health", "", String::new()).await;
    assert_eq!(status, 200, "{found}");
    found["checks"].as_array().unwrap().clone()
}

fn spam_rate(domain: &str, rate: f64) -> String {
    json!({"domainStats": [{
        "name": format!("domains/{domain}/domainStats/x"), "metric": "spam_rate",
        "date": {"year": 2026, "month": 11, "day": 28}, "value": {"doubleValue": rate},
    }]})
    .to_string()
}

#[tokio::test]
async fn an_import_is_shown_in_the_health_of_its_domain() {
    let world = World::new().await;
    let about = |checks: &[Value], name: &str| -> Vec<Value> {
        checks.iter().filter(|check| check["check"] == name).map(|check| check["status"].clone()).collect()
    };
    let checks = health(&world).await;
    assert_eq!(about(&checks, "gmail.complaints"), [json!("skip")], "nobody knows");
    let (status, found) = import(&world, "application/json", &spam_rate("acme.test", 0.0012)).await;
    assert_eq!(
        (status, found),
        (200, json!({"object": "reputation_import", "source": "google_postmaster", "rows": 1}))
    );
    let checks = health(&world).await;
    assert_eq!(about(&checks, "reputation.complaints"), [json!("warn")], "before the limit is reached");
    assert_eq!(about(&checks, "gmail.complaints"), [json!("pass")]);
    let (status, _) = import(&world, "application/json", &spam_rate("acme.test", 0.004)).await;
    assert_eq!((status, about(&health(&world).await, "gmail.complaints")), (200, vec![json!("fail")]));

    let row = "192.0.2.1,11/28/2026 1:00 PM,11/29/2026 1:00 PM,10,9,9,RED,1.3%,,,3,h,,";
    let (status, found) = import(&world, "text/csv; charset=utf-8", row).await;
    assert_eq!((status, &found["source"]), (200, &json!("microsoft_snds")), "{found}");
    assert_eq!(about(&health(&world).await, "reputation.snds"), [json!("fail")]);
}

#[tokio::test]
async fn mistakes_of_an_import_have_their_place() {
    let world = World::new().await;
    for (content_type, body, param) in [
        ("application/json", spam_rate("other.example", 0.1), "domainStats"),
        ("application/json", spam_rate("acme.test", 7.0), "domainStats[0].value.doubleValue"),
        ("application/json", "{".to_owned(), "line 1"),
        ("text/csv", "192.0.2.1,x".to_owned(), "line 1"),
        ("text/plain", String::new(), "content-type"),
    ] {
        let (status, found) = import(&world, content_type, &body).await;
        assert_eq!((status, &found["param"]), (422, &json!(param)), "{content_type} {body}: {found}");
    }
}

#[tokio::test]
async fn the_reputation_of_nobody_is_empty() {
    let world = World::new().await;
    let (status, found) = call(&world, "GET", "/reputation", "", String::new()).await;
    let empty = json!({"object": "reputation", "blocklists": [], "domains": [], "providers": [],
        "on_fail": "warn", "failing": []});
    assert_eq!((status, found), (200, empty));
}
