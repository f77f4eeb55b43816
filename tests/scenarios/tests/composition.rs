//! The gateway and the stages that it imports, composed as Spin composes a component with its
//! dependencies, on a host that knows only WASI 0.2. The core is a function here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "composition/templates.rs"]
mod templates;

use std::collections::BTreeSet;

use hyper::StatusCode;
use relevo_gateway::emails;
use relevo_runtime::{Stage, component};
use relevo_scenarios::edge::{ADVICE, Edge, Library, built, compiled};
use relevo_scenarios::root;
use serde_json::{Value, json};
use wac_graph::CompositionGraph;
use wac_graph::types::Package;

fn personalised() -> Value {
    json!({
        "from": "Shop <shop@example.com>",
        "stream": "marketing",
        "subject": "Hello {{ name }}",
        "html": "<p>Hello {{ name }}, <a href=\"{{ unsubscribe_url }}\">leave</a></p>",
        "attachments": [{"filename": "a.txt", "content": "aGVsbG8="}],
        "recipients": [
            {"email": "ana@example.net", "name": "Ana Núñez", "variables": {"name": "Ana"}},
            {"email": "luis@example.net", "variables": {"name": "Luis"}, "metadata": {"row": "2"}},
        ],
    })
}

/// The core's answer to one email with two messages.
fn accepted() -> Value {
    let recipient = |email: &str, id: &str| json!({"email": email, "message_id": id, "delivery_id": format!("{id}-0"), "status": "queued"});
    let recipients = [recipient("ana@example.net", "A"), recipient("luis@example.net", "B")];
    let email = json!({"object": "email", "id": "A", "recipients": recipients});
    json!({"object": "list", "id": "A", "data": [email]})
}

