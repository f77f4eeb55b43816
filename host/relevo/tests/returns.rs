//! Mail that comes back, with the real binary: a report to a return path becomes one event, forged
//! ones become none, complaints count only signed, and nobody can relay.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;

use relevo_resolve::testing::TestDns;
use serde_json::{Value, json};
use support::client::Client;
use support::relay::Relay;
use support::sink::{Received, Sink};
use support::wait_for;

const SHOP: &str = "shop@example.test";
const RETURN: &str = "return.example.test";

/// A relay whose return domain takes mail from this process as from a stranger.
fn relay(sink: &Sink, more: &str) -> Relay {
    let relay = Relay::start(
        sink.addr,
        &format!("[returns]\ndomains = [\"{RETURN}\"]\nordinary_mail = \"forward\"\n{more}"),
        false,
    );
    let text = fs::read_to_string(relay.config()).unwrap();
    let text = text.replace("trusted_networks = [\"127.0.0.0/8\"]", "trusted_networks = [\"192.0.2.1/32\"]");
    fs::write(relay.config(), text).unwrap();
    relay.reload();
    wait_for("the reload", || {
        let (mut client, greeting) = Client::connect(relay.relay);
        assert!(greeting.starts_with("220"), "{greeting}");
        client.expect("EHLO mx.reader.test", "250");
        client.expect("MAIL FROM:<a@example.test>", "250");
        client.command("RCPT TO:<b@reader.test>").starts_with("550 5.7.1").then_some(())
    });
    relay
}

fn send(relay: &Relay, to: &[&str], subject: &str) {
    let message = format!("From: {SHOP}\r\nTo: {}\r\nSubject: {subject}\r\n\r\nHello\r\n", to[0]);
    let reply = relay.login().transact(SHOP, to, &message);
    assert!(reply.starts_with("250"), "{reply}");
}

/// The return path of a recipient's transaction.
fn return_path(sink: &Sink, to: &str) -> String {
    wait_for("the transaction", || sink.all().into_iter().find(|r| r.to == [to])).from
}

fn stranger(relay: &Relay) -> Client {
    let (mut client, greeting) = Client::connect(relay.relay);
    assert!(greeting.starts_with("220"), "{greeting}");
    client.expect("EHLO mx.reader.test", "250");
    client
}

fn report(action: &str, to: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.reader.test\r\nTo: <x@{RETURN}>\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nSorry.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.reader.test\r\n\r\n\
         Final-Recipient: rfc822; {to}\r\nAction: {action}\r\nStatus: 5.1.1\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 <{to}>: no such user\r\n\r\n--b--\r\n"
    )
}

#[test]
fn a_report_to_a_return_path_is_one_event() {
    let sink = Sink::start();
    let mut relay = relay(&sink, "");
    send(&relay, &["ada@reader.test", "bob@reader.test"], "late");
    let (ada, bob) = (return_path(&sink, "ada@reader.test"), return_path(&sink, "bob@reader.test"));
    assert!(ada.starts_with("bounce+") && ada.ends_with(RETURN) && ada != bob, "{ada} {bob}");
    wait_for("deliveries", || (relay.events("email.delivered").len() == 2).then_some(()));

    let mut client = stranger(&relay);
    let said = client.transact("", &[&bob], &report("delayed", "bob@reader.test"));
    assert!(said.starts_with("250 2.0.0"), "{said}");
    let upper = ada.to_uppercase();
    assert!(client.transact("", &[&upper], &report("failed", "ada@reader.test")).starts_with("250"));
    let bounced = relay.events("email.bounced");
    let [bounce] = bounced.as_slice() else { panic!("{bounced:?}") };
    assert_eq!(bounce["recipient"], "ada@reader.test");
    assert_eq!((&bounce["code"], &bounce["status"]), (&json!(550), &json!("5.1.1")));
    assert_eq!(bounce["report"]["reported_by"], "mx.reader.test");
    assert_eq!(bounce["report"]["action"], "failed");
    let delayed = relay.events("email.delivery_delayed");
    assert_eq!((delayed.len(), &delayed[0]["recipient"]), (1, &json!("bob@reader.test")));

    // Again, also after a kill: once is enough.
    relay.kill();
    relay.spawn();
    let mut client = stranger(&relay);
    assert!(client.transact("", &[&ada], &report("failed", "ada@reader.test")).starts_with("250"));
    assert_eq!(relay.events("email.bounced").len(), 1);
    let metrics = String::from_utf8(relay.get("/metrics").body).unwrap();
    assert!(metrics.contains("relevo_returned_messages_total{result=\"repeated\"} 1"), "{metrics}");
}

