//! The whole relay, from a client's SMTP to a next hop's.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::net::TcpListener;

use support::client::{Client, get};
use support::relay::{DOMAIN, PASSWORD, Relay, USER, free_port};
use support::sink::Sink;
use support::wait_for;

const SHOP: &str = "shop@example.test";

fn message(subject: &str) -> String {
    format!(
        "From: Shop <{SHOP}>\r\nTo: Ada <ada@reader.test>\r\nSubject: {subject}\r\nBcc: secret@reader.test\r\n\r\n\
         Two lines,\r\n..the second with dots.\r\n"
    )
}

#[test]
fn a_message_arrives_checked_and_signed() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    let mut client = relay.login();
    let reply = client.transact(SHOP, &["ada@reader.test"], &message("arrives"));
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    let received = sink.wait("Subject: arrives");
    assert_eq!((received.from.as_str(), received.to), (SHOP, vec!["ada@reader.test".to_owned()]));
    let raw = received.message;
    assert_eq!(raw.matches("DKIM-Signature:").count(), 2, "{raw}");
    let unfolded = raw.replace("\r\n\t", " ");
    assert!(unfolded.contains(&format!("by relay.{DOMAIN} with ESMTPA id ")), "{raw}");
    assert!(raw.contains("\r\nDate: ") && raw.contains("\r\nMessage-ID: <"), "{raw}");
    assert!(!raw.contains("secret@"), "Bcc left: {raw}");
    assert!(raw.ends_with("\r\n\r\nTwo lines,\r\n.the second with dots.\r\n"), "{raw}");

    let delivered = wait_for("its event", || relay.events("email.delivered").first().cloned());
    assert_eq!(relay.events("email.queued").len(), 1);
    assert!(reply.contains(delivered["message_id"].as_str().unwrap()));
}

#[test]
fn nobody_relays_without_authority() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    let (mut client, _) = Client::connect(relay.submission);
    client.expect("EHLO client.test", "250");
    client.expect(&format!("MAIL FROM:<{SHOP}>"), "530 5.7.0");
    for (user, password) in [(USER, "wrong"), ("nobody", PASSWORD)] {
        use base64::Engine;
        let plain = base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{password}"));
        client.expect(&format!("AUTH PLAIN {plain}"), "535 5.7.8");
    }
    // Authenticated, but somebody else's domain: in the envelope, in the header.
    let mut client = relay.login();
    let reply = client.expect("MAIL FROM:<ceo@bank.test>", "550 5.7.1");
    assert!(reply.contains("bank.test"), "{reply}");
    let reply =
        client.transact(SHOP, &["ada@reader.test"], &message("forged").replace(SHOP, "ceo@bank.test"));
    assert!(reply.starts_with("550 5.7.1") && reply.contains("bank.test"), "{reply}");
    // The relay port: trusted, but only for domains that somebody here owns.
    let (mut peer, _) = Client::connect(relay.relay);
    peer.expect("EHLO peer.test", "250");
    peer.expect("MAIL FROM:<ceo@bank.test>", "550 5.7.1");
    let reply = peer.transact(SHOP, &["ada@reader.test"], &message("trusted"));
    assert!(reply.starts_with("250"), "{reply}");
    sink.wait("Subject: trusted");
    assert_eq!(sink.all().len(), 1);
    assert_eq!(relay.events("email.rejected").len(), 1);
}

/// The promise: what got its 250 survives the worst moment.
#[test]
fn what_was_accepted_survives_sigkill() {
    let addr = free_port();
    let mut relay = Relay::start(addr, "retry = [\"1s\"]", false);
    let mut client = relay.login();
    for i in 0..5 {
        let reply = client.transact(SHOP, &["ada@reader.test"], &message(&format!("survives-{i}")));
        assert!(reply.starts_with("250"), "{reply}");
    }
    relay.kill();
    let sink = Sink::on(TcpListener::bind(addr).unwrap());
    relay.spawn();
    for i in 0..5 {
        sink.wait(&format!("Subject: survives-{i}\r\n"));
    }
    wait_for("an empty queue", || (relay.queue(&["list", "--json"]).1.trim() == "[]").then_some(()));
    assert_eq!(sink.all().len(), 5, "nothing was sent twice");
}

