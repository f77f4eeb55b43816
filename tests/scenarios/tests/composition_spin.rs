//! The root for Spin: requests wait in a key-value store while the core is away.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::Response;
use relevo_scenarios::edge::{Edge, built, compiled_for_spin};
use relevo_scenarios::root;
use relevo_scenarios::spin::SpinHost;
use serde_json::{Value, json};
use wac_graph::CompositionGraph;
use wac_graph::types::Package;

const CALLER: [(&str, &str); 1] = [("authorization", "Bearer rv_caller")];

fn mail(subject: &str) -> Value {
    json!({"from": "shop@example.com", "to": "ana@example.net", "subject": subject, "text": "Hello"})
}

fn accepted() -> Option<(u16, Value)> {
    let recipients =
        json!([{"email": "ana@example.net", "message_id": "A", "delivery_id": "A-0", "status": "queued"}]);
    let email = json!({"object": "email", "id": "A", "recipients": recipients});
    Some((202, json!({"object": "list", "id": "A", "data": [email]})))
}

fn refused(status: u16) -> Option<(u16, Value)> {
    Some((status, json!({"statusCode": status, "name": "x", "message": "no"})))
}

fn spin() -> SpinHost {
    SpinHost::new(&[("outbox", "default")])
}

fn keys(spin: &SpinHost) -> Vec<String> {
    spin.store.lock().unwrap().as_ref().unwrap().keys().cloned().collect()
}

async fn get(edge: &Edge, path: &str) -> Value {
    let answer = edge.ask("GET", path, &CALLER, Vec::new()).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    answer.body
}

async fn flush(edge: &Edge) -> Value {
    edge.ask("POST", "/outbox/flush", &CALLER, Vec::new()).await.body
}

