//! `relevo domain`, with the real binary and a DNS server of the test.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use relevo_resolve::testing::TestDns;
use serde_json::{Value, json};
use support::relay::{Relay, relevo};
use support::sink::Sink;
use support::wait_for;

fn domain(relay: &Relay, args: &[&str]) -> (bool, String) {
    let config = relay.config();
    let store = ["--config", config.to_str().unwrap(), "--tenant", "acme"];
    relevo(&[&["domain"], args, &store].concat(), "")
}

/// Whether the exit status was 0, and the document.
fn document(relay: &Relay, args: &[&str]) -> (bool, Value) {
    let (done, said) = domain(relay, &[args, &["--json"]].concat());
    (done, serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}")))
}

fn record(shown: &Value, purpose: &str) -> Value {
    shown["records"].as_array().unwrap().iter().find(|r| r["record"] == purpose).unwrap().clone()
}

fn send(relay: &Relay) -> u16 {
    let email = json!({"from": "a@shop.example", "to": ["b@example.net"], "subject": "Hi", "text": "Hi"});
    relay.call("POST", "/emails", &email).0
}

#[test]
fn a_domain_is_added_checked_and_removed_beside_a_running_relay() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dns = runtime.block_on(TestDns::start()).unwrap();
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, &format!("[dns]\nnameservers = [\"{}\"]", dns.addr()), false);

    let (done, added) = document(&relay, &["add", "Shop.Example"]);
    assert!(done, "{added}");
    assert_eq!((&added["name"], &added["status"]), (&json!("shop.example"), &json!("not_started")));
    let dkim = record(&added, "DKIM");
    let (name, value) = (dkim["name"].as_str().unwrap(), dkim["value"].as_str().unwrap());
    let (done, said) = domain(&relay, &["add", "shop.example"]);
    assert!(!done && said.contains("already"), "{said}");
    let (done, shown) = document(&relay, &["records", "shop.example"]);
    assert_eq!((done, &shown["records"]), (true, &added["records"]));
    let (done, said) = domain(&relay, &["records", "shop.example"]);
    assert!(done && said.contains(&format!("; DKIM\n{name}. IN TXT \"v=DKIM1;")), "{said}");
    let (_, said) = domain(&relay, &["list"]);
    assert_eq!(said, "example.test  verified  (configuration file)\nshop.example  not verified  (store)\n");

    let (done, said) = domain(&relay, &["check", "shop.example"]);
    assert!(!done && said.contains(&format!("DKIM {name} pending: ")), "{said}");
    assert!(said.contains("may not send before"), "{said}");
    assert_eq!(send(&relay), 422, "nobody has proven that it is ours");
    dns.txt(name, &["v=DKIM1; p=AAAA"]);
    let (done, said) = domain(&relay, &["check", "shop.example"]);
    assert!(!done && said.contains(&format!("DKIM {name} failed: ")), "{said}");
    assert!(said.contains("  found: v=DKIM1; p=AAAA\n"), "{said}");
    let (first, second) = value.split_at(200);
    dns.remove(name).txt(name, &[first, second]);
    let (done, checked) = document(&relay, &["check", "shop.example"]);
    assert_eq!(
        (&checked["status"], record(&checked, "DKIM")["status"].as_str()),
        (&json!("verified"), Some("verified"))
    );
    assert!(!done, "SPF and DMARC are missing");
    for purpose in ["SPF", "DMARC"] {
        let record = record(&checked, purpose);
        dns.txt(record["name"].as_str().unwrap(), &[record["value"].as_str().unwrap()]);
    }
    let (done, said) = domain(&relay, &["check", "shop.example"]);
    assert!(done && said.contains("shop.example may send."), "{said}");

    wait_for("the relay knows the domain", || Some(()).filter(|()| send(&relay) == 202));
    let signed = sink.wait("Subject: Hi").message.replace("\r\n", "");
    assert!(signed.contains("d=shop.example"), "{signed}");

    let keys = || std::fs::read_dir(relay.folder.join("data/dkim")).unwrap().count();
    assert_eq!(keys(), 1);
    let (done, removed) = document(&relay, &["remove", "shop.example"]);
    assert_eq!((done, &removed["deleted"], keys()), (true, &json!(true), 0));
    wait_for("the relay knows that it is gone", || Some(()).filter(|()| send(&relay) == 422));
    let (done, said) = domain(&relay, &["remove", "example.test"]);
    assert!(!done && said.contains("configuration file"), "{said}");

    let acts = relay.acts();
    let short: Vec<_> = acts.iter().map(|[actor, action, ..]| (actor.as_str(), action.as_str())).collect();
    let expected = ["add", "add", "check", "check", "check", "check", "remove", "remove"];
    let expected: Vec<_> = expected.iter().map(|verb| ("cli", format!("domain {verb}"))).collect();
    let expected: Vec<_> = expected.iter().map(|(actor, action)| (*actor, action.as_str())).collect();
    assert_eq!(short, expected);
    assert_eq!((acts[0][3].as_str(), acts[6][3].as_str()), ("done", "done"));
    assert!(acts[1][3].contains("already") && acts[7][3].contains("configuration file"), "{acts:?}");
}

#[test]
fn a_domain_that_is_added_while_no_relay_runs_is_there_at_the_start() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "[dns]\nnameservers = [\"127.0.0.1:9\"]", false);
    relay.stop();
    let (done, said) = domain(&relay, &["add", "shop.example"]);
    assert!(done && said.contains("is claimed"), "{said}");
    relay.spawn();
    let (status, shown) = relay.call("GET", "/domains/shop.example", &Value::Null);
    assert_eq!((status, &shown["status"]), (200, &json!("not_started")), "{shown}");
    assert!(said.contains(record(&shown, "DKIM")["name"].as_str().unwrap()), "{said}");
}
