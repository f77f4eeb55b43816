//! Shaping: how operators see and change it, and what survives a restart.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use support::client::{Client, request};
use support::relay::{API_HOST, Relay, relevo};
use support::sink::Sink;
use support::wait_for;

const SHOP: &str = "shop@example.test";

/// A receiver with the name of its address.
const RULES: &str = r#"
[warmup]
ladder = [12, 30]
hour = 1.0

[[provider]]
name = "receiver"
mx = ["127.0.0.1"]
connections = 2

"#;

fn start(sink: SocketAddr, more: &str, grants: &str) -> (Relay, String) {
    let mut relay = Relay::start(sink, more, false);
    relay.stop();
    fs::write(relay.folder.join("shaping.toml"), RULES).unwrap();
    let (_, made) = relevo(&["api-key", "new"], "");
    let key = made.lines().find_map(|l| l.strip_prefix("API key (shown this once): ")).unwrap().to_owned();
    let hash = made.lines().find(|l| l.starts_with("api_keys")).unwrap();
    let hash = hash.split("hash = \"").nth(1).unwrap().split('"').next().unwrap();
    let text = fs::read_to_string(relay.config()).unwrap();
    let text = text.replace("id = \"acme\"\n", &format!("id = \"acme\"\n{grants}"));
    let admin = format!("[plugins]\nadmin_keys = [{{ name = \"ops\", hash = \"{hash}\" }}]\n");
    let text = text.replacen("[smtp]", &format!("{admin}[smtp]"), 1);
    fs::write(relay.config(), format!("{text}\n[shaping]\nrules = \"shaping.toml\"\n")).unwrap();
    relay.spawn();
    (relay, key)
}

fn send(relay: &Relay, subject: &str) -> String {
    let text = format!("From: {SHOP}\r\nTo: ada@reader.test\r\nSubject: {subject}\r\n\r\nHello.\r\n");
    let reply = relay.login().transact(SHOP, &["ada@reader.test"], &text);
    assert!(reply.starts_with("250 "), "{reply}");
    reply.split_whitespace().last().unwrap().to_owned()
}

fn shaping(relay: &Relay, args: &[&str]) -> (bool, String) {
    let config = relay.config();
    relevo(&[&["shaping", "--config", config.to_str().unwrap()], args].concat(), "")
}

fn admin(relay: &Relay, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = request(relay.http, API_HOST, (method, path), Some(key), &body);
    (answer.status, answer.json())
}

#[test]
fn a_suspension_holds_over_a_restart_until_it_is_resumed() {
    let sink = Sink::start();
    let (mut relay, _) = start(sink.addr, "source_ipv4 = \"127.0.0.7\"\n", "");
    let id = "source:127.0.0.7@receiver";
    let suspend =
        ["suspend", "source:127.0.0.7", "--domain", "reader.test", "--for", "1h", "--reason", "blocked"];
    let (ok, said) = shaping(&relay, &suspend);
    assert!(ok && said.contains(&format!("{id} is suspended until")), "{said}");
    let waits = send(&relay, "waits");
    let why = wait_for("the reason", || {
        let (_, said) = relay.queue(&["why", &waits]);
        said.contains("mail from 127.0.0.7 to receiver is suspended by socket uid").then_some(said)
    });
    assert!(why.contains("(blocked) until 20"), "{why}");

    relay.kill();
    relay.spawn();
    let (ok, said) = shaping(&relay, &["show"]);
    assert!(ok && said.contains(&format!("{id} is suspended until")), "{said}");
    assert!(said.contains("receiver: 2 connections") && said.contains("google: 5 connections"), "{said}");
    let (_, said) = shaping(&relay, &["why", "reader.test"]);
    assert!(said.contains("reader.test: provider receiver") && said.contains("(blocked) until"), "{said}");
    send(&relay, "waits as well");
    assert_eq!(sink.all().len(), 0);

    let (ok, said) = shaping(&relay, &["resume", id]);
    assert!(ok, "{said}");
    sink.wait("Subject: waits\r\n");
    sink.wait("Subject: waits as well\r\n");
    let (ok, said) = shaping(&relay, &["resume", id]);
    assert!(!ok && said.contains("no such suspension"), "{said}");
}

