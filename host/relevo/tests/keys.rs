//! API keys, rates, quotas, domains and the audit log, with the real binary.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use relevo_resolve::testing::TestDns;
use serde_json::{Value, json};
use support::client::{Answer, request};
use support::relay::{Relay, relevo};
use support::sink::Sink;
use support::wait_for;

const MESSAGE: &str = "From: a@example.test\r\nTo: b@example.net\r\nSubject: Hi\r\n\r\nHello\r\n";

fn relay(more: &str) -> (Sink, Relay) {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, more, false);
    (sink, relay)
}

fn ask(relay: &Relay, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    request(relay.http, &relay.http.to_string(), (method, path), Some(key), &body)
}

fn get(relay: &Relay, key: &str, path: &str) -> Answer {
    ask(relay, key, "GET", path, &Value::Null)
}

/// Status and name of the error.
fn outcome(answer: &Answer) -> (u16, Value) {
    (answer.status, if answer.status < 400 { Value::Null } else { answer.json()["name"].clone() })
}

fn refused(status: u16, name: &str) -> (u16, Value) {
    (status, json!(name))
}

const ALLOWED: (u16, Value) = (200, Value::Null);

fn email(from: &str, to: &[&str], subject: &str) -> Value {
    json!({"from": from, "to": to, "subject": subject, "text": "Hi there"})
}

