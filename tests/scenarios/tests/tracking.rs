//! Readers of mail at the composed gateway: clicks, opens, the unsubscribe page. The core is a
//! function here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use hyper::Response;
use relevo_api::tracking::{ReportAnswer, timestamp};
use relevo_api::unsubscribe::{SubscriberAnswer, SubscriberList, UnsubscribeAction};
use relevo_mailkit::token::unsubscribe::Subscription;
use relevo_mailkit::token::{Scope, TokenKey, TokenKeys};
use relevo_pages::ReaderAnswer;
use relevo_pages::unsubscribe::{PageRequest, one_click_done};
use relevo_scenarios::edge::{self, Edge, NOW};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const HOST: &str = "t.example.com";
const SCOPE: Scope<'static> = Scope { tenant: "acme", host: HOST };
const TO: &str = "https://shop.example/a b?q=ü";

fn keys(id: &str, octet: u8) -> TokenKeys {
    TokenKeys(vec![TokenKey { id: id.to_owned(), secret: vec![octet; 32] }])
}

fn click(keys: &TokenKeys) -> String {
    format!("/c/{}", keys.mint_click(&SCOPE, &[1; 16], 3, TO).unwrap())
}

fn leaving() -> String {
    let of = Subscription { address: "ana@reader.example", topic: "", sender: "example.com" };
    keys("new", 2).mint_unsubscribe(&SCOPE, &[1; 16], 0, &of).unwrap()
}

/// A gateway that only tracks: it has no API keys.
fn tracking(answer: Option<(u16, Value)>) -> Edge {
    that_tracks(Edge::new(answer))
}

fn that_tracks(mut edge: Edge) -> Edge {
    edge.host = HOST.to_owned();
    edge.variables.retain(|(name, _)| name != "RELEVO_API_KEYS");
    for (name, value) in [
        ("RELEVO_TRACKING_KEYS", format!("new:{}, old:{}", "02".repeat(32), "01".repeat(32))),
        ("RELEVO_TENANT", "acme".to_owned()),
    ] {
        edge.variables.push((name.to_owned(), value));
    }
    edge
}

fn recorded() -> Option<(u16, Value)> {
    let answer = ReportAnswer { recorded: 1, ..ReportAnswer::default() };
    Some((202, serde_json::to_value(answer).unwrap()))
}

fn taken() -> Response<Bytes> {
    let (status, answer) = recorded().unwrap();
    Response::builder().status(status).body(Bytes::from(answer.to_string())).unwrap()
}

fn subscriber(changed: bool) -> SubscriberAnswer {
    SubscriberAnswer {
        email: "ana@reader.example".to_owned(),
        sender: "example.com".to_owned(),
        list: SubscriberList::marketing(),
        has_left: changed,
        is_suppressed: false,
        gets_marketing: !changed,
        topics: Vec::new(),
        changed: changed.then(SubscriberList::marketing),
    }
}

fn told(changed: bool) -> Option<(u16, Value)> {
    Some((200, serde_json::to_value(subscriber(changed)).unwrap()))
}

/// The answer of the edge is this one, field by field and octet by octet.
fn assert_same(answer: &edge::Answer, expected: &ReaderAnswer) {
    assert_eq!(answer.status.as_u16(), expected.status);
    assert_eq!(String::from_utf8_lossy(&answer.octets), String::from_utf8_lossy(&expected.body));
    for (name, value) in &expected.fields {
        assert_eq!(answer.field(name), Some(value.as_str()), "{name}");
    }
}

#[tokio::test]
async fn a_click_is_answered_before_the_core_is_asked() {
    let core = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&core);
    let edge = that_tracks(Edge::with_core(move |_| {
        let waits = Arc::clone(&waits);
        Box::pin(async move { waits.acquire().await.ok().map(|_| taken()) })
    }));
    let fields = [
        ("user-agent", "Mozilla/5.0 (X11) Firefox/140.0"),
        ("spin-client-addr", "203.0.113.9:1"),
        ("spin-client-addr", "192.0.2.7:50123"),
    ];
    let path = click(&keys("new", 2));
    let (answer, guest) =
        edge.instance().await.begin("GET", &format!("{path}?utm=1"), &fields, Vec::new()).await;
    // The core has not answered anything yet.
    assert_eq!(answer.status.as_u16(), 302);
    assert_eq!(answer.field("location"), Some("https://shop.example/a%20b?q=%C3%BC"));
    for (name, value) in
        [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-robots-tag", "noindex")]
    {
        assert_eq!(answer.field(name), Some(value));
    }
    core.add_permits(1);
    guest.await.unwrap();
    let [sent] = edge.sent().try_into().unwrap();
    assert_eq!(sent.uri, "https://core.example.com/relay/events");
    assert_eq!(sent.field("authorization"), Some("Bearer rv_core"));
    let event = json!({"type": "click", "host": HOST, "token": &path[3..], "at": timestamp(NOW),
        "user_agent": "Mozilla/5.0 (X11) Firefox/140.0", "address": "192.0.2.7"});
    assert_eq!(sent.body, json!({ "events": [event] }));
}

