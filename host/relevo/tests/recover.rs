//! A lost index: the refusal, the command that it names, and what becomes of the mail.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::net::TcpListener;

use support::relay::{Relay, free_port};
use support::sink::Sink;
use support::wait_for;

const SHOP: &str = "shop@example.test";

/// Accepts these messages, which have nowhere to go, and loses the index.
fn relay_without_index(subjects: &[&str], next_hop: std::net::SocketAddr) -> Relay {
    let mut relay = Relay::start(next_hop, "retry = [\"1s\"]", false);
    for subject in subjects {
        let message = format!("From: {SHOP}\r\nTo: ada@reader.test\r\nSubject: {subject}\r\n\r\nHello.\r\n");
        let reply = relay.login().transact(SHOP, &["ada@reader.test"], &message);
        assert!(reply.starts_with("250"), "{reply}");
    }
    relay.stop();
    fs::remove_file(relay.folder.join("data/index.redb")).unwrap();
    let said = relay.log().len();
    relay.launch();
    assert!(!relay.ended(), "a store without its index is refused");
    let log = relay.log()[said..].to_owned();
    assert!(log.contains("index.redb") && log.contains("relevo queue recover"), "{log}");
    relay
}

#[test]
fn what_recover_finds_is_held_until_it_is_released() {
    let next_hop = free_port();
    let mut relay = relay_without_index(&["first", "second"], next_hop);
    let (ok, said) = relay.queue(&["recover"]);
    assert!(ok && said.contains("messages found beside it: 2 (held)"), "{said}");
    assert!(said.contains("relevo queue release ID"), "{said}");

    let sink = Sink::on(TcpListener::bind(next_hop).unwrap());
    relay.spawn();
    let (ok, listed) = relay.queue(&["list", "--json"]);
    assert!(ok, "{listed}");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let items = listed.as_array().unwrap();
    assert!(items.len() == 2 && items.iter().all(|item| item["held"] == true), "{listed}");
    assert_eq!(sink.all().len(), 0, "nothing goes out unasked");
    for item in items {
        assert!(relay.queue(&["release", item["id"].as_str().unwrap()]).0);
    }
    for subject in ["first", "second"] {
        sink.wait(&format!("Subject: {subject}\r\n"));
    }
    wait_for("an empty queue", || (relay.queue(&["list", "--json"]).1.trim() == "[]").then_some(()));
    relay.stop();
    assert_eq!(sink.all().len(), 2, "nothing was sent twice");
}

#[test]
fn recover_can_make_all_due_at_once() {
    let next_hop = free_port();
    let mut relay = relay_without_index(&["due"], next_hop);
    let (ok, said) = relay.queue(&["recover", "--release", "--json"]);
    let counts: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(ok && counts["found"] == 1 && counts["kept"] == 0, "{said}");
    let sink = Sink::on(TcpListener::bind(next_hop).unwrap());
    relay.spawn();
    sink.wait("Subject: due\r\n");
    // The index is whole again: a second run keeps it, but not beside a running relay.
    let (ok, said) = relay.queue(&["recover"]);
    assert!(!ok && said.contains("in use by process"), "{said}");
    relay.stop();
    let (ok, said) = relay.queue(&["recover"]);
    assert!(ok && said.contains("messages found beside it: 0"), "{said}");
}