#[tokio::test]
async fn a_request_is_handed_to_the_core_as_the_library_makes_it() {
    let edge = Edge::new(Some((202, accepted())));
    let answer = edge.send("/emails", &[("idempotency-key", "k1")], &personalised()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    assert_eq!((&answer.body["id"], &answer.body["recipients"][1]["message_id"]), (&json!("A"), &json!("B")));

    let [sent] = edge.sent().try_into().unwrap();
    assert_eq!(sent.uri, "https://core.example.com/relay");
    assert_eq!(sent.field("authorization"), Some("Bearer rv_core"));
    assert_eq!(sent.field("idempotency-key"), Some("k1"));
    let body = personalised().to_string();
    let made = emails::single(body.as_bytes(), &Library, &Library).unwrap();
    assert_eq!(sent.body, serde_json::to_value(&made.request).unwrap(), "octet by octet");
    let message = sent.body["emails"][0]["messages"][1]["message"].as_str().unwrap();
    assert!(message.contains("Subject: Hello Luis\r\n") && message.contains("Date: "), "{message}");

    // The same request has the same digest, whatever was made of it.
    edge.send("/emails", &[("idempotency-key", "k1")], &personalised()).await;
    let mut other = personalised();
    other["subject"] = json!("Good bye");
    edge.send("/emails", &[("idempotency-key", "k1")], &other).await;
    let digests: Vec<_> =
        edge.sent().iter().map(|s| s.field("x-relevo-digest").unwrap().to_owned()).collect();
    assert!(digests[0] == digests[1] && digests[0] != digests[2] && digests[0].len() == 64, "{digests:?}");
}

#[tokio::test]
async fn mistakes_are_found_here_and_at_the_core() {
    let refused = json!({
        "statusCode": 422, "name": "validation_error", "message": "no", "param": "emails[0].messages[1].recipients[0]",
    });
    let edge = Edge::new(Some((422, refused)));
    let answer = edge.send("/emails", &[], &personalised()).await;
    assert_eq!((answer.status.as_u16(), &answer.body["param"]), (422, &json!("recipients[1].email")));

    let mut bad = personalised();
    bad["recipients"][0]["variables"] = json!({});
    let answer = edge.send("/emails", &[], &bad).await;
    assert_eq!(answer.body["param"], "recipients[0].variables.name", "{}", answer.body);
    let batch = json!([personalised(), {"from": "a@example.com", "to": "b", "subject": "s", "text": "t"}]);
    let answer = edge.send("/emails/batch", &[], &batch).await;
    assert_eq!((answer.status.as_u16(), &answer.body["param"]), (422, &json!("[1].to[0]")));
    let answer = edge.send("/emails", &[], &json!({"fron": "a@example.com"})).await;
    assert!(answer.body["message"].as_str().unwrap().contains("from"), "{}", answer.body);
    assert_eq!(edge.sent().len(), 1, "nothing else went to the core");
}

#[tokio::test]
async fn a_permissive_batch_tells_what_was_left_out() {
    let edge = Edge::new(Some((202, accepted())));
    let batch = json!([{"from": "a@example.com", "to": "b", "subject": "s", "text": "t"}, personalised()]);
    let answer = edge.send("/emails/batch", &[("x-batch-validation", "permissive")], &batch).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    assert_eq!(answer.body["errors"][0]["param"], "[0].to[0]");
    assert_eq!(answer.body["data"][0]["id"], "A");
}

#[tokio::test]
async fn callers_show_a_key_and_the_core_may_be_away() {
    let away = Edge::new(None);
    let answer = away.send("/emails", &[], &personalised()).await;
    assert_eq!((answer.status.as_u16(), answer.retry_after.as_deref()), (503, Some("5")), "{}", answer.body);
    for (status, told) in [(401, 503), (403, 503), (404, 503), (500, 500), (429, 429), (409, 409)] {
        let edge = Edge::new(Some((status, json!({"statusCode": status, "name": "x", "message": "y"}))));
        assert_eq!(edge.send("/emails", &[], &personalised()).await.status.as_u16(), told, "{status}");
    }

    let edge = Edge::new(Some((202, accepted())));
    let body = personalised().to_string().into_bytes();
    assert_eq!(edge.ask("POST", "/emails", &[], body.clone()).await.status.as_u16(), 401);
    let wrong = [("authorization", "Bearer rv_other")];
    assert_eq!(edge.ask("POST", "/emails", &wrong, body.clone()).await.status.as_u16(), 403);
    let long = edge.send("/emails", &[("idempotency-key", &"k".repeat(257))], &personalised()).await;
    assert_eq!((long.status.as_u16(), &long.body["name"]), (400, &json!("invalid_idempotency_key")));
    let caller = [("authorization", "Bearer rv_caller")];
    let huge = edge.ask("POST", "/emails", &caller, vec![b' '; (8 << 20) + 1]).await;
    assert_eq!(huge.status.as_u16(), 413);
    let mut unset = Edge::new(Some((202, accepted())));
    unset.variables.remove(1);
    assert_eq!(unset.ask("POST", "/emails", &caller, body).await.status.as_u16(), 503);
    assert!(edge.sent().is_empty() && unset.sent().is_empty());

    assert_eq!(edge.ask("GET", "/healthz", &[], Vec::new()).await.body, json!({"status": "ok"}));
    assert_eq!(edge.ask("GET", "/elsewhere", &[], Vec::new()).await.status.as_u16(), 404);
    assert_eq!(edge.ask("GET", "/emails", &[], Vec::new()).await.status.as_u16(), 405);
}

/// What is still imported once the stages are plugged in: HTTP in both directions and what `std` drags
/// in. `BLESS=1` writes the list.
#[test]
fn the_remaining_imports_are_pinned() {
    let component = compiled();
    let ty = component.component_type();
    let imports: BTreeSet<String> = ty
        .imports(component.engine())
        .map(|(name, _)| match name.rsplit_once('.') {
            Some((track, _)) if name.contains('@') && name.matches('.').count() == 2 => track.to_owned(),
            _ => name.to_owned(),
        })
        .collect();
    let found: String = imports.iter().map(|name| format!("{name}\n")).collect();
    let path = root().join("tests/golden/composition.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), found);
    for stage in Stage::ALL {
        let own = format!("relevo:mail/{}", stage.name());
        assert!(!imports.iter().any(|name| name.starts_with(&own)), "{own} is not plugged in");
    }
    assert!(!found.contains("relevo:"), "the signer is plugged in");
}

/// `spin.toml` names what the composition plugs, under the names that the gateway imports.
#[test]
fn the_manifest_is_true() {
    let text = std::fs::read_to_string(root().join("spin.toml")).unwrap();
    let manifest: toml::Value = toml::from_str(&text).unwrap();
    assert_eq!(manifest["spin_manifest_version"].as_integer(), Some(2));
    assert_eq!(manifest["trigger"]["http"][0]["component"].as_str(), Some("gateway"));
    let gateway = &manifest["component"]["gateway"];
    assert_eq!(gateway["source"].as_str(), Some("target/components/gateway.wasm"));
    let mut graph = CompositionGraph::new();
    let mut read =
        |path: &str| Package::from_bytes("any:name", None, built(path), graph.types_mut()).unwrap();
    let (root, mail, signer) =
        (read("components/gateway.wasm"), read("edge/mail.wasm"), read("components/signer.wasm"));
    let files = [
        ("relevo:mail", "target/edge/mail.wasm", mail),
        ("relevo:host", "target/components/signer.wasm", signer),
    ];
    let dependencies = gateway["dependencies"].as_table().unwrap();
    assert_eq!(dependencies.len(), files.len(), "Spin takes one file for each package");
    let mut given = BTreeSet::new();
    for (package, path, file) in files {
        let name = dependencies.keys().find(|name| name.starts_with(package)).unwrap();
        assert_eq!(dependencies[name]["path"].as_str(), Some(path));
        given.extend(graph.types()[file.ty()].exports.keys().cloned());
    }
    let imports = graph.types()[root.ty()].imports.keys();
    let wanted: BTreeSet<_> = imports.filter(|name| name.starts_with("relevo:")).cloned().collect();
    assert_eq!(given, wanted, "what the dependencies export is what the gateway imports");
    // What is composed is what the native host runs.
    for stage in [Stage::Template, Stage::Dkim] {
        assert!(built(&format!("components/{}.wasm", stage.name())) == component(stage).expect(ADVICE));
    }
    assert_eq!(gateway["allowed_outbound_hosts"][0].as_str(), Some("{{ relay_url }}"), "the core alone");
}
