//! Pools of source addresses, priorities and routes, as plugins choose them and as the
//! configuration grants them.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use support::relay::{Relay, free_port, relevo};
use support::sink::{Received, Sink};
use support::wait_for;

const SHOP: &str = "shop@example.test";
const ADA: &str = "ada@reader.test";

const POOLS: &str = r#"
[[pool]]
name = "own"
source_ipv4 = ["127.0.0.7"]
ehlo = "own.example.test"
connections_per_site = 1
[[pool]]
name = "bulk"
source_ipv4 = ["127.0.0.8", "127.0.0.9"]
"#;

const GRANTS: &str = "pools = [\"own\", \"bulk\"]\nroutes = [\"other\"]\nmax_priority = 5\n";

/// A relay whose tenant has a plugin that gives back `pool`, `priority` and `route` as they stand
/// in its data.
fn relay(sink: std::net::SocketAddr, more: &str, grants: &str) -> Relay {
    let mut relay = Relay::start(sink, more, false);
    relay.stop();
    edit(&relay, |text| {
        let text = text.replace("id = \"acme\"\n", &format!("id = \"acme\"\n{grants}"));
        format!("{text}\n[[tenant.plugin]]\nname = \"every\"\ngrants = [\"log\", \"clock\", \"kv\"]\n")
    });
    relay.spawn();
    let target = Path::new(env!("CARGO_BIN_EXE_relevo")).parent().unwrap().parent().unwrap();
    let file = target.join("plugins/everything.wasm");
    assert!(file.exists(), "no {}: run `cargo xtask build`", file.display());
    plugin(&relay, &["add"], file.to_str().unwrap());
    relay
}

fn edit(relay: &Relay, change: impl FnOnce(&str) -> String) {
    let text = fs::read_to_string(relay.config()).unwrap();
    fs::write(relay.config(), change(&text)).unwrap();
}

fn plugin(relay: &Relay, command: &[&str], last: &str) {
    let config = relay.config();
    let config = config.to_str().unwrap();
    let place = ["--config", config, "--tenant", "acme", "--name", "every", last];
    let (ok, said) = relevo(&[&["plugin"], command, &place[..]].concat(), "");
    assert!(ok, "{said}");
}

fn chooses(relay: &Relay, data: &str) {
    let file = relay.folder.join("kv.txt");
    fs::write(&file, data).unwrap();
    plugin(relay, &["kv", "import"], file.to_str().unwrap());
}

/// Its id.
fn send(relay: &Relay, to: &str, subject: &str) -> String {
    let text = format!("From: {SHOP}\r\nTo: {ADA}\r\nSubject: {subject}\r\n\r\nHello.\r\n");
    let reply = relay.login().transact(SHOP, &[to], &text);
    assert!(reply.starts_with("250 "), "{reply}");
    reply.split_whitespace().last().unwrap().to_owned()
}

fn arrives(relay: &Relay, sink: &Sink, subject: &str) -> Received {
    send(relay, ADA, subject);
    sink.wait(&format!("Subject: {subject}\r\n"))
}

fn queued(relay: &Relay, subject: &str) -> serde_json::Value {
    wait_for("its event", || {
        relay.events("email.queued").into_iter().find(|event| event["subject"] == subject)
    })
}