#[tokio::test]
async fn an_open_is_a_pixel_and_a_look_is_nothing() {
    let edge = tracking(recorded());
    let path = format!("/o/{}", keys("old", 1).mint_open(&SCOPE, &[1; 16], 3).unwrap());
    let answer = edge.ask("GET", &path, &[], Vec::new()).await;
    assert_same(&answer, &relevo_pages::tracking::pixel());
    assert_eq!(edge.sent()[0].body["events"][0]["type"], "open");
    assert!(edge.sent()[0].body["events"][0].get("address").is_none());
    for path in [path, click(&keys("old", 1))] {
        let answer = edge.ask("HEAD", &path, &[], Vec::new()).await;
        assert!(matches!(answer.status.as_u16(), 200 | 302) && answer.octets.is_empty());
        let answer = edge.ask("POST", &path, &[], Vec::new()).await;
        assert_eq!((answer.status.as_u16(), answer.field("allow")), (405, Some("GET, HEAD")));
    }
    assert_eq!(edge.sent().len(), 1, "whoever only looks has not read");
}

#[tokio::test]
async fn keys_rotate_and_forged_tokens_lead_nowhere() {
    let mut edge = tracking(recorded());
    for (id, octet) in [("new", 2), ("old", 1)] {
        assert_eq!(edge.ask("GET", &click(&keys(id, octet)), &[], Vec::new()).await.status.as_u16(), 302);
    }
    let genuine = click(&keys("new", 2));
    let other_tenant = Scope { tenant: "other", ..SCOPE };
    let other_tenant = keys("new", 2).mint_click(&other_tenant, &[1; 16], 3, TO).unwrap();
    for path in [
        click(&keys("new", 1)),
        click(&keys("gone", 3)),
        format!("/c/{other_tenant}"),
        genuine.replace("/c/", "/o/"),
        genuine[..genuine.len() - 1].to_owned(),
        format!("{genuine}="),
        format!("/c/{}", "A".repeat(20_000)),
        "/c/https:%2F%2Fevil.example%2F%0D%0Aset-cookie:%20a=b".to_owned(),
    ] {
        let answer = edge.ask("GET", &path, &[], Vec::new()).await;
        assert_same(&answer, &relevo_pages::tracking::words(404, "not found"));
        assert!(answer.field("location").is_none() && answer.field("set-cookie").is_none());
    }
    edge.host = "other.example.com".to_owned();
    assert_eq!(edge.ask("GET", &genuine, &[], Vec::new()).await.status.as_u16(), 404);
    edge.host = "T.example.com:8080".to_owned();
    assert_eq!(edge.ask("GET", &genuine, &[], Vec::new()).await.status.as_u16(), 302);
    edge.host = HOST.to_owned();
    let script = keys("new", 2).mint_click(&SCOPE, &[1; 16], 3, "javascript:alert(1)").unwrap();
    assert_eq!(edge.ask("GET", &format!("/c/{script}"), &[], Vec::new()).await.status.as_u16(), 404);
    let split = "https://shop.example/\r\nset-cookie: a=b\r\n\r\n<script>";
    let split = keys("new", 2).mint_click(&SCOPE, &[1; 16], 3, split).unwrap();
    let answer = edge.ask("GET", &format!("/c/{split}"), &[], Vec::new()).await;
    assert_eq!(answer.field("location"), Some("https://shop.example/set-cookie:%20a=b%3Cscript%3E"));
    assert!(answer.field("set-cookie").is_none() && answer.octets.is_empty());
}

