//! What each listener answers, and to whom.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use axum::body::Body;
use axum::http::Request;
use relevo_http::{Listener, PluginRequest, PluginVerb};
use relevo_mailkit::token::Scope;
use relevo_queue::{EventLog, ItemId};
use support::{ACME, ADMIN, Answer, Asked, METRICS, OTHER, TRACKING_HOST, World, token_keys};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Everybody,
    Tenants,
    Admins,
    MetricsReaders,
}

/// Every route but those of tracking and of the inbox.
const ROUTES: &[(&str, &str, For)] = &[
    ("GET", "/healthz", For::Everybody),
    ("GET", "/readyz", For::Everybody),
    ("GET", "/metrics", For::MetricsReaders),
    ("GET", "/events", For::Tenants),
    ("GET", "/domains/acme.test/records", For::Tenants),
    ("GET", "/domains", For::Tenants),
    ("GET", "/domains/acme.test", For::Tenants),
    ("GET", "/api-keys", For::Tenants),
    ("GET", "/audit", For::Tenants),
    ("GET", "/quota", For::Tenants),
    ("GET", "/webhooks", For::Tenants),
    ("GET", "/plugins", For::Admins),
    ("GET", "/queue", For::Admins),
    ("GET", "/queue/sites", For::Admins),
    ("POST", "/queue/sites/x.test/hold", For::Admins),
    ("GET", "/tenants", For::Admins),
    ("GET", "/tenants/acme", For::Admins),
    ("GET", "/operations/summary", For::Admins),
    ("GET", "/operations/audit", For::Admins),
    ("PUT", "/plugins/acme/list", For::Admins),
    ("PUT", "/plugins/acme/list/shadow", For::Admins),
    ("DELETE", "/plugins/acme/list/shadow", For::Admins),
    ("POST", "/plugins/acme/list/enable", For::Admins),
    ("POST", "/plugins/acme/list/disable", For::Admins),
    ("POST", "/plugins/acme/list/rollback", For::Admins),
    ("POST", "/plugins/acme/list/replay", For::Admins),
    ("PUT", "/plugins/acme/list/kv", For::Admins),
];

fn allowed(route: For, key: Option<&str>) -> bool {
    match route {
        For::Everybody => true,
        For::Tenants => key == Some(ACME),
        For::Admins => key == Some(ADMIN),
        For::MetricsReaders => key == Some(ADMIN) || key == Some(METRICS),
    }
}

#[tokio::test]
async fn each_route_is_for_those_who_may_use_it() {
    let world = World::with_metrics_key().await;
    for &(method, path, route) in ROUTES {
        for key in [None, Some("rv_wrong"), Some(ACME), Some(ADMIN), Some(METRICS)] {
            let asked = Asked { method, key, ..Asked::get(path) };
            let answer = world.ask(Listener::Api, asked).await;
            let expected = match (allowed(route, key), key) {
                (true, _) => 200,
                (false, None) => 401,
                (false, Some(_)) => 403,
            };
            assert_eq!(answer.status, expected, "{method} {path} with {key:?}: {}", answer.text());
            assert_eq!(answer.field("www-authenticate").is_some(), expected == 401, "{method} {path}");
        }
    }
}

/// The only thread for blocking work is taken, so that the first cancellation waits for the queue.
#[test]
fn a_tenant_cancels_by_tag_or_batch_once_at_a_time() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let world = World::new().await;
        let (release, released) = std::sync::mpsc::channel::<()>();
        let blocked = tokio::task::spawn_blocking(move || released.recv());
        let cancel = |body| Asked { method: "POST", body, ..Asked::get("/emails/cancel") }.key(ACME);
        let bodies = [r#"{"tag":{"name":"n"}}"#, r#"{"batch_id":"01KJKYS800ZX8Y7W6V5T4S3R2Q"}"#];
        let mut first = std::pin::pin!(world.ask(Listener::Api, cancel(bodies[0])));
        let others = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            answer = &mut first => panic!("it reads the queue: {}", answer.text()),
            () = others => {}
        }
        for body in bodies {
            let answer = world.ask(Listener::Api, cancel(body)).await;
            assert_eq!((answer.status, answer.field("retry-after")), (429, Some("1")), "{}", answer.text());
            assert_eq!(answer.json()["name"], "rate_limit_exceeded");
        }
        release.send(()).unwrap();
        blocked.await.unwrap().unwrap();
        assert_eq!(first.await.status, 200);
        for body in bodies {
            assert_eq!(world.ask(Listener::Api, cancel(body)).await.status, 200);
        }
    });
}