#[test]
fn nobody_relays_and_forged_return_paths_do_not_exist() {
    let sink = Sink::start();
    let relay = relay(&sink, "");
    send(&relay, &["ada@reader.test"], "forged");
    let genuine = return_path(&sink, "ada@reader.test");
    let mut forged = genuine.clone().into_bytes();
    forged[40] = if forged[40] == b'a' { b'b' } else { b'a' };
    let forged = String::from_utf8(forged).unwrap();
    let other = genuine.replace(RETURN, "return.other.test");
    let mut client = stranger(&relay);
    client.expect("MAIL FROM:<>", "250");
    for (to, answer) in [
        (forged.as_str(), "550 5.1.1"),
        (other.as_str(), "550 5.7.1"),
        ("ada@reader.test", "550 5.7.1"),
        ("\"ada@reader.test\"@return.example.test", "550 5.1.1"),
        ("ada%reader.test@return.example.test", "550 5.1.1"),
    ] {
        client.expect(&format!("RCPT TO:<{to}>"), answer);
    }
    client.expect("DATA", "554");
    client.expect("RSET", "250");
    client.expect("MAIL FROM:<> SIZE=2000000", "552");
    client.expect("AUTH PLAIN AGFjbWUAeA==", "50");
    assert_eq!(relay.events("email.bounced"), Vec::<Value>::new());
    assert_eq!(sink.all().len(), 1, "nothing left but what was sent");
}

#[test]
fn mail_for_people_goes_to_the_postmaster() {
    let sink = Sink::start();
    let relay = relay(&sink, "");
    let mut client = stranger(&relay);
    let letter = "From: ada@reader.test\r\nSubject: please call\r\n\r\nHello\r\n";
    assert!(client.transact("ada@reader.test", &["abuse@return.example.test"], letter).starts_with("250"));
    let forwarded = sink.wait("Subject: please call");
    assert_eq!((forwarded.from.as_str(), forwarded.to), ("", vec!["postmaster@example.test".to_owned()]));
    assert!(forwarded.message.contains("by relay.example.test with ESMTP"));
}

/// RFC 9477: anybody may complain who has the id of the message, and signs as the author of the report.
#[test]
fn a_complaint_by_cfbl_counts_with_the_id_of_the_message_and_a_signature() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dns = runtime.block_on(TestDns::start()).unwrap();
    let sink = Sink::start();
    let relay = relay(&sink, &format!("cfbl = true\n[dns]\nnameservers = [\"{}\"]\n", dns.addr()));
    publish_keys(&relay, &dns);
    dns.txt("mx.reader.test", &["v=spf1 ip4:127.0.0.1 -all"]);
    let leaves = "List-Unsubscribe: <https://shop.test/leave>";
    let letter = format!(
        "From: {SHOP}\r\nTo: ada@reader.test\r\nSubject: offers\r\nX-Relevo-Stream: marketing\r\n\
         X-Relevo-Tag: campaign=spring\r\n{leaves}\r\n\r\nHello\r\n"
    );
    assert!(relay.login().transact(SHOP, &["ada@reader.test"], &letter).starts_with("250"));
    let offer = sink.wait("Subject: offers").message;
    wait_for("the delivery", || relay.events("email.delivered").first().cloned());
    assert!(offer.contains("\r\nFeedback-ID: spring:acme:marketing:example.test\r\n"), "{offer}");
    assert!(offer.contains("\r\nCFBL-Address: fbl@return.example.test; report=arf\r\n"), "{offer}");
    let id = offer.split("\r\n").find_map(|line| line.strip_prefix("CFBL-Feedback-ID: ")).unwrap();
    let signed: String = offer.split("\r\nReceived:").next().unwrap().split_whitespace().collect();
    for name in ["feedback-id", "cfbl-address", "cfbl-feedback-id"] {
        assert!(signed.to_ascii_lowercase().contains(&format!(":{name}")), "{name}: {signed}");
    }

    // What the RFC asks a reporter to return, and nothing else.
    let complain = |id: &str, name: &str| {
        let report = format!(
            "From: {SHOP}\r\nTo: fbl@{RETURN}\r\nSubject: {name}\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=feedback-report; boundary=arf\r\n\r\n--arf\r\n\r\n\
             A complaint.\r\n--arf\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\
             User-Agent: test/1\r\nVersion: 1\r\n\r\n--arf\r\nContent-Type: text/rfc822-headers\r\n\r\n\
             Message-ID: <redacted@reader.test>\r\nCFBL-Feedback-ID: {id}\r\n\r\n--arf--\r\n"
        );
        // The relay signs mail of example.test: what it sends is what a reporter there would.
        assert!(relay.login().transact(SHOP, &["signed@reader.test"], &report).starts_with("250"));
        let signed = sink.wait(&format!("Subject: {name}\r\n")).message;
        let mut client = stranger(&relay);
        for message in [&report, &signed] {
            assert!(client.transact("", &["fbl@return.example.test"], message).starts_with("250"));
        }
        relay.events("email.complained")
    };
    let mut forged = id.to_owned().into_bytes();
    forged[30] = if forged[30] == b'a' { b'b' } else { b'a' };
    assert_eq!(complain(&String::from_utf8(forged).unwrap(), "forged"), Vec::<Value>::new());
    let complaints = complain(id, "genuine");
    let [complaint] = complaints.as_slice() else { panic!("{complaints:?}\n{}", relay.log()) };
    assert_eq!(complaint["recipient"], "ada@reader.test");
    assert_eq!(complaint["report"]["signed_by"], json!(["example.test"]));
    assert_eq!(complaint["report"]["spf"], json!({ "result": "pass", "domain": "mx.reader.test" }));
    let metrics = String::from_utf8(relay.get("/metrics").body).unwrap();
    let refused = "relevo_returned_messages_total{result=\"feedback_unauthenticated\"} 3";
    assert!(metrics.contains(refused), "two unsigned ones, and the forged one: {metrics}");
}