#[tokio::test]
async fn a_core_that_is_away_delays_no_click() {
    let tries = AtomicUsize::new(0);
    let edge = that_tracks(Edge::with_core(move |_| {
        let answer = (tries.fetch_add(1, SeqCst) > 0).then(taken);
        Box::pin(std::future::ready(answer))
    }));
    let path = click(&keys("new", 2));
    assert_eq!(edge.ask("GET", &path, &[], Vec::new()).await.status.as_u16(), 302);
    let [first, second] = edge.sent().try_into().unwrap();
    assert_eq!(first.body, second.body, "the same report: it counts once");

    let away = tracking(None);
    assert_eq!(away.ask("GET", &path, &[], Vec::new()).await.status.as_u16(), 302);
    assert_eq!(away.sent().len(), 2, "then it is lost");
    let mut alone = tracking(None);
    alone.variables.retain(|(name, _)| !name.starts_with("RELEVO_RELAY"));
    assert_eq!(alone.ask("GET", &path, &[], Vec::new()).await.status.as_u16(), 302);
    for missing in ["RELEVO_TRACKING_KEYS", "RELEVO_TENANT"] {
        let mut unset = tracking(recorded());
        unset.variables.retain(|(name, _)| name != missing);
        for path in [&path, &format!("/u/{}", leaving())] {
            assert_eq!(unset.ask("GET", path, &[], Vec::new()).await.status.as_u16(), 503, "{missing}");
        }
        assert!(unset.sent().is_empty());
    }
}

#[tokio::test]
async fn the_page_is_that_of_the_native_host() {
    let token = leaving();
    let es = [("accept-language", "es-MX,en;q=0.5"), ("spin-client-addr", "[2001:db8::1]:1")];
    let page = PageRequest::new(HOST, "es");
    for (method, path, action, form) in [
        ("GET", format!("/u/{token}"), UnsubscribeAction::Show, ""),
        ("POST", format!("/u/{token}/leave"), UnsubscribeAction::Leave, "list=01TOPIC"),
        ("POST", format!("/u/{token}/return"), UnsubscribeAction::Return, ""),
    ] {
        let changes = action != UnsubscribeAction::Show;
        let edge = tracking(told(changes));
        let answer = edge.ask(method, &path, &es, form.into()).await;
        assert_same(&answer, &page.subscriber(&token, action, &subscriber(changes)));
        let [sent] = edge.sent().try_into().unwrap();
        assert_eq!(sent.uri, "https://core.example.com/relay/unsubscribe");
        let mut asked = json!({"host": HOST, "token": token, "action": action, "method": "page",
            "address": "2001:db8::1"});
        if !form.is_empty() {
            asked["list"] = json!("01TOPIC");
        }
        assert_eq!(sent.body, asked);
    }
    let edge = tracking(told(false));
    let head = edge.ask("HEAD", &format!("/u/{token}"), &es, Vec::new()).await;
    assert!(head.status.as_u16() == 200 && head.octets.is_empty());
    assert_eq!(edge.ask("GET", &format!("/u/{token}/leave"), &es, Vec::new()).await.status.as_u16(), 405);
    let forged = format!("/u/{}", &token[1..]);
    assert_same(&edge.ask("GET", &forged, &es, Vec::new()).await, &page.unknown());
    assert_eq!(edge.sent().len(), 1, "the core is asked about genuine tokens only");
    let away = tracking(None);
    let answer = away.ask("POST", &format!("/u/{token}/leave"), &es, Vec::new()).await;
    assert_same(&answer, &page.unavailable());
    assert_eq!(answer.field("retry-after"), Some("10"));
    let forgotten = tracking(Some((422, json!({"param": "token"}))));
    assert_same(&forgotten.ask("GET", &format!("/u/{token}"), &es, Vec::new()).await, &page.unknown());
}

#[tokio::test]
async fn one_click_is_answered_when_the_core_has_it() {
    let path = format!("/u/{}", leaving());
    for body in ["List-Unsubscribe=One-Click", "", "list=01TOPIC", &"x".repeat(100_000)] {
        let edge = tracking(told(true));
        assert_same(&edge.ask("POST", &path, &[], body.into()).await, &one_click_done());
        let [sent] = edge.sent().try_into().unwrap();
        assert_eq!((&sent.body["action"], &sent.body["method"]), (&json!("leave"), &json!("one_click")));
        assert!(sent.body.get("list").is_none());
    }
    for (core, status) in [(None, 503), (Some((401, json!({}))), 503), (Some((429, json!({}))), 429)] {
        let answer = tracking(core).ask("POST", &path, &[], Vec::new()).await;
        assert_eq!((answer.status.as_u16(), answer.field("retry-after")), (status, Some("10")));
    }
    let forged = tracking(told(true)).ask("POST", &format!("{path}A"), &[], Vec::new()).await;
    assert_eq!((forged.status.as_u16(), forged.octets.as_ref()), (404, b"not found\n".as_slice()));
}