fn create(relay: &Relay, fields: &Value) -> (String, String) {
    let (status, answer) = relay.call("POST", "/api-keys", fields);
    assert_eq!(status, 201, "{answer}");
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

/// `relevo api-key` on the relay's store.
fn command(relay: &Relay, args: &[&str]) -> Value {
    let config = relay.config();
    let store = ["--config", config.to_str().unwrap(), "--tenant", "acme", "--json"];
    let (done, said) = relevo(&[&["api-key"], args, &store].concat(), "");
    assert!(done, "{said}");
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
}

/// Puts a line into the table of the tenant, and reloads.
fn configure(relay: &Relay, line: &str) {
    let text = std::fs::read_to_string(relay.config()).unwrap();
    let text = text.replace("id = \"acme\"\n", &format!("id = \"acme\"\n{line}\n"));
    std::fs::write(relay.config(), text).unwrap();
    relay.reload();
}

#[test]
fn a_key_does_what_its_scopes_say_until_it_is_revoked() {
    let (_sink, mut relay) = relay("");
    let (reader_id, reader) = create(&relay, &json!({"name": "reader", "scopes": ["read"]}));
    assert_eq!(outcome(&get(&relay, &reader, "/events")), ALLOWED, "at once");
    let answer = ask(&relay, &reader, "POST", "/emails", &email("a@example.test", &["b@example.net"], "Hi"));
    assert_eq!(outcome(&answer), refused(403, "restricted_api_key"));
    assert!(answer.json()["message"].as_str().unwrap().contains("`send`"), "{}", answer.json());
    for (method, path) in
        [("GET", "/api-keys"), ("GET", "/audit"), ("POST", "/templates"), ("GET", "/webhooks")]
    {
        let answer = ask(&relay, &reader, method, path, &Value::Null);
        assert!(matches!(answer.status, 403 | 404), "{method} {path}: {}", answer.status);
    }
    let sending = json!({"name": "shop", "permission": "sending_access", "domain_id": "example.test"});
    let (_, sender) = create(&relay, &sending);
    assert_eq!(outcome(&get(&relay, &sender, "/events")), refused(403, "restricted_api_key"));
    let answer = ask(&relay, &sender, "POST", "/emails", &email("a@example.test", &["b@example.net"], "Hi"));
    assert_eq!(answer.status, 202, "{}", answer.json());

    // A typing mistake is told from a key that is gone.
    let mut wrong = sender.clone();
    wrong.replace_range(10..11, if &sender[10..11] == "x" { "y" } else { "x" });
    let words = |answer: &Answer| answer.json()["message"].as_str().unwrap().to_owned();
    let answer = get(&relay, &wrong, "/events");
    assert_eq!(outcome(&answer), refused(403, "invalid_api_key"));
    assert!(words(&answer).contains("wrong or missing"), "{}", words(&answer));

    let rotate = |overlap: Value| {
        let answer = ask(&relay, &relay.key, "POST", &format!("/api-keys/{reader_id}/rotate"), &overlap);
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()["token"].as_str().unwrap().to_owned()
    };
    let second = rotate(Value::Null);
    for token in [&reader, &second] {
        assert_eq!(outcome(&get(&relay, token, "/events")), ALLOWED, "both count");
    }
    let third = rotate(json!({"overlap_seconds": 0}));
    for token in [&reader, &second] {
        assert_eq!(outcome(&get(&relay, token, "/events")), refused(403, "invalid_api_key"));
    }
    relay.kill();
    relay.spawn();
    assert_eq!(outcome(&get(&relay, &third, "/events")), ALLOWED, "it is on disk");

    let listed = get(&relay, &relay.key, "/api-keys");
    let text = String::from_utf8_lossy(&listed.body).into_owned();
    assert_eq!(listed.json()["data"].as_array().unwrap().len(), 2, "{text}");
    assert!(text.contains(&third[..8]) && !text.contains(&third), "{text}");
    let answer = ask(&relay, &relay.key, "DELETE", &format!("/api-keys/{reader_id}"), &Value::Null);
    assert_eq!(answer.status, 200);
    let answer = get(&relay, &third, "/events");
    assert_eq!(outcome(&answer), refused(403, "invalid_api_key"), "at once");
    assert!(words(&answer).contains("revoked") && !words(&answer).contains("wrong"), "{}", words(&answer));
    let answer = ask(&relay, &relay.key, "DELETE", &format!("/api-keys/{reader_id}"), &Value::Null);
    assert_eq!(answer.status, 404);
}

#[test]
fn mistakes_of_keys_are_named() {
    let (_sink, relay) = relay("");
    create(&relay, &json!({"name": "ci"}));
    for (fields, status, param) in [
        (json!({"name": "ci"}), 409, Value::Null),
        (json!({}), 422, json!("name")),
        (json!({"name": " "}), 422, json!("name")),
        (json!({"name": "x", "scopes": ["sned"]}), 422, json!("scopes[0]")),
        (json!({"name": "x", "scopes": []}), 422, json!("scopes")),
        (json!({"name": "x", "scopes": ["send"], "permission": "full_access"}), 422, json!("permission")),
        (json!({"name": "x", "permission": "all"}), 422, json!("permission")),
        (json!({"name": "x", "domain": "other.test"}), 422, json!("domain")),
        (json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}), 422, json!("expires_at")),
        (json!({"name": "x", "scope": ["send"]}), 422, json!("scope")),
    ] {
        let (found, answer) = relay.call("POST", "/api-keys", &fields);
        assert_eq!((found, &answer["param"]), (status, &param), "{fields}: {answer}");
    }
}

