//! Who may use webhooks: their tenant.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use relevo_http::Listener;
use support::{ACME, Asked, OTHER, World};

/// Every route, with the id of a webhook in place of `{id}`.
const ROUTES: [(&str, &str, &str); 14] = [
    ("GET", "/webhooks/{id}", ""),
    ("PATCH", "/webhooks/{id}", "{}"),
    ("POST", "/webhooks/{id}/rotate-secret", ""),
    ("POST", "/webhooks/{id}/signing-secret/rotate", ""),
    ("POST", "/webhooks/{id}/test", ""),
    ("POST", "/webhooks/{id}/replay", r#"{"since":"2026-11-18T00:00:00Z","until":"2026-11-19T00:00:00Z"}"#),
    ("GET", "/webhooks/{id}/attempts", ""),
    ("GET", "/webhooks/{id}/deliveries", ""),
    ("GET", "/webhooks/{id}/events", ""),
    ("GET", "/webhooks/{id}/deliveries/msg_n1_1", ""),
    ("GET", "/webhooks/{id}/deliveries/msg_n1_1/attempts", ""),
    ("POST", "/webhooks/{id}/deliveries/msg_n1_1/replay", ""),
    ("POST", "/webhooks/{id}/events/msg_n1_1/replay", ""),
    ("DELETE", "/webhooks/{id}", ""),
];

#[tokio::test]
async fn a_webhook_is_its_tenants() {
    let world = World::new().await;
    let body = r#"{"endpoint":"https://hooks.example.com/"}"#;
    let create = Asked { method: "POST", body, ..Asked::get("/webhooks") };
    assert_eq!(world.ask(Listener::Api, create).await.status, 401);
    let made = world.ask(Listener::Api, create.key(ACME)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    for (method, path, body) in ROUTES {
        let path = path.replace("{id}", &id);
        let asked = Asked { method, body, ..Asked::get(&path) };
        assert_eq!(world.ask(Listener::Api, asked).await.status, 401, "{method} {path}");
        let other = world.ask(Listener::Api, asked.key(OTHER)).await;
        assert_eq!(
            (other.status, other.json()["name"].as_str()),
            (404, Some("not_found")),
            "{method} {path}"
        );
    }
    let list = world.ask(Listener::Api, Asked::get("/webhooks").key(OTHER)).await;
    assert_eq!(list.json()["data"].as_array().unwrap().len(), 0);
    for _ in 0..2 {
        assert_eq!(world.ask(Listener::Api, create.key(ACME)).await.status, 201);
    }
    let more = world.ask(Listener::Api, create.key(ACME)).await;
    assert_eq!((more.status, more.json()["name"].as_str()), (409, Some("conflict")));
    let page = world.ask(Listener::Api, Asked::get("/webhooks?limit=2").key(ACME)).await.json();
    assert_eq!((page["has_more"].as_bool(), page["data"].as_array().unwrap().len()), (Some(true), 2));
    let last = page["data"][1]["id"].as_str().unwrap();
    let path = format!("/webhooks?after={last}");
    let rest = world.ask(Listener::Api, Asked::get(&path).key(ACME)).await.json();
    assert_eq!((rest["has_more"].as_bool(), rest["data"].as_array().unwrap().len()), (Some(false), 1));
}

#[tokio::test]
async fn event_types_are_what_a_webhook_may_ask_for() {
    let world = World::new().await;
    let asked = Asked::get("/webhooks/event-types");
    assert_eq!(world.ask(Listener::Api, asked).await.status, 401);
    let types = world.ask(Listener::Api, asked.key(ACME)).await.json();
    let types = types["data"].as_array().unwrap();
    let named = |name: &str| types.iter().find(|entry| entry["name"] == name).unwrap();
    assert!(named("email.delivered").get("alias_of").is_none());
    assert_eq!(named("email.sent")["alias_of"], "email.queued");
    let names: Vec<_> = types.iter().map(|entry| &entry["name"]).collect();
    let body = serde_json::json!({"endpoint": "https://hooks.example.com/", "events": names}).to_string();
    let create = Asked { method: "POST", body: &body, ..Asked::get("/webhooks") };
    let made = world.ask(Listener::Api, create.key(ACME)).await;
    assert_eq!(made.status, 201, "{}", made.json());
}

#[tokio::test]
async fn the_audit_log_names_the_webhook_that_was_made() {
    let world = World::new().await;
    let body = r#"{"endpoint":"https://hooks.example.com/"}"#;
    let create = Asked { method: "POST", body, ..Asked::get("/webhooks") };
    let made = world.ask(Listener::Api, create.key(ACME)).await.json();
    let acts = world.ask(Listener::Api, Asked::get("/audit").key(ACME)).await.json();
    assert_eq!(acts["data"][0]["action"], "POST /webhooks");
    assert_eq!(acts["data"][0]["subject"], made["id"]);
}