#[tokio::test]
async fn a_listener_has_its_own_routes_only() {
    let world = World::new().await;
    for (listener, has) in [
        (Listener::Api, ["/healthz", "/metrics", "/events", "/plugins"].as_slice()),
        (Listener::ApiOnly, &["/healthz", "/events"]),
        (Listener::Operations, &["/healthz", "/metrics", "/plugins"]),
        (Listener::Tracking, &[]),
    ] {
        for path in ["/healthz", "/metrics", "/events", "/plugins"] {
            let status = world.ask(listener, Asked::get(path)).await.status;
            assert_eq!(status != 404, has.contains(&path), "{listener:?} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn metrics_without_keys_are_open() {
    let answer = World::new().await.ask(Listener::Operations, Asked::get("/metrics")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "# EOF\n"));
}

#[tokio::test]
async fn a_tenant_sees_its_own_only() {
    let world = World::new().await;
    let records = Asked::get("/domains/acme.test/records");
    assert_eq!(world.ask(Listener::Api, records.key(ACME)).await.status, 200);
    let refused = world.ask(Listener::Api, records.key(OTHER)).await;
    assert_eq!((refused.status, refused.json()["name"].as_str()), (404, Some("not_found")));
    click(&world, TRACKING_HOST).await;
    let events = Asked::get("/events");
    assert_eq!(events_of(&world.ask(Listener::Api, events.key(ACME)).await), ["email.clicked"]);
    assert!(events_of(&world.ask(Listener::Api, events.key(OTHER)).await).is_empty());
}

fn events_of(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let types = json["events"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap());
    types.map(str::to_owned).collect()
}

#[tokio::test]
async fn events_of_one_message_are_for_its_tenant() {
    let world = World::new().await;
    click(&world, TRACKING_HOST).await;
    let id = ItemId([1; 16]).to_string();
    let (about, other) = (format!("/events?message={id}"), format!("/events?message={}", ItemId([2; 16])));
    assert_eq!(events_of(&world.ask(Listener::Api, Asked::get(&about).key(ACME)).await), ["email.clicked"]);
    assert!(events_of(&world.ask(Listener::Api, Asked::get(&about).key(OTHER)).await).is_empty());
    assert!(events_of(&world.ask(Listener::Api, Asked::get(&other).key(ACME)).await).is_empty());
    assert_eq!(world.ask(Listener::Api, Asked::get("/events?message=x").key(ACME)).await.status, 422);
}

#[tokio::test]
async fn replies_are_classified_in_order_and_bounded() {
    let world = World::new().await;
    let ask = async |body: &str| {
        let asked = Asked { method: "POST", body, ..Asked::get("/classify").key(ACME) };
        world.ask(Listener::Api, asked).await
    };
    let answer = ask(r#"{"replies":[{"text":"550 user unknown","mx":"mx.test"}]}"#).await;
    let json = answer.json();
    assert_eq!((answer.status, json["data"][0]["category"].as_str()), (200, Some("recipient_unknown")));
    assert_eq!((json["object"].as_str(), json["data"][0]["type"].as_str()), (Some("list"), Some("hard")));
    let many = format!(r#"{{"replies":[{}]}}"#, vec![r#"{"text":"unknown"}"#; 101].join(","));
    let long = format!(r#"{{"replies":[{{"text":"{}"}}]}}"#, "x".repeat(16_385));
    for (body, param) in [
        (r#"{"replies":[]}"#, "replies"),
        (many.as_str(), "replies"),
        (long.as_str(), "replies[0].text"),
        (r#"{"replies":[{"text":"unknown"},{"text":"unknown","code":250}]}"#, "replies[1].code"),
        (r#"{"replies":[{"text":"unknown","says":"x"}]}"#, "replies[0].says"),
    ] {
        let answer = ask(body).await;
        assert_eq!((answer.status, answer.json()["param"].as_str()), (422, Some(param)));
    }
    assert_eq!(ask(r#"{"replies":[{"text":"the classifier is broken"}]}"#).await.status, 503);
}

#[tokio::test]
async fn a_request_waits_for_an_event() {
    let world = World::new().await;
    let waiting = Asked::get("/events?wait=60s").key(ACME);
    let (answer, clicked) = tokio::join!(world.ask(Listener::Api, waiting), click(&world, TRACKING_HOST));
    assert_eq!((events_of(&answer), clicked.status), (vec!["email.clicked".to_owned()], 302));
    let other = world.ask(Listener::Api, Asked::get("/events?wait=1").key(OTHER)).await;
    assert!(events_of(&other).is_empty());
    assert_eq!(world.ask(Listener::Api, Asked::get("/events?wait=61s").key(ACME)).await.status, 422);
}

#[tokio::test]
async fn errors_of_the_api_have_one_shape() {
    let world = World::new().await;
    for (asked, status, name) in [
        (Asked::get("/nowhere"), 404, "not_found"),
        (Asked { method: "POST", ..Asked::get("/events") }, 405, "method_not_allowed"),
        (Asked::get("/events"), 401, "missing_api_key"),
        (Asked::get("/events?after=x").key(ACME), 422, "validation_error"),
        (Asked::get("/events?limit=0").key(ACME), 422, "validation_error"),
        (Asked::get("/events?what=x").key(ACME), 422, "validation_error"),
        (Asked::get("/domains/%ff/records").key(ACME), 400, "bad_request"),
    ] {
        let answer = world.ask(Listener::Api, asked).await;
        let json = answer.json();
        assert_eq!(
            (answer.status, json["statusCode"].as_u64()),
            (status, Some(status.into())),
            "{}",
            asked.path
        );
        assert_eq!(json["name"], name, "{}", asked.path);
        assert!(json["message"].as_str().is_some_and(|m| !m.is_empty()), "{json}");
        assert_eq!(json["request_id"].as_str(), answer.field("x-request-id"), "{}", asked.path);
        assert_eq!(answer.field("allow").is_some(), status == 405, "{}", asked.path);
    }
    let answer = world.ask(Listener::Api, Asked::get("/events?after=x").key(ACME)).await;
    assert_eq!(answer.json()["param"], "after");
}

#[tokio::test]
async fn each_request_has_an_id_of_ours() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = Request::get("/healthz").header("host", "a.test").header("x-request-id", "mine");
        let answer = world.send(Listener::Api, request.body(Body::empty()).unwrap()).await;
        ids.push(answer.field("x-request-id").unwrap().to_owned());
    }
    assert!(ids[0] != ids[1] && ids[0] != "mine" && ids[0].len() == 36, "{ids:?}");
}

#[tokio::test]
async fn a_request_names_one_host() {
    let world = World::new().await;
    for listener in [Listener::Api, Listener::Operations, Listener::Tracking] {
        for hosts in [&[][..], &["a.test", "a.test"], &["a b"]] {
            let mut request = Request::get("/healthz");
            for host in hosts {
                request = request.header("host", *host);
            }
            let answer = world.send(listener, request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, 400, "{listener:?} {hosts:?}");
        }
    }
}

#[tokio::test]
async fn plugin_commands_come_with_their_content() {
    let world = World::new().await;
    let put = Asked { method: "PUT", body: "12345678", ..Asked::get("/plugins/acme/list").key(ADMIN) };
    assert_eq!(world.ask(Listener::Operations, put).await.status, 200);
    let replay = Asked { method: "POST", ..Asked::get("/plugins/acme/list/replay?last=5").key(ADMIN) };
    assert_eq!(world.ask(Listener::Operations, replay).await.status, 200);
    let command = |verb| PluginRequest::Act { tenant: "acme".to_owned(), plugin: "list".to_owned(), verb };
    let commands = std::mem::take(&mut *world.plugins.commands.lock().unwrap());
    let last = PluginVerb::Replay { digest: None, last: Some(5) };
    assert_eq!(commands, [(command(PluginVerb::Add), b"12345678".to_vec()), (command(last), Vec::new())]);

    let large = world.ask(Listener::Operations, Asked { body: "123456789", ..put }).await;
    assert_eq!((large.status, large.json()["message"].as_str()), (413, Some("larger than 8")));
    let unknown = world.ask(Listener::Operations, Asked { path: "/plugins/acme/other", ..put }).await;
    assert_eq!((unknown.status, unknown.json()["name"].as_str()), (404, Some("not_found")));
    assert!(world.plugins.commands.lock().unwrap().is_empty());
}

fn click_path(world_host: &str) -> String {
    let scope = Scope { tenant: "acme", host: world_host };
    format!("/c/{}", token_keys().mint_click(&scope, &[1; 16], 0, "https://x.example/").unwrap())
}

async fn click(world: &World, host: &str) -> Answer {
    let path = click_path(TRACKING_HOST);
    world.ask(Listener::Api, Asked { host, ..Asked::get(&path) }).await
}

#[tokio::test]
async fn a_tracking_host_has_nothing_but_tracking() {
    let world = World::new().await;
    for path in ["/healthz", "/metrics", "/events", "/plugins", "/"] {
        let answer =
            world.ask(Listener::Api, Asked { host: TRACKING_HOST, ..Asked::get(path).key(ADMIN) }).await;
        assert_eq!((answer.status, answer.text().as_str()), (404, "not found\n"), "{path}");
    }
    let clicked = click(&world, TRACKING_HOST).await;
    assert_eq!((clicked.status, clicked.field("location")), (302, Some("https://x.example/")));
    assert_eq!(click(&world, "api.test").await.status, 404);
    let post = Asked { method: "POST", host: TRACKING_HOST, ..Asked::get("/c/x") };
    assert_eq!(world.ask(Listener::Api, post).await.status, 405);
}

#[tokio::test]
async fn a_client_with_too_many_tokens_is_refused_and_its_clicks_are_not() {
    let world = World::new().await;
    let unknown = Asked { host: TRACKING_HOST, ..Asked::get("/c/unknown") };
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(world.ask(Listener::Tracking, unknown).await);
    }
    assert_eq!(answers[0].status, 404);
    let last = answers.last().unwrap();
    assert_eq!((last.status, last.field("retry-after")), (429, Some("10")));
    assert_eq!(click(&world, TRACKING_HOST).await.status, 302);
    assert!(world.store.events(None, 0, 10).await.unwrap().is_empty(), "the click was not written");
}