#[test]
fn failed_recipients_come_back_in_one_bounce() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    let mut client = relay.login();
    let to = ["reject-a@reader.test", "ada@reader.test", "reject-b@reader.test"];
    assert!(client.transact(SHOP, &to, &message("bounces")).starts_with("250"));
    let bounce = sink.wait("multipart/report");
    assert_eq!((bounce.from.as_str(), bounce.to), ("", vec![SHOP.to_owned()]));
    let text = bounce.message;
    for part in [
        "Auto-Submitted: auto-replied",
        "Reporting-MTA: dns; relay.example.test",
        "Final-Recipient: rfc822; reject-a@reader.test",
        "Final-Recipient: rfc822; reject-b@reader.test",
        "Status: 5.1.1",
        "Subject: bounces",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(!text.contains("ada@reader.test>\r\nAction: failed") && !text.contains('\u{1b}'), "{text}");
    assert!(!text.contains("the second with dots"), "the body came back: {text}");
    let delivered: Vec<_> = sink
        .all()
        .into_iter()
        .filter(|r| r.message.contains("Subject: bounces\r\nBcc") || r.to == ["ada@reader.test"])
        .collect();
    assert_eq!(delivered.len(), 1);
    // A null reverse-path is never answered.
    assert!(client.transact("", &["reject-c@reader.test"], &message("no bounce")).starts_with("250"));
    wait_for("both failures", || (relay.events("email.bounced").len() == 3).then_some(()));
    wait_for("an empty queue", || (relay.queue(&["list", "--json"]).1.trim() == "[]").then_some(()));
    assert_eq!(sink.all().iter().filter(|r| r.from.is_empty()).count(), 1);
}

#[test]
fn every_recipient_has_links_of_its_own() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", true);
    let mut client = relay.login();
    let html = format!(
        "From: {SHOP}\r\nTo: list@reader.test\r\nSubject: tracked\r\nMIME-Version: 1.0\r\nContent-Type: text/html; \
         charset=utf-8\r\n\r\n<p><a href=\"https://shop.test/a?b=1&amp;c=2\">look</a> <a href=\"mailto:x@y.test\">write</a></p>\r\n"
    );
    let reply = client.transact(SHOP, &["ada@reader.test", "bob@reader.test"], &html);
    assert!(reply.starts_with("250"), "{reply}");
    let copies = wait_for("both copies", || Some(sink.all()).filter(|all| all.len() == 2));
    let host = relay.http.to_string();
    let link = |text: &str, kind: &str| {
        let start =
            text.find(&format!("http://{host}/{kind}/")).unwrap_or_else(|| panic!("no /{kind}/ in {text}"));
        let url = text[start..].split('"').next().unwrap();
        url.strip_prefix(&format!("http://{host}")).unwrap().to_owned()
    };
    let links: Vec<String> = copies.iter().map(|c| link(&c.message, "c")).collect();
    assert_ne!(links[0], links[1]);
    assert!(
        copies.iter().all(|c| c.message.contains("\"mailto:x@y.test\"") && !c.message.contains("shop.test"))
    );
    assert!(copies.iter().all(|c| !links.concat().contains(c.to[0].as_str())), "an address in clear");

    let click = get(relay.http, &host, &links[0], None);
    assert_eq!((click.status, click.field("location")), (302, Some("https://shop.test/a?b=1&c=2")));
    assert_eq!(click.field("cache-control"), Some("no-store"));
    let pixel = get(relay.http, &host, &link(&copies[0].message, "o"), None);
    assert_eq!((pixel.status, pixel.body.len(), pixel.field("content-type")), (200, 43, Some("image/gif")));
    let mut altered = links[0].clone().into_bytes();
    let last = altered.len() - 1;
    altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
    for path in [
        String::from_utf8(altered).unwrap(),
        "/c/https://evil.test".into(),
        "/c/".into(),
        links[0].replace("/c/", "/o/"),
    ] {
        assert_eq!(get(relay.http, &host, &path, None).status, 404, "{path}");
    }
    // The tracking host answers nothing else.
    assert_eq!(get(relay.http, &host, "/events?after=0", Some(&relay.key)).status, 404);
    let events = get(relay.http, "api.test", "/events?after=0", Some(&relay.key)).json();
    let kinds: Vec<&str> =
        events["events"].as_array().unwrap().iter().filter_map(|e| e["type"].as_str()).collect();
    assert!(kinds.contains(&"email.clicked") && kinds.contains(&"email.opened"), "{kinds:?}");
}

