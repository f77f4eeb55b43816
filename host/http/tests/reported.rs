//! What the edge gateway reports and asks: `POST /relay/events` and `POST /relay/unsubscribe`.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests, which share their support"
)]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::Request;
use relevo_api::tracking::timestamp;
use relevo_api::unsubscribe::{SubscriberAnswer, UnsubscribeAction};
use relevo_http::Listener;
use relevo_mailkit::token::Scope;
use relevo_mailkit::token::unsubscribe::Subscription;
use relevo_pages::unsubscribe::PageRequest;
use relevo_queue::EventLog as _;
use serde_json::{Value, json};
use support::{ACME, Answer, TRACKING_HOST, World, token_keys};

const SCOPE: Scope<'static> = Scope { tenant: "acme", host: TRACKING_HOST };

fn leaving(topic: &str) -> String {
    let of = Subscription { address: "ana@reader.example", topic, sender: "acme.test" };
    token_keys().mint_unsubscribe(&SCOPE, &[3; 16], 0, &of).unwrap()
}

async fn post(world: &World, path: &str, key: Option<&str>, body: &Value) -> Answer {
    let mut request = Request::builder().method("POST").uri(path).header("host", "api.test");
    request = request.header("authorization", format!("Bearer {ACME}"));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    world.send(Listener::Api, request.body(Body::from(body.to_string())).unwrap()).await
}

fn clicked() -> Value {
    let token = token_keys().mint_click(&SCOPE, &[3; 16], 0, "https://shop.example/").unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let at = timestamp(u64::try_from(now).unwrap());
    json!({"events": [{"type": "click", "host": TRACKING_HOST, "token": token, "at": at}]})
}

#[tokio::test]
async fn a_report_counts_once_with_and_without_a_key() {
    let world = World::new().await;
    for key in [None, Some("k")] {
        let body = clicked();
        let first = post(&world, "/relay/events", key, &body).await;
        assert_eq!((first.status, &first.json()["recorded"]), (202, &json!(1)), "{}", first.text());
        let again = post(&world, "/relay/events", key, &body).await;
        assert_eq!((again.status, &again.body), (202, &first.body));
        assert_eq!(again.field("idempotent-replayed"), Some("true"));
    }
    assert_eq!(post(&world, "/relay/events", Some("k"), &clicked()).await.status, 409, "another report");
    let events = world.store.events(Some("acme"), 0, 10).await.unwrap();
    let names: Vec<_> = events.iter().map(|stored| stored.event.event.name()).collect();
    assert_eq!(names, ["email.clicked"], "the second click repeats the first within a minute");
}

#[tokio::test]
async fn mistakes_of_a_report_are_named() {
    let world = World::new().await;
    let mut report = clicked();
    report["events"][0]["at"] = json!("today");
    let answer = post(&world, "/relay/events", None, &report).await;
    assert_eq!((answer.status, &answer.json()["param"]), (422, &json!("events[0].at")));
    let answer = post(&world, "/relay/events", None, &json!({"events": []})).await;
    assert_eq!((answer.status, &answer.json()["param"]), (422, &json!("events")));
    let many = vec![clicked()["events"][0].clone(); 1_001];
    let answer = post(&world, "/relay/events", None, &json!({"events": many})).await;
    assert_eq!((answer.status, &answer.json()["param"]), (422, &json!("events")));
}

/// The page of this host and the one that the edge makes of the core's answer.
async fn pages(world: &World, token: &str, action: &str, list: Option<&str>) -> (Answer, Answer) {
    let asked = json!({"host": TRACKING_HOST, "token": token, "action": action, "list": list});
    let core = post(world, "/relay/unsubscribe", None, &asked).await;
    assert_eq!(core.status, 200, "{}", core.text());
    let (method, path) = match action {
        "show" => ("GET", format!("/u/{token}")),
        _ => ("POST", format!("/u/{token}/{action}")),
    };
    let form = list.map_or_else(String::new, |list| format!("list={list}"));
    let request = Request::builder().method(method).uri(path).header("host", TRACKING_HOST);
    let request = request.header("accept-language", "es").body(Body::from(form)).unwrap();
    (core, world.send(Listener::Tracking, request).await)
}

#[tokio::test]
async fn the_page_of_the_edge_is_that_of_this_host() {
    let world = World::new().await;
    let topic = json!({"name": "News", "default_subscription": "opt_in", "visibility": "public"});
    let topic = post(&world, "/topics", None, &topic).await.json()["id"].as_str().unwrap().to_owned();
    for (token, action, list) in [
        (leaving(""), "show", None),
        (leaving("News"), "leave", None),
        (leaving(""), "leave", Some(topic.as_str())),
        (leaving("gone"), "return", Some("marketing")),
    ] {
        let (core, here) = pages(&world, &token, action, list).await;
        let subscriber: SubscriberAnswer = serde_json::from_slice(&core.body).unwrap();
        assert_eq!(subscriber.changed.is_some(), action != "show");
        let action: UnsubscribeAction = serde_json::from_value(json!(action)).unwrap();
        let made = PageRequest::new(TRACKING_HOST, "es").subscriber(&token, action, &subscriber);
        assert_eq!((made.status, String::from_utf8(made.body).unwrap()), (here.status, here.text()));
        for (name, value) in &made.fields {
            assert_eq!(here.field(name), Some(value.as_str()), "{name}");
        }
    }
    let page = pages(&world, &leaving(""), "show", None).await.1.text();
    assert!(page.contains("Novedades") && page.contains("News"), "{page}");
}

#[tokio::test]
async fn one_click_of_the_edge_is_on_disk_and_told_once() {
    let world = World::new().await;
    let asked =
        json!({"host": TRACKING_HOST, "token": leaving(""), "action": "leave", "method": "one_click"});
    for _ in 0..2 {
        let answer = post(&world, "/relay/unsubscribe", None, &asked).await;
        assert_eq!((answer.status, &answer.json()["has_left"]), (200, &json!(true)), "{}", answer.text());
    }
    let events = world.store.events(Some("acme"), 0, 10).await.unwrap();
    let names: Vec<_> = events.iter().map(|stored| stored.event.event.name()).collect();
    assert_eq!(names, ["suppression.added", "email.unsubscribed"]);
    for (name, value) in
        [("token", json!("forged")), ("host", json!("t.other.test")), ("list", json!("01NONE"))]
    {
        let mut wrong = asked.clone();
        wrong[name] = value;
        let answer = post(&world, "/relay/unsubscribe", None, &wrong).await;
        assert_eq!((answer.status, &answer.json()["param"]), (422, &json!("token")), "{name}");
    }
    let mut client = asked.clone();
    client["address"] = json!("192.0.2.1");
    client["action"] = json!("show");
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(post(&world, "/relay/unsubscribe", None, &client).await.status);
    }
    assert_eq!((statuses[9], statuses[10]), (200, 429), "a client has a rate, the edge has none");
}
