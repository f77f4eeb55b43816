//! Options by header fields: read, effective, and removed before anybody else sees them.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use serde_json::{Value, json};
use support::client::{Client, request_with};
use support::relay::Relay;
use support::sink::Sink;
use support::wait_for;

const SHOP: &str = "shop@example.test";
const ADA: &str = "ada@reader.test";

fn message(fields: &str, subject: &str) -> String {
    format!("From: {SHOP}\r\nTo: {ADA}\r\nSubject: {subject}\r\n{fields}\r\nHello.\r\n")
}

/// The reply to a message with these fields.
fn send(relay: &Relay, fields: &str, subject: &str) -> String {
    relay.login().transact(SHOP, &[ADA], &message(fields, subject))
}

fn event(relay: &Relay, kind: &str, subject: &str) -> Value {
    wait_for(kind, || {
        let queued = relay.events("email.queued").into_iter().find(|event| event["subject"] == subject)?;
        let id = queued["message_id"].clone();
        relay.events(kind).into_iter().find(|event| event["message_id"] == id)
    })
}

#[test]
fn options_are_read_and_removed() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", true);
    let fields = "X-Relevo-Tag: campaign=spring\r\nX-Relevo-Tag: welcome\r\n\
        X-Relevo-Metadata: {\"order\":\r\n =?utf-8?q?=22N=C2=BA_7=22=7D?=\r\nX-Relevo-Stream: marketing\r\n\
        x-relevo-topic: news\r\nX-Relevo-Track: no\r\n";
    assert!(send(&relay, fields, "options").starts_with("250 "));
    let received = sink.wait("Subject: options");
    assert!(!received.message.to_lowercase().contains("x-relevo"), "{}", received.message);
    let leave = format!("List-Unsubscribe: <http://{}/u/", relay.http);
    let unfolded = received.message.replace("\r\n\t", " ").replace("\r\n ", " ");
    assert!(unfolded.contains(&leave), "{}", received.message);
    assert!(unfolded.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"), "{}", received.message);
    for kind in ["email.queued", "email.delivered"] {
        let event = event(&relay, kind, "options");
        let tags = json!([{"name": "campaign", "value": "spring"}, {"name": "welcome", "value": ""}]);
        assert_eq!(event["tags"], tags, "{event}");
        assert_eq!(event["metadata"], json!({"order": "Nº 7"}), "{event}");
        assert_eq!((&event["stream"], &event["topic"]), (&json!("marketing"), &json!("news")), "{event}");
    }
}

#[test]
fn tracking_is_switched_off_for_a_message() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", true);
    for (fields, subject) in [("", "tracked"), ("X-Relevo-Track: opens=no, clicks=no\r\n", "untracked")] {
        let html = format!("MIME-Version: 1.0\r\nContent-Type: text/html\r\n{fields}");
        assert!(send(&relay, &html, subject).starts_with("250 "));
    }
    let pixel = format!("http://{}/o/", relay.http);
    assert!(sink.wait("Subject: tracked").message.contains(&pixel));
    assert!(!sink.wait("Subject: untracked").message.contains(&pixel));
}

#[test]
fn a_mistake_is_named_and_nothing_is_accepted() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    for (field, said) in [
        (
            "X-Relevo-Tags: a",
            "550 5.6.0 option-field: X-Relevo-Tags: unknown field, did you mean 'X-Relevo-Tag'?",
        ),
        ("X-Relevo-Tag: a b", "550 5.6.0 option-field: X-Relevo-Tag: not 1 to 256 ASCII letters"),
        ("X-Relevo-Metadata: {\"a\": 1}", "550 5.6.0 option-field: X-Relevo-Metadata: 'a': invalid type"),
        ("X-Relevo-Send-At: soon", "550 5.6.0 option-field: X-Relevo-Send-At: not a time"),
        (
            "X-Relevo-Track: opens=yes",
            "550 5.7.1 tracking is asked for, but the sending domain has no tracking host",
        ),
    ] {
        let reply = send(&relay, &format!("{field}\r\n"), "mistake");
        assert!(reply.starts_with(said), "{field}: {reply}");
    }
    assert!(relay.events("email.queued").is_empty());
    let rules: Vec<Value> =
        relay.events("email.rejected").iter().map(|event| event["rule"].clone()).collect();
    assert_eq!(rules[0], json!("option-field"));
}

#[test]
fn mail_for_later_waits() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    assert!(send(&relay, "X-Relevo-Send-At: in 2 hours\r\n", "later").starts_with("250 "));
    assert!(send(&relay, "X-Relevo-Send-At: Sun, 22 Nov 2020 05:34:00 +0000\r\n", "now").starts_with("250 "));
    sink.wait("Subject: now");
    assert!(!sink.all().iter().any(|received| received.message.contains("Subject: later")));
    let queued = event(&relay, "email.queued", "later");
    assert!(queued["scheduled_at"].is_string(), "{queued}");
    let (ok, listed) = relay.queue(&["list"]);
    assert!(ok && listed.contains(queued["message_id"].as_str().unwrap()), "{listed}");
}