#[test]
fn a_plugin_chooses_among_what_is_granted() {
    let (sink, other) = (Sink::start(), Sink::start());
    let route = format!(
        "[[route]]\nname = \"other\"\nsmarthost = {{ host = \"127.0.0.1\", port = {}, tls = \"none\" }}\n",
        other.addr.port()
    );
    let relay = relay(sink.addr, &format!("{POOLS}{route}"), GRANTS);

    let first = arrives(&relay, &sink, "default");
    assert_eq!((first.peer.to_string().as_str(), first.helo.as_str()), ("127.0.0.7", "own.example.test"));
    assert_eq!(queued(&relay, "default")["pool"], "own");

    // Another pool, and so another connection, though the first one still stands.
    chooses(&relay, "pool\tbulk\n");
    let bulk = arrives(&relay, &sink, "bulk");
    let peer = bulk.peer.to_string();
    assert!(peer == "127.0.0.8" || peer == "127.0.0.9", "{peer}");
    assert_eq!(bulk.helo, "relay.example.test");
    assert_ne!(bulk.connection, first.connection);
    // One connection at a time to the same site: always from the same address.
    for subject in ["again", "and again"] {
        assert_eq!(arrives(&relay, &sink, subject).peer, bulk.peer);
    }
    let metrics = String::from_utf8(relay.get("/metrics").body).unwrap();
    assert!(metrics.contains("relevo_pool_connections{pool=\"bulk\"} "), "{metrics}");

    // What there is not, and what is not granted.
    chooses(&relay, "pool\tbest\npriority\t6\nroute\tbest\n");
    assert_eq!(arrives(&relay, &sink, "denied").peer, first.peer);
    let event = queued(&relay, "denied");
    let left_out: Vec<_> =
        event["attributes_left_out"].as_array().unwrap().iter().map(|a| &a["name"]).collect();
    assert_eq!(left_out, ["pool", "priority", "route"]);
    assert!(event["attributes"].is_null() && event["priority"].is_null(), "{event}");

    chooses(&relay, "route\tother\npriority\t-5\n");
    let routed = arrives(&relay, &other, "routed");
    assert_eq!(routed.peer, first.peer, "the pool is the same");
    let event = queued(&relay, "routed");
    assert_eq!((event["route"].as_str(), event["priority"].as_i64()), (Some("other"), Some(-5)));
    assert!(event["attributes_left_out"].is_null(), "{event}");
}

/// One connection, which is busy: what is urgent goes next, though it came last.
#[test]
fn an_urgent_message_overtakes_a_campaign() {
    let sink = Sink::start();
    let relay = relay(sink.addr, POOLS, "pools = [\"own\"]\nmax_priority = 3\n");
    send(&relay, "wait-for-it@reader.test", "busy");
    for n in 0..5 {
        send(&relay, ADA, &format!("campaign {n}"));
    }
    chooses(&relay, "priority\t3\n");
    let id = send(&relay, ADA, "urgent");
    let (ok, why) = relay.queue(&["why", &id, "--json"]);
    assert!(ok && why.contains("\"priority\": 3"), "{why}");
    sink.open();
    let arrived = wait_for("all", || Some(sink.all()).filter(|all| all.len() == 7));
    let subjects: Vec<_> = arrived
        .iter()
        .map(|r| r.message.split("Subject: ").nth(1).unwrap().lines().next().unwrap().to_owned())
        .collect();
    assert_eq!(subjects[..2], ["busy", "urgent"], "{subjects:?}");
    assert!(subjects[2..].is_sorted(), "in the order in which it came: {subjects:?}");
}

#[test]
fn a_pool_that_is_gone_leaves_its_mail_to_the_first_one() {
    let addr = free_port();
    let mut relay = relay(addr, &format!("retry = [\"1s\"]\n{POOLS}"), "pools = [\"own\", \"bulk\"]\n");
    chooses(&relay, "pool\tbulk\n");
    let ids = ["one", "two"].map(|subject| send(&relay, ADA, subject));
    let why = |relay: &Relay, id: &str| relay.queue(&["why", id]).1;
    wait_for("an attempt", || why(&relay, &ids[0]).contains("last answer").then_some(()));
    // Over a restart, too: it is stored with the mail.
    relay.stop();
    relay.spawn();
    edit(&relay, |text| {
        let (before, _) = text.split_once("[[pool]]\nname = \"bulk\"").unwrap();
        let (_, after) = text.split_once("\"127.0.0.9\"]\n").unwrap();
        format!("{before}{after}").replace("\"own\", \"bulk\"", "\"own\"")
    });
    relay.reload();
    let note = "pool bulk is not there for it any more, it leaves from pool own";
    for id in &ids {
        wait_for("queue why", || why(&relay, id).contains(note).then_some(()));
    }
    let sink = Sink::on(TcpListener::bind(addr).unwrap());
    for subject in ["one", "two"] {
        let received = sink.wait(&format!("Subject: {subject}\r\n"));
        assert_eq!(received.peer.to_string(), "127.0.0.7");
    }
    assert_eq!(relay.log().matches(note).count(), 1, "{}", relay.log());
}