#[tokio::test]
async fn a_request_waits_for_the_core_and_is_forwarded_once() {
    let spin = spin();
    let (away, up) = (Edge::on_spin(None, &spin), Edge::on_spin(accepted(), &spin));
    let key = [("idempotency-key", "k1")];
    let stored = away.send("/emails", &key, &mail("One")).await;
    assert_eq!(stored.status.as_u16(), 202, "{}", stored.body);
    let id = stored.body["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("edge-"), "{id}");
    assert_eq!(stored.body["recipients"], json!([{"email": "ana@example.net", "status": "queued"}]));

    // Repeated: the same answer. With the key of another: refused. Nothing more is stored.
    assert_eq!(away.send("/emails", &key, &mail("One")).await.body, stored.body);
    let other = away.send("/emails", &key, &mail("Two")).await;
    assert_eq!((other.status.as_u16(), &other.body["name"]), (409, &json!("invalid_idempotent_request")));
    assert_eq!(flush(&away).await, json!({"forwarded": 0, "dead": 0, "waiting": 1, "away": true}));
    let status = get(&away, "/outbox").await;
    assert_eq!((&status["waiting"], &status["dead"]), (&json!(1), &json!(0)));
    assert_eq!(status["oldest"], "2026-11-22T05:34:00Z");
    assert_eq!(get(&away, &format!("/outbox/{id}")).await["status"], "waiting");

    assert_eq!(flush(&up).await, json!({"forwarded": 1, "dead": 0, "waiting": 0, "away": false}));
    let [sent] = up.sent().try_into().unwrap();
    assert_eq!(
        (sent.uri.as_str(), sent.field("idempotency-key")),
        ("https://core.example.com/relay", Some("k1"))
    );
    assert_eq!(sent.field("authorization"), Some("Bearer rv_core"));
    let first = &away.sent()[0];
    assert_eq!(sent.field("x-relevo-digest"), first.field("x-relevo-digest"), "the digest of the request");
    let (was, is) = (&first.body["emails"][0]["messages"][0], &sent.body["emails"][0]["messages"][0]);
    assert_eq!((was, &is["metadata"]), (is, &json!({"edge_id": id})), "the octets of the first attempt");
    let found = get(&up, &format!("/outbox/{id}")).await;
    assert_eq!((&found["status"], &found["accepted"]["data"][0]["id"]), (&json!("forwarded"), &json!("A")));
    assert_eq!(flush(&up).await["forwarded"], 0);
    assert_eq!(up.sent().len(), 1);
}

#[tokio::test]
async fn what_waits_is_forwarded_after_an_answer() {
    let spin = spin();
    let away = Edge::on_spin(None, &spin);
    for number in 0..4 {
        let (key, subject) = (format!("k{number}"), format!("Number {number}"));
        let stored = away.send("/emails", &[("idempotency-key", &key)], &mail(&subject)).await;
        assert_eq!(stored.status.as_u16(), 202, "{}", stored.body);
    }
    let up = Edge::on_spin(accepted(), &spin);
    let answer = up.send("/emails", &[], &mail("Now")).await;
    assert_eq!((answer.status.as_u16(), &answer.body["id"]), (202, &json!("A")));
    assert_eq!(up.sent().len(), 4, "its own and three of those that wait");
    assert_eq!(get(&up, "/outbox").await["waiting"], 1);
}

#[tokio::test]
async fn what_the_core_refuses_is_on_the_dead_list() {
    let spin = spin();
    let away = Edge::on_spin(refused(503), &spin);
    let batch = json!([mail("One"), mail("Two")]);
    let stored = away.send("/emails/batch", &[], &batch).await;
    let id = stored.body["id"].as_str().unwrap().to_owned();
    assert_eq!(stored.body["data"][1]["id"], format!("{id}-1"), "{}", stored.body);

    // What is not about the request leaves it where it is.
    for status in [401, 403, 404, 408, 429, 500, 503] {
        let flushed = flush(&Edge::on_spin(refused(status), &spin)).await;
        assert_eq!((&flushed["waiting"], &flushed["dead"]), (&json!(1), &json!(0)), "{status}");
    }
    let strict = Edge::on_spin(refused(422), &spin);
    assert_eq!(flush(&strict).await["dead"], 1);
    let dead = get(&strict, &format!("/outbox/{id}-1")).await;
    assert_eq!(
        (&dead["status"], &dead["reason"], &dead["core_status"]),
        (&json!("dead"), &json!("refused"), &json!(422))
    );
    assert_eq!(get(&strict, "/outbox").await["dead_ids"], json!([id]));
    assert!(strict.log().contains(&id), "{}", strict.log());
}

#[tokio::test]
async fn without_room_or_store_the_core_is_missed() {
    let full = SpinHost::new(&[("outbox", "default"), ("outbox_entries", "1")]);
    let away = Edge::on_spin(None, &full);
    let statuses = async |edge: &Edge| {
        let mut statuses = Vec::new();
        for key in ["a", "b"] {
            let answer = edge.send("/emails", &[("idempotency-key", key)], &mail("One")).await;
            statuses.push((answer.status.as_u16(), answer.retry_after.is_some()));
        }
        statuses
    };
    assert_eq!(statuses(&away).await, [(202, false), (503, true)]);
    assert_eq!(keys(&full).len(), 1);
    let mut large = mail("Large");
    large["text"] = json!("x".repeat(990_000));
    assert_eq!(Edge::on_spin(None, &spin()).send("/emails", &[], &large).await.status.as_u16(), 503);

    // The store is out of order: nothing is promised, and the core is asked all the same.
    let broken = spin();
    *broken.store.lock().unwrap() = None;
    let missed = Edge::on_spin(None, &broken).send("/emails", &[], &mail("One")).await;
    assert_eq!(missed.status.as_u16(), 503);
    let sent = Edge::on_spin(accepted(), &broken).send("/emails", &[], &mail("One")).await;
    assert_eq!(sent.status.as_u16(), 202);

    // Without RELEVO_OUTBOX it is as the portable root.
    let off = SpinHost::new(&[("outbox", "")]);
    assert_eq!(statuses(&Edge::on_spin(None, &off)).await, [(503, true), (503, true)]);
    let answer = Edge::on_spin(None, &off).ask("GET", "/outbox", &CALLER, Vec::new()).await;
    assert_eq!((answer.status.as_u16(), keys(&off).len()), (404, 0));
}

#[tokio::test]
async fn the_outbox_is_for_callers_with_a_key() {
    let edge = Edge::on_spin(accepted(), &spin());
    for (method, path) in [("GET", "/outbox"), ("POST", "/outbox/flush"), ("GET", "/outbox/edge-0")] {
        assert_eq!(edge.ask(method, path, &[], Vec::new()).await.status.as_u16(), 401, "{path}");
        let wrong = [("authorization", "Bearer rv_other")];
        assert_eq!(edge.ask(method, path, &wrong, Vec::new()).await.status.as_u16(), 403, "{path}");
    }
    for (method, path, status) in [
        ("GET", "/outbox/edge-0", 404),
        ("GET", "/outbox/../flush", 404),
        ("POST", "/outbox", 405),
        ("GET", "/outbox/flush", 405),
        ("DELETE", "/outbox/edge-0", 405),
    ] {
        assert_eq!(
            edge.ask(method, path, &CALLER, Vec::new()).await.status.as_u16(),
            status,
            "{method} {path}"
        );
    }
    assert!(edge.sent().is_empty());
}

/// Instances are fresh for each request, and share templates by the store.
#[tokio::test]
async fn templates_are_kept_for_all_instances() {
    let spin = SpinHost::new(&[("template_store", "default"), ("template_ttl", "60")]);
    let published = Arc::new(AtomicBool::new(true));
    let is_published = Arc::clone(&published);
    let edge = Edge::spin_with_core(
        move |request| {
            let known = request.headers().get("if-none-match").is_some();
            let status = match (is_published.load(Ordering::SeqCst), known) {
                (false, _) => 404,
                (true, true) => 304,
                (true, false) => 200,
            };
            let source =
                json!({"subject": "Hi {{ n }}", "html": null, "mjml": null, "text": "x", "partials": []});
            let body = match status {
                404 => json!({"statusCode": 404, "name": "not_found", "message": "there is none"}),
                _ => json!({"id": "01K", "version": 1, "source": source, "fallbacks": {}}),
            };
            let body = body.to_string();
            let response = Response::builder().status(status).header("etag", "\"one\"").body(body.into());
            Box::pin(std::future::ready(response.ok()))
        },
        &spin,
    );
    let body = json!({"template": {"id": "welcome"}, "variables": {"n": 1}});
    for _ in 0..3 {
        let answer = edge.send("/render", &[], &body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["subject"]),
            (200, &json!("Hi 1")),
            "{}",
            answer.body
        );
    }
    assert_eq!((edge.sent().len(), keys(&spin).len()), (1, 1));
    edge.clock.fetch_add(61_000, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(edge.send("/render", &[], &body).await.status.as_u16(), 200);
    }
    assert_eq!(edge.sent().len(), 2);
    assert_eq!(edge.sent()[1].field("if-none-match"), Some("\"one\""));
    // Withdrawn: not used after its time to live, and forgotten.
    published.store(false, Ordering::SeqCst);
    edge.clock.fetch_add(61_000, Ordering::SeqCst);
    let answer = edge.send("/render", &[], &body).await;
    assert_eq!((answer.status.as_u16(), &answer.body["param"]), (422, &json!("template.id")));
    assert_eq!(keys(&spin).len(), 0);
    // A store that is out of order is one without the template.
    *spin.store.lock().unwrap() = None;
    published.store(true, Ordering::SeqCst);
    assert_eq!(edge.send("/render", &[], &body).await.status.as_u16(), 200);
}