fn publish_keys(relay: &Relay, dns: &TestDns) {
    let (_, records) = relay.call("GET", "/domains/example.test/records", &Value::Null);
    for record in records.as_array().unwrap().iter().filter(|r| r["purpose"] == "DKIM") {
        let value = record["value"].as_str().unwrap();
        let (first, second) = value.split_at(value.len() / 2);
        dns.txt(record["name"].as_str().unwrap(), &[first, second]);
    }
}

#[test]
fn a_complaint_counts_if_its_source_signed_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dns = runtime.block_on(TestDns::start()).unwrap();
    let sink = Sink::start();
    let more = format!("feedback_domains = [\"example.test\"]\n[dns]\nnameservers = [\"{}\"]\n", dns.addr());
    let relay = relay(&sink, &more);
    publish_keys(&relay, &dns);
    send(&relay, &["bob@reader.test"], "wanted");
    let wanted = sink.wait("Subject: wanted");
    send(&relay, &["ada@reader.test"], "unwanted");
    let unwanted = sink.wait("Subject: unwanted");
    wait_for("deliveries", || (relay.events("email.delivered").len() == 2).then_some(()));

    let arf = |from: &str, original: &Received| {
        format!(
            "From: {from}\r\nTo: fbl@{RETURN}\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=feedback-report; boundary=arf\r\n\r\n--arf\r\n\r\n\
             A complaint.\r\n--arf\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\
             User-Agent: test/1\r\nVersion: 1\r\n\r\n--arf\r\nContent-Type: message/rfc822\r\n\r\n\
             Return-Path: <{}>\r\n{}\r\n--arf--\r\n",
            original.from, original.message
        )
    };
    let mut client = stranger(&relay);
    let feedback = ["fbl@return.example.test"];
    let forged = arf("feedback@example.test", &wanted);
    assert!(client.transact("", &feedback, &forged).starts_with("250"));
    assert_eq!(relay.events("email.complained"), Vec::<Value>::new(), "nobody signed it");

    // The relay signs mail of example.test: what it sends is what a feedback source would.
    let reply = relay.login().transact(SHOP, &["signed@reader.test"], &arf(SHOP, &unwanted));
    assert!(reply.starts_with("250"), "{reply}");
    let signed = sink.wait("Subject: complaint").message;
    let altered = signed.replace("A complaint.", "A lie.");
    let said = client.transact("", &feedback, &altered);
    assert!(said.starts_with("250"), "{said}");
    assert_eq!(relay.events("email.complained"), Vec::<Value>::new(), "the body was altered");
    for _ in 0..2 {
        assert!(client.transact("", &feedback, &signed).starts_with("250"));
    }
    let complaints = relay.events("email.complained");
    let [complaint] = complaints.as_slice() else { panic!("{complaints:?}\n{}", relay.log()) };
    assert_eq!(complaint["recipient"], "ada@reader.test");
    assert_eq!(complaint["report"]["signed_by"], json!(["example.test"]));
    assert_eq!(complaint["report"]["action"], "abuse");

    // Who complained gets no more, and who is only said to have complained does.
    let entry = |address: &str| {
        let (status, entry) = relay.call("GET", &format!("/suppressions/{address}"), &Value::Null);
        (status == 200).then_some(entry)
    };
    let found = wait_for("a suppression", || entry("ada%40reader.test"));
    assert_eq!((&found["origin"], &found["rule"]), (&json!("complaint"), &json!("abuse")), "{found}");
    assert_eq!(entry("bob%40reader.test"), None);
    let mut window = json!({ "after": "2020-01-01T00:00:00Z", "before": "2100-01-01T00:00:00Z" });
    let (_, undone) = relay.call("POST", "/suppressions/undo", &window);
    assert_eq!(undone["count"], 0, "a complaint stays unless it is asked for: {undone}");
    window["reason"] = json!("complaint");
    let (_, undone) = relay.call("POST", "/suppressions/undo", &window);
    assert_eq!((&undone["count"], entry("ada%40reader.test")), (&json!(1), None), "{undone}");
}