#[test]
fn the_command_line_and_the_audit_log() {
    let (_sink, relay) = relay("");
    let made = command(&relay, &["create", "--name", "ops", "--scopes", "read,admin"]);
    let token = made["token"].as_str().unwrap().to_owned();
    wait_for("the relay knows the key", || Some(()).filter(|()| get(&relay, &token, "/audit").status == 200));
    assert_eq!(command(&relay, &["list"])[0]["name"], "ops");
    let again = command(&relay, &["rotate", "ops", "--overlap-hours", "0"]);
    let second = again["token"].as_str().unwrap().to_owned();
    wait_for("the other token counts", || Some(()).filter(|()| get(&relay, &second, "/audit").status == 200));
    let answer = ask(&relay, &second, "POST", "/api-keys", &json!({"name": "made"}));
    assert_eq!(answer.status, 201);
    let made = answer.json();
    assert_eq!(ask(&relay, &second, "POST", "/api-keys", &json!({"name": "made"})).status, 409);
    assert_eq!(command(&relay, &["revoke", "ops"])["deleted"], true);
    wait_for("the key is gone", || Some(()).filter(|()| get(&relay, &second, "/audit").status == 403));

    let audit = get(&relay, &relay.key, "/audit");
    let text = String::from_utf8_lossy(&audit.body).into_owned();
    let acts = audit.json()["data"].as_array().unwrap().clone();
    let short: Vec<_> = acts
        .iter()
        .map(|act| {
            let field = |name: &str| act[name].as_str().unwrap().to_owned();
            let actor = field("actor");
            let actor = if actor.starts_with("cli uid ") { "cli".to_owned() } else { actor };
            (actor, field("action"), field("result"))
        })
        .collect();
    let act =
        |actor: &str, action: &str, result: &str| (actor.to_owned(), action.to_owned(), result.to_owned());
    let expected = [
        act("cli", "api-key revoke", "done"),
        act("key ops", "POST /api-keys", "conflict"),
        act("key ops", "POST /api-keys", "done"),
        act("cli", "api-key rotate", "done"),
        act("cli", "api-key create", "done"),
    ];
    assert_eq!(short, expected, "newest first: {text}");
    assert_eq!(acts[2]["subject"], made["id"]);
    for secret in [token.as_str(), second.as_str(), made["token"].as_str().unwrap()] {
        assert!(!text.contains(secret) && !relay.log().contains(secret));
    }
    let (missing, said) = {
        let config = relay.config();
        let config = config.to_str().unwrap();
        relevo(&["api-key", "list", "--config", config, "--tenant", "nobody"], "")
    };
    assert!(!missing && said.contains("there is no tenant `nobody`"), "{said}");
}

#[test]
fn a_tenant_that_asks_too_often_is_told_when_to_come_back() {
    let (_sink, relay) = relay("");
    let first = get(&relay, &relay.key, "/quota");
    assert_eq!((first.field("ratelimit-limit"), first.status), (Some("5000"), 200));
    configure(&relay, "requests_per_second = 1");
    wait_for("the new rate is in force", || {
        Some(()).filter(|()| get(&relay, &relay.key, "/quota").field("ratelimit-limit") == Some("1"))
    });
    let answer = wait_for("one request too many", || {
        Some(get(&relay, &relay.key, "/quota")).filter(|answer| answer.status == 429)
    });
    assert_eq!(outcome(&answer), refused(429, "rate_limit_exceeded"));
    assert_eq!(
        (answer.field("ratelimit-remaining"), answer.field("ratelimit-reset")),
        (Some("0"), Some("1"))
    );
    assert_eq!(answer.field("retry-after"), Some("1"));
    wait_for("a second later", || Some(()).filter(|()| get(&relay, &relay.key, "/quota").status == 200));
}