#[test]
fn operators_suspend_a_tenant_over_http() {
    let sink = Sink::start();
    let (relay, key) = start(sink.addr, "", "");
    let (status, refused) = admin(&relay, &relay.key.clone(), "GET", "/shaping", &Value::Null);
    assert_eq!(status, 403, "{refused}");
    for (body, param) in [
        (json!({ "subject": "acme", "provider": "receiver", "for": "1h" }), "subject"),
        (json!({ "subject": "tenant:acme", "provider": "receiver", "for": "soon" }), "for"),
        (json!({ "subject": "tenant:acme", "for": "1h" }), "provider"),
        (json!({ "subject": "tenant:acme", "provider": "a b", "for": "1h" }), "provider"),
    ] {
        let (status, answer) = admin(&relay, &key, "POST", "/shaping/suspensions", &body);
        assert_eq!((status, &answer["param"]), (422, &json!(param)), "{answer}");
    }
    let body =
        json!({ "subject": "tenant:acme", "domain": "reader.test", "for": "2h", "reason": "a bad list" });
    let (status, made) = admin(&relay, &key, "POST", "/shaping/suspensions", &body);
    assert_eq!((status, &made["id"]), (201, &json!("tenant:acme@receiver")), "{made}");
    let id = send(&relay, "waits");
    let why = wait_for("the reason", || {
        let (_, said) = relay.queue(&["why", &id]);
        said.contains("mail of tenant acme to receiver is suspended by ops (a bad list)").then_some(said)
    });
    assert!(why.contains("the next attempt is in 1 hour 59 minutes"), "{why}");
    let event = wait_for("the event", || relay.events("shaping.suspended").pop());
    assert_eq!((&event["provider"], &event["author"]), (&json!("receiver"), &json!("ops")), "{event}");
    let (status, ended) =
        admin(&relay, &key, "DELETE", "/shaping/suspensions/tenant:acme@receiver", &Value::Null);
    assert_eq!((status, &ended["object"]), (200, &json!("shaping_suspension")), "{ended}");
    sink.wait("Subject: waits\r\n");
    let event = wait_for("the event", || relay.events("shaping.resumed").pop());
    assert_eq!(event["resumed_by"], "ops", "{event}");
    let metrics = String::from_utf8(relay.get("/metrics").body).unwrap();
    assert!(metrics.contains("relevo_shaping_suspensions 0"), "{metrics}");
}

/// A feedback report names the address that it saw.
#[test]
fn a_complaint_counts_in_warmup() {
    let sink = Sink::start();
    let pool = "[[pool]]\nname = \"new\"\nsource_ipv4 = [\"127.0.0.8\"]\nwarmup = \"auto\"\n\
                [returns]\ndomains = [\"return.example.test\"]\nfeedback_networks = [\"127.0.0.0/8\"]\n";
    let (relay, key) = start(sink.addr, pool, "pools = [\"new\"]\n");
    send(&relay, "unwanted");
    let original = sink.wait("Subject: unwanted");
    wait_for("the delivery", || relay.events("email.delivered").pop());
    let report = format!(
        "From: feedback@receiver.test\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=arf\r\n\r\n--arf\r\n\r\n\
         A complaint.\r\n--arf\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\
         User-Agent: test/1\r\nVersion: 1\r\nSource-IP: 127.0.0.8\r\n\r\n--arf\r\n\
         Content-Type: message/rfc822\r\n\r\nReturn-Path: <{}>\r\n{}\r\n--arf--\r\n",
        original.from, original.message
    );
    let (mut client, _) = Client::connect(relay.relay);
    client.expect("EHLO mx.receiver.test", "250");
    for _ in 0..2 {
        assert!(client.transact("", &["fbl@return.example.test"], &report).starts_with("250"));
    }
    assert_eq!(relay.events("email.complained").len(), 1);
    let (_, answer) = admin(&relay, &key, "GET", "/warmup", &Value::Null);
    let [address] = answer["data"].as_array().unwrap().as_slice() else { panic!("{answer}") };
    assert_eq!((&address["address"], &address["complaints"]), (&json!("127.0.0.8"), &json!(1)), "{answer}");
}

/// Counts of warm-up are written ahead: a relay that was killed sends less, never more.
#[test]
fn a_warmup_cap_holds_over_a_kill() {
    let sink = Sink::start();
    let pool = "[[pool]]\nname = \"new\"\nsource_ipv4 = [\"127.0.0.8\"]\nwarmup = \"auto\"\n";
    let (mut relay, key) = start(sink.addr, pool, "pools = [\"new\"]\n");
    for n in 0..7 {
        send(&relay, &format!("before {n}"));
    }
    for n in 0..7 {
        assert_eq!(sink.wait(&format!("Subject: before {n}\r\n")).peer.to_string(), "127.0.0.8");
    }
    relay.kill();
    relay.spawn();
    let ids: Vec<_> = (0..12).map(|n| send(&relay, &format!("after {n}"))).collect();
    let cap = "127.0.0.8 is being warmed up: the 12 recipients of this day at receiver are used up";
    wait_for("the cap is used up", || {
        ids.iter().any(|id| relay.queue(&["why", id]).1.contains(cap)).then_some(())
    });
    let sent = sink.all().len();
    assert!((7..=12).contains(&sent), "{sent}");
    let (_, answer) = admin(&relay, &key, "GET", "/warmup", &Value::Null);
    let address = &answer["data"][0];
    assert_eq!((&address["cap"], &address["used"], &address["step"]), (&json!(12), &json!(12), &json!(1)));
    let config = relay.config();
    let (_, said) = relevo(&["warmup", "show", "--config", config.to_str().unwrap()], "");
    assert!(said.starts_with("127.0.0.8 at receiver: 12 of 12 recipients used on 20"), "{said}");
}
