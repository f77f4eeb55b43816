//! The unsubscribe page and one-click unsubscribing.
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
use relevo_mailkit::token::Scope;
use relevo_mailkit::token::unsubscribe::Subscription;
use relevo_queue::EventLog as _;
use serde_json::{Value, json};
use support::{ACME, Answer, Asked, TRACKING_HOST, World, token_keys};

fn path(topic: &str) -> String {
    let scope = Scope { tenant: "acme", host: TRACKING_HOST };
    let of = Subscription { address: "ana@reader.example", topic, sender: "acme.test" };
    format!("/u/{}", token_keys().mint_unsubscribe(&scope, &[3; 16], 0, &of).unwrap())
}

async fn send(world: &World, method: &str, path: &str, language: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", TRACKING_HOST)
        .header("accept-language", language)
        .body(Body::from(body.to_owned()))
        .unwrap();
    world.send(Listener::Tracking, request).await
}

async fn suppressed(world: &World) -> Vec<(String, String, String)> {
    let answer = world.ask(Listener::Api, Asked::get("/suppressions").key(ACME)).await;
    let list: Value = serde_json::from_slice(&answer.body).unwrap();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let entries = list["data"].as_array().unwrap().iter();
    entries.map(|entry| (text(entry, "email"), text(entry, "stream"), text(entry, "origin"))).collect()
}

async fn api(world: &World, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let asked =
        Asked { method, body: if method == "GET" { "" } else { &body }, ..Asked::get(path).key(ACME) };
    let answer = world.ask(Listener::Api, asked).await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn one_click_needs_no_cookie_and_no_redirect_and_repeats() {
    let world = World::new().await;
    let path = path("");
    let form = "List-Unsubscribe=One-Click";
    for body in [form, "", "\0\u{fffd}{]", &"x".repeat(100_000)] {
        let answer = send(&world, "POST", &path, "", body).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "unsubscribed\n"));
        assert!(answer.field("location").is_none() && answer.field("set-cookie").is_none());
    }
    let entry = ("ana@reader.example".to_owned(), "marketing".to_owned(), "unsubscribe".to_owned());
    assert_eq!(suppressed(&world).await, [entry]);
    let events = world.store.events(Some("acme"), 0, 10).await.unwrap();
    let names: Vec<_> = events.iter().map(|stored| stored.event.event.name()).collect();
    assert_eq!(names, ["suppression.added", "email.unsubscribed"], "once for four requests");
}