/// Spin's variables come first, the environment is for what is not there.
#[tokio::test]
async fn settings_are_variables_of_spin() {
    let spin = SpinHost::new(&[("relay_url", "https://other.example.com"), ("relay_token", "rv_vault")]);
    let edge = Edge::on_spin(accepted(), &spin);
    assert_eq!(edge.send("/emails", &[], &mail("One")).await.status.as_u16(), 202);
    let [sent] = edge.sent().try_into().unwrap();
    assert_eq!(sent.uri, "https://other.example.com/relay");
    assert_eq!(sent.field("authorization"), Some("Bearer rv_vault"));
    assert_eq!(sent.field("idempotency-key"), None, "without a store it is as the portable root");
}

/// What the root for Spin imports beyond WASI: a store and variables. `BLESS=1` writes the list.
#[test]
fn the_imports_are_pinned() {
    let component = compiled_for_spin();
    let ty = component.component_type();
    let imports: BTreeSet<String> = ty
        .imports(component.engine())
        .map(|(name, _)| match name.rsplit_once('.') {
            Some((track, _)) if name.starts_with("wasi:") => track.to_owned(),
            _ => name.to_owned(),
        })
        .collect();
    let found: String = imports.iter().map(|name| format!("{name}\n")).collect();
    let path = root().join("tests/golden/composition-spin.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), found);
    let portable = std::fs::read_to_string(root().join("tests/golden/composition.txt")).unwrap();
    let more: Vec<_> = found.lines().filter(|name| !portable.lines().any(|known| known == *name)).collect();
    assert_eq!(more, ["fermyon:spin/key-value@2.0.0", "fermyon:spin/variables@2.0.0"]);
    assert!(!portable.contains("spin"), "the portable root has nothing of Spin");
}

/// `spin.key-value.toml` names what the composition plugs, asks for the store alone, and gives each setting
/// that the sources read.
#[test]
fn the_manifest_is_true() {
    let read = |name: &str| -> toml::Value {
        toml::from_str(&std::fs::read_to_string(root().join(name)).unwrap()).unwrap()
    };
    let (portable, manifest) = (read("spin.toml"), read("spin.key-value.toml"));
    assert_eq!(manifest["spin_manifest_version"].as_integer(), Some(2));
    assert_eq!(manifest["trigger"]["http"][0]["component"].as_str(), Some("gateway-spin"));
    let gateway = &manifest["component"]["gateway-spin"];
    assert_eq!(gateway["source"].as_str(), Some("target/components/gateway-spin.wasm"));
    assert_eq!(gateway["allowed_outbound_hosts"], portable["component"]["gateway"]["allowed_outbound_hosts"]);
    assert_eq!(gateway["dependencies"], portable["component"]["gateway"]["dependencies"]);
    assert_eq!(gateway["key_value_stores"].as_array().unwrap(), &[toml::Value::from("default")]);

    let mut graph = CompositionGraph::new();
    let wasm = built("components/gateway-spin.wasm");
    let package = Package::from_bytes("any:name", None, wasm, graph.types_mut()).unwrap();
    let imports = &graph.types()[package.ty()].imports;
    for name in gateway["dependencies"].as_table().unwrap().keys() {
        let package = name.split(['/', '@']).next().unwrap();
        assert!(imports.keys().any(|import| import.starts_with(package)), "the root imports {name}");
    }

    let variables = manifest["variables"].as_table().unwrap();
    let mapped = gateway["variables"].as_table().unwrap();
    assert_eq!(mapped.keys().collect::<BTreeSet<_>>(), variables.keys().collect());
    assert_eq!(variables["relay_token"]["secret"].as_bool(), Some(true));
    let sources = sources("components/gateway/src");
    let readme = std::fs::read_to_string(root().join("components/gateway/README.md")).unwrap();
    for (name, value) in mapped {
        assert_eq!(value.as_str(), Some(format!("{{{{ {name} }}}}").as_str()));
        let setting = format!("RELEVO_{}", name.to_uppercase());
        assert!(sources.contains(&format!("\"{setting}\"")), "no source reads {setting}");
        assert!(readme.contains(&format!("`{setting}`")), "the README does not name {setting}");
    }
    let outbox = "\"RELEVO_OUTBOX";
    let given: BTreeSet<_> = sources.match_indices(outbox).map(|(at, _)| &sources[at + 8..]).collect();
    for setting in given {
        let name = setting.split('"').next().unwrap().to_lowercase();
        assert!(mapped.contains_key(&name), "{name} is not mapped");
    }
}

fn sources(directory: &str) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(root().join(directory)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true => all.push_str(&sources(&name)),
            false => all.push_str(&std::fs::read_to_string(&path).unwrap()),
        }
    }
    all
}