#[test]
fn mail_for_later_that_came_without_date_is_dated_when_it_is_sent() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    assert!(send(&relay, "X-Relevo-Send-At: in 2 hours\r\n", "undated").starts_with("250 "));
    let queued = event(&relay, "email.queued", "undated");
    let path = format!("/emails/{}", queued["message_id"].as_str().unwrap());
    let moved = relay.call("PATCH", &path, &json!({"scheduled_at": "in 2 seconds"}));
    assert_eq!(moved.0, 200, "{}", moved.1);
    let released = event(&relay, "email.rescheduled", "undated")["scheduled_at"].clone();
    let (day, time) = released.as_str().unwrap().split_once('T').unwrap();

    let received = sink.wait("Subject: undated").message;
    let dates: Vec<_> = received.lines().filter_map(|line| line.strip_prefix("Date: ")).collect();
    let [date] = dates[..] else { panic!("{received}") };
    assert!(date.contains(&format!(" {} +0000", &time[..8])), "{released}: {received}");
    let signed = received.split("t=").skip(1).find_map(|rest| rest.split_once(';')?.0.parse::<i64>().ok());
    let signed = relevo_relay::clock::timestamp(signed.unwrap() * 1000);
    assert!(signed.starts_with(&format!("{day}T{}", &time[..8])), "{released}, {signed}: {received}");
}

#[test]
fn an_idempotency_key_is_one_message_even_after_a_kill() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", false);
    let key = "X-Relevo-Idempotency-Key: order-7\r\n";
    let first = send(&relay, key, "once");
    assert!(first.starts_with("250 "), "{first}");
    relay.kill();
    relay.spawn();
    assert_eq!(send(&relay, key, "once"), first);
    let other = send(&relay, key, "other");
    assert!(other.starts_with("550 5.7.1 X-Relevo-Idempotency-Key: another message"), "{other}");
    sink.wait("Subject: once");
    assert_eq!(relay.events("email.queued").len(), 1);
}

#[test]
fn a_key_of_the_api_is_none_for_smtp_and_the_other_way_round() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    let by_http = |key: &str| {
        let (host, fields) = (relay.http.to_string(), [("Idempotency-Key", key)]);
        let body = json!({"from": SHOP, "to": ADA, "subject": "by http", "text": "Hello."}).to_string();
        request_with(relay.http, &host, ("POST", "/emails"), Some(&relay.key), &fields, &body)
    };
    let first = by_http("order-8");
    assert_eq!(first.status, 202);
    let refused = send(&relay, "X-Relevo-Idempotency-Key: order-8\r\n", "by smtp");
    assert!(refused.starts_with("550 5.7.1 X-Relevo-Idempotency-Key: another message"), "{refused}");
    assert!(send(&relay, "X-Relevo-Idempotency-Key: order-9\r\n", "by smtp").starts_with("250 "));
    let refused = by_http("order-9");
    assert_eq!((refused.status, &refused.json()["name"]), (409, &json!("invalid_idempotent_request")));
    let again = by_http("order-8");
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert_eq!(relay.events("email.queued").len(), 2);
}

#[test]
fn mail_of_no_tenant_loses_its_fields_and_gets_nothing_for_them() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    let (mut client, _) = Client::connect(relay.relay);
    client.expect("EHLO peer.test", "250");
    let bounce = format!(
        "From: MAILER-DAEMON@elsewhere.test\r\nTo: {ADA}\r\nSubject: bounce\r\nX-Relevo-Tag: stolen\r\n\
         X-Relevo-Nonsense: x\r\n\r\nHello.\r\n"
    );
    let reply = client.transact("", &[ADA], &bounce);
    assert!(reply.starts_with("250 "), "{reply}");
    let received = sink.wait("Subject: bounce");
    assert!(!received.message.contains("X-Relevo"), "{}", received.message);
}

#[test]
fn a_template_takes_the_place_of_the_content() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    let template = json!({"name": "Order", "alias": "order", "subject": "Order {{ n }} ✓", "html": "<p>{{ n }} {{ name }}</p>"});
    let (status, stored) = relay.call("POST", "/templates", &template);
    assert_eq!(status, 201, "{stored}");
    let fields =
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\nX-Relevo-Template: order\r\n";
    let variables = "X-Relevo-Variables: {\"n\": 7, \"name\": \"Ana & Bo\"}\r\n";
    let reply = send(&relay, fields, "draft");
    assert!(reply.starts_with("550 5.6.0 option-field: X-Relevo-Template: the template"), "{reply}");
    assert_eq!(relay.call("POST", "/templates/order/publish", &Value::Null).0, 200);
    let reply = send(&relay, fields, "no variables");
    assert!(reply.starts_with("550 5.6.0 option-field: X-Relevo-Variables: variables.n: "), "{reply}");

    let reply = send(&relay, &format!("{fields}{variables}"), "kept");
    assert!(reply.starts_with("250 "), "{reply}");
    let received = sink.wait("Subject: kept");
    let message = &received.message;
    assert!(message.contains("<p>7 Ana &amp; Bo</p>") && !message.contains("Hello."), "{message}");
    assert!(message.contains("multipart/alternative") && !message.contains("us-ascii"), "{message}");
    assert!(!message.contains("X-Relevo") && message.contains("DKIM-Signature"), "{message}");
    let queued = event(&relay, "email.queued", "kept");
    assert_eq!(queued["template"], stored["id"], "{queued}");

    let reply = send(&relay, &format!("{fields}{variables}"), "");
    assert!(reply.starts_with("250 "), "{reply}");
    event(&relay, "email.delivered", "Order 7 ✓");
}