#[test]
fn an_operator_sees_and_steers_the_queue() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    let mut client = relay.login();
    let reply = client.transact(SHOP, &["later@reader.test", "ada@elsewhere.test"], &message("waits"));
    let id = reply.split_whitespace().last().unwrap().to_owned();
    wait_for("the first attempt", || relay.events("email.delivery_delayed").first().cloned());
    let (ok, list) = relay.queue(&["list"]);
    assert!(ok && list.contains(&id) && list.contains("waits"), "{list}");
    let (ok, why) = relay.queue(&["why", &id]);
    assert!(ok && why.contains("later@reader.test") && why.contains("come back later"), "{why}");
    let show = || -> serde_json::Value {
        let (ok, show) = relay.queue(&["show", &id, "--json"]);
        assert!(ok, "{show}");
        serde_json::from_str(&show).unwrap()
    };
    // One of the two is delivered, which is attempted no more.
    wait_for("the other", || (show()["pending"] == 1).then_some(()));
    let item = show();
    let of = |domain: &str| {
        let mut deliveries = item["deliveries"].as_array().unwrap().iter();
        deliveries.find(|d| d["domain"] == domain).unwrap()
    };
    assert_eq!(
        (&of("reader.test")["attempts"], &of("elsewhere.test")["next_attempt"]),
        (&1.into(), &().into())
    );
    assert_eq!(item["next_attempt"], of("reader.test")["next_attempt"]);
    assert!(item["next_attempt"].as_str() > item["accepted_at"].as_str(), "{item}");
    assert!(relay.queue(&["hold", &id]).0);
    assert_eq!((&show()["held"], &show()["next_attempt"]), (&true.into(), &().into()));
    let (ok, said) = relay.queue(&["retry", &id]);
    assert!(!ok && said.contains("is held: `relevo queue release`"), "{said}");
    for action in ["release", "retry"] {
        let (ok, said) = relay.queue(&[action, &id]);
        assert!(ok, "{action}: {said}");
    }
    wait_for("the retry", || (relay.events("email.delivery_delayed").len() >= 2).then_some(()));
    // A delivery that is being attempted is not dropped; the operator is told, and tries again.
    wait_for("the drop", || {
        let (ok, said) = relay.queue(&["drop", &id]);
        assert!(ok || said.contains("is being attempted") || said.contains("is not in the queue"), "{said}");
        (ok || said.contains("is not in the queue")).then_some(())
    });
    wait_for("its end", || {
        let (ok, said) = relay.queue(&["show", &id]);
        (!ok && said.contains("is not in the queue")).then_some(())
    });
    let acts = relay.acts();
    let done = |action: &str| ["socket", action, &id, "done"].map(str::to_owned);
    assert_eq!(acts[0], done("queue hold"));
    assert!(acts[1][1] == "queue retry" && acts[1][3].contains("is held"), "{acts:?}");
    assert_eq!(acts[2..4], [done("queue release"), done("queue retry")]);
    assert!(acts[4..].iter().all(|act| act[1] == "queue drop"), "{acts:?}");
    let (ok, said) = relay.queue(&["show", "nonsense"]);
    assert!(!ok && said.contains("26 characters"), "{said}");
}