#[test]
fn quotas_count_http_and_smtp_and_survive_a_restart() {
    let (_sink, mut relay) = relay("");
    configure(&relay, "quota = { month = 4 }");
    wait_for("the quota is in force", || {
        Some(()).filter(|()| get(&relay, &relay.key, "/quota").json()["month"]["limit"] == 4)
    });
    let send = |to: &[&str]| ask(&relay, &relay.key, "POST", "/emails", &email("a@example.test", to, "Hi"));
    assert_eq!(send(&["b@example.net", "c@example.net"]).status, 202);
    let answer = send(&["b@example.net", "c@example.net", "d@example.net"]);
    assert_eq!(outcome(&answer), refused(429, "monthly_quota_exceeded"));
    assert!(answer.field("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    let mut client = relay.login();
    let reply = client.transact("a@example.test", &["b@example.net"], MESSAGE);
    assert!(reply.starts_with("250"), "{reply}");
    let reply = client.transact("a@example.test", &["b@example.net", "c@example.net"], MESSAGE);
    assert!(reply.starts_with("452 4.7.1") && reply.contains("1 are left until 20"), "{reply}");
    let month = |relay: &Relay| get(relay, &relay.key, "/quota").json()["month"].clone();
    let used = month(&relay);
    assert_eq!((&used["used"], &used["remaining"]), (&json!(3), &json!(1)), "{used}");
    drop(client);
    relay.stop();
    relay.spawn();
    assert_eq!(month(&relay), used);
    let reply = relay.login().transact("a@example.test", &["b@example.net"], MESSAGE);
    assert!(reply.starts_with("250"), "{reply}");
    let reply = relay.login().transact("a@example.test", &["b@example.net"], MESSAGE);
    assert!(reply.starts_with("452 4.7.1"), "{reply}");
}

#[test]
fn a_domain_sends_once_dns_has_its_key() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dns = runtime.block_on(TestDns::start()).unwrap();
    let (sink, relay) = relay(&format!("[dns]\nnameservers = [\"{}\"]", dns.addr()));
    let call = |method: &str, path: &str, body: &Value| relay.call(method, path, body);
    let (status, added) = call("POST", "/domains", &json!({"name": "Shop.Example", "region": "eu-west-1"}));
    assert_eq!(
        (status, &added["id"], &added["status"]),
        (201, &json!("shop.example"), &json!("not_started"))
    );
    let key = added["records"].as_array().unwrap().iter().find(|r| r["record"] == "DKIM").unwrap().clone();
    let (name, value) = (key["name"].as_str().unwrap(), key["value"].as_str().unwrap());
    for (body, status) in [
        (json!({"name": "shop.example"}), 409),
        (json!({"name": "example.test"}), 409),
        (json!({"name": "example.test", "custom_return_path": "send"}), 422),
        (json!({"name": "nodots"}), 422),
        (json!({}), 422),
    ] {
        assert_eq!(call("POST", "/domains", &body).0, status, "{body}");
    }
    let message = email("Shop <a@shop.example>", &["b@example.net"], "From the shop");
    assert_eq!(call("POST", "/emails", &message).0, 422, "nobody has proven that it is ours");

    let verify = || {
        let (status, answer) = call("POST", "/domains/shop.example/verify", &Value::Null);
        assert_eq!(status, 200, "{answer}");
        let dkim = answer["records"].as_array().unwrap().iter().find(|r| r["record"] == "DKIM").unwrap();
        (answer["status"].clone(), dkim["status"].clone())
    };
    assert_eq!(verify(), (json!("not_started"), json!("pending")));
    dns.txt(name, &["v=DKIM1; p=AAAA"]);
    assert_eq!(verify(), (json!("not_started"), json!("failed")));
    let (first, second) = value.split_at(200);
    dns.remove(name).txt(name, &[first, second]);
    assert_eq!(verify(), (json!("verified"), json!("verified")), "what was published just now");

    let (status, answer) = call("POST", "/emails", &message);
    assert_eq!(status, 202, "{answer}");
    let received = sink.wait("Subject: From the shop");
    let selector = name.split('.').next().unwrap();
    let flat = received.message.replace("\r\n", "");
    assert!(flat.contains("d=shop.example") && flat.contains(selector), "{}", received.message);

    let (_, answer) =
        call("PATCH", "/domains/shop.example", &json!({"click_tracking": true, "tls": "enforced"}));
    assert_eq!((&answer["click_tracking"], &answer["tls"]), (&json!(true), &json!("enforced")), "{answer}");
    assert_eq!(answer["tracking_subdomain"], "links");
    let (_, listed) = call("GET", "/domains", &Value::Null);
    let names: Vec<_> = listed["data"].as_array().unwrap().iter().map(|d| d["name"].clone()).collect();
    assert_eq!(names, ["example.test", "shop.example"]);
    assert_eq!(call("PATCH", "/domains/example.test", &json!({"tls": "enforced"})).0, 409, "the file's");
    assert_eq!(call("DELETE", "/domains/shop.example", &Value::Null).0, 200);
    assert_eq!(call("POST", "/emails", &message).0, 422);
    assert_eq!(call("GET", "/domains/shop.example", &Value::Null).0, 404);
}