#[tokio::test]
async fn looking_changes_nothing() {
    let world = World::new().await;
    let path = path("");
    for method in ["GET", "HEAD", "GET"] {
        let answer = send(&world, method, &path, "", "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        let policy = answer.field("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(answer.text().is_empty() == (method == "HEAD"));
    }
    for other in ["/leave", "/return"] {
        let answer = send(&world, "GET", &format!("{path}{other}"), "", "").await;
        assert_eq!(answer.status, 405, "{other}");
    }
    assert_eq!(suppressed(&world).await, []);
    assert!(world.store.events(Some("acme"), 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_page_speaks_the_recipients_language_and_runs_nothing() {
    let world = World::new().await;
    for (language, tag, title) in [
        ("en-GB,en;q=0.8", "en", "Unsubscribe"),
        ("es-AR", "es", "Darse de baja"),
        ("ja", "en", "Unsubscribe"),
    ] {
        let answer = send(&world, "GET", &path(""), language, "").await;
        assert_eq!(answer.field("content-language"), Some(tag));
        let html = answer.text();
        assert!(html.contains(&format!("<html lang={tag} dir=ltr>")) && html.contains(title), "{html}");
        assert!(html.contains("acme.test") && html.contains("ana@reader.example"), "{html}");
        for absent in ["<script", "http://", "https://", "<img", "<link", "@import", "url("] {
            assert!(!html.contains(absent), "{absent} in {html}");
        }
    }
}

#[tokio::test]
async fn the_button_leaves_and_the_other_undoes_it() {
    let world = World::new().await;
    let path = path("");
    let answer = send(&world, "POST", &format!("{path}/leave"), "en", "").await;
    let undo = format!("<form method=post action=\"{path}/return\">");
    assert!(answer.status == 200 && answer.text().contains(&undo), "{}", answer.text());
    assert_eq!(suppressed(&world).await.len(), 1);
    let answer = send(&world, "GET", &path, "en", "").await;
    assert!(answer.text().contains("You are unsubscribed"), "{}", answer.text());
    let answer = send(&world, "POST", &format!("{path}/return"), "en", "").await;
    assert!(answer.text().contains("You are subscribed again"), "{}", answer.text());
    assert_eq!(suppressed(&world).await, []);
}

#[tokio::test]
async fn a_forged_token_is_told_in_words() {
    let world = World::new().await;
    let forged = path("").replacen("/u/A", "/u/B", 1);
    let answer = send(&world, "GET", &forged, "es", "").await;
    assert!(answer.status == 404 && answer.text().contains("Este enlace no funciona"), "{}", answer.text());
    let answer = send(&world, "POST", &forged, "es", "").await;
    assert_eq!((answer.status, answer.text().as_str()), (404, "not found\n"));
    let answer = send(&world, "POST", &format!("{}/leave", path("")), "en", "list=01NONE").await;
    assert_eq!(answer.status, 404, "a topic of nobody");
    assert_eq!(suppressed(&world).await, []);
}

#[tokio::test]
async fn topics_are_made_chosen_and_shown() {
    let world = World::new().await;
    let news = json!({"name": "News", "default_subscription": "opt_in", "description": "What is new"});
    let (status, made) = api(&world, "POST", "/topics", &news).await;
    assert_eq!(status, 201, "{made}");
    let news = made["id"].as_str().unwrap().to_owned();
    let digest = json!({"name": "Digest", "default_subscription": "opt_out", "visibility": "public"});
    let digest = api(&world, "POST", "/topics", &digest).await.1["id"].as_str().unwrap().to_owned();
    let (_, one) = api(&world, "GET", "/topics/News", &Value::Null).await;
    assert_eq!((&one["id"], &one["default_subscription"]), (&json!(news), &json!("opt_in")), "{one}");
    assert_eq!(one["visibility"], "private");
    let (status, changed) =
        api(&world, "PATCH", &format!("/topics/{news}"), &json!({"visibility": "public"})).await;
    assert_eq!((status, changed["id"].as_str()), (200, Some(news.as_str())), "{changed}");
    let (status, error) = api(&world, "PATCH", &format!("/topics/{news}"), &json!({"name": "x"})).await;
    assert_eq!((status, error["param"].as_str()), (422, Some("name")), "{error}");
    let (status, _) =
        api(&world, "POST", "/topics", &json!({"name": "News", "default_subscription": "opt_in"})).await;
    assert_eq!(status, 409);

    let subscriptions = async || {
        let (_, list) = api(&world, "GET", "/contacts/ANA%40reader.example/topics", &Value::Null).await;
        let of = |topic: &Value| topic["subscription"].as_str().unwrap().to_owned();
        list["data"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(
        subscriptions().await,
        ["opt_in", "opt_out"],
        "the news unasked, the digest when it is chosen"
    );
    let choose = json!([{"id": news, "subscription": "opt_out"}, {"id": digest, "subscription": "opt_in"}]);
    let (status, answer) = api(&world, "PATCH", "/contacts/ana@reader.example/topics", &choose).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(subscriptions().await, ["opt_out", "opt_in"]);
    let (status, error) = api(
        &world,
        "PATCH",
        "/contacts/ana@reader.example/topics",
        &json!([{"id": "x", "subscription": "opt_in"}]),
    )
    .await;
    assert_eq!((status, error["param"].as_str()), (422, Some("[0].id")), "{error}");

    let page = send(&world, "GET", &path(""), "en", "").await;
    assert!(page.text().contains("Get <bdi>News</bdi>") && page.text().contains("Stop <bdi>Digest</bdi>"));
    let left = send(&world, "POST", &format!("{}/leave", path("")), "en", &format!("list={digest}")).await;
    assert!(left.text().contains("gets no more mail about “<bdi>Digest</bdi>”"), "{}", left.text());
    assert_eq!(subscriptions().await, ["opt_out", "opt_out"]);
    let (status, _) = api(&world, "DELETE", &format!("/topics/{digest}"), &Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(api(&world, "GET", &format!("/topics/{digest}"), &Value::Null).await.0, 404);
}