#[test]
fn a_reload_takes_up_what_changed_and_nothing_from_a_broken_file() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    let good = fs::read_to_string(relay.config()).unwrap();
    fs::write(relay.config(), format!("{good}\nnonsense = 1\n")).unwrap();
    relay.reload();
    wait_for("the complaint", || relay.log().contains("nothing was changed").then_some(()));
    relay.login();
    fs::write(relay.config(), good.replace(&format!("username = \"{USER}\""), "username = \"other\""))
        .unwrap();
    relay.reload();
    wait_for("the reload", || relay.log().contains("reloaded").then_some(()));
    let (mut client, _) = Client::connect(relay.submission);
    client.expect("EHLO client.test", "250");
    use base64::Engine;
    let plain = base64::engine::general_purpose::STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    client.expect(&format!("AUTH PLAIN {plain}"), "535");
    Client::login(relay.submission, "other", PASSWORD);
    assert!(!relay.log().contains("after a restart"), "{}", relay.log());
}

#[test]
fn a_reload_names_what_it_has_not_taken_up() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    let good = fs::read_to_string(relay.config()).unwrap();
    let changed = good.replace("[smtp]\n", "[smtp]\nmax_message_size = 1000000\nmax_connections = 7\n");
    assert_ne!(changed, good);
    let changed = changed.replace("hostname = \"", "hostname = \"new.");
    fs::write(relay.config(), changed).unwrap();
    relay.reload();
    let said = "reload: hostname, max_message_size, max_connections of [smtp], [panel] will be as configured everywhere only after a restart";
    wait_for(said, || relay.log().contains(said).then_some(()));
    wait_for("the rest is taken up", || relay.log().contains("reloaded").then_some(()));
}

#[test]
fn one_relay_per_data_directory_and_a_clean_stop() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", false);
    let config = relay.config();
    let (ok, said) = support::relay::relevo(&["serve", "--config", config.to_str().unwrap()], "");
    assert!(!ok && said.contains("in use by process"), "{said}");
    let (mut idle, _) = Client::connect(relay.submission);
    relay.stop();
    let goodbye = idle.reply();
    assert!(goodbye.is_empty() || goodbye.starts_with("421 4.3.2"), "{goodbye}");
    relay.spawn();
    relay.login();
}

#[test]
fn http_answers_only_those_who_may_ask() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    assert_eq!(get(relay.http, "x", "/healthz", None).status, 200);
    assert_eq!(get(relay.http, "x", "/readyz", None).status, 200);
    let metrics = String::from_utf8(get(relay.http, "x", "/metrics", None).body).unwrap();
    for name in ["relevo_queue_items", "relevo_delivery_connections", "relevo_tls_certificate_expiry_seconds"]
    {
        assert!(metrics.contains(name), "no {name} in\n{metrics}");
    }
    let refused = get(relay.http, "x", "/events?after=0", None);
    assert_eq!((refused.status, refused.json()["name"].as_str()), (401, Some("missing_api_key")));
    assert_eq!(get(relay.http, "x", "/events?after=0", Some("rv_wrong")).status, 403);
    let wrong = relay.get("/events?after=x");
    assert_eq!((wrong.status, wrong.json()["param"].as_str()), (422, Some("after")));
    let records = relay.get(&format!("/domains/{DOMAIN}/records")).json();
    let names: Vec<&str> = records.as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
    assert!(
        names.contains(&"rsa._domainkey.example.test") && names.contains(&"_dmarc.example.test"),
        "{records}"
    );
    assert_eq!(relay.get("/domains/bank.test/records").status, 404);
}

/// The components are compiled at the first start; a stop does not wait for that.
#[test]
fn a_start_can_be_interrupted() {
    let mut relay = Relay::start(free_port(), "retry = [\"1h\"]", false);
    let mut client = relay.login();
    assert!(client.transact(SHOP, &["ada@reader.test"], &message("waits")).starts_with("250"));
    relay.stop();
    fs::remove_dir_all(relay.config().with_file_name("data").join("components")).unwrap();
    let said = relay.log().len();
    relay.launch();
    wait_for("the components are being compiled", || {
        relay.log()[said..].contains("loading the components").then_some(())
    });
    relay.stop();
    let log = relay.log()[said..].to_owned();
    assert!(log.contains("stopped before it was ready") && !log.contains(": ready"), "{log}");
    relay.spawn();
    assert!(relay.queue(&["list"]).1.contains("waits"));
}
