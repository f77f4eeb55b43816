//! Sending by HTTP: one message, personalised ones, batches, schedules, idempotency keys, and what
//! is read afterwards.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::client::{Answer, request_with};
use support::relay::Relay;
use support::sink::Sink;
use support::wait_for;

fn relay() -> (Sink, Relay) {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    (sink, relay)
}

fn hello(to: &Value) -> Value {
    json!({"from": "Ann <a@example.test>", "to": to, "subject": "Hello", "text": "Hi there"})
}

fn send(relay: &Relay, body: &Value) -> Value {
    let (status, answer) = relay.call("POST", "/emails", body);
    assert_eq!(status, if body["dry_run"] == true { 200 } else { 202 }, "{answer}");
    answer
}

fn with_key(relay: &Relay, key: &str, body: &Value) -> Answer {
    let host = relay.http.to_string();
    let fields = [("Idempotency-Key", key)];
    request_with(relay.http, &host, ("POST", "/emails"), Some(&relay.key), &fields, &body.to_string())
}

fn show(relay: &Relay, id: &Value) -> Value {
    let (status, answer) = relay.call("GET", &format!("/emails/{}", id.as_str().unwrap()), &Value::Null);
    assert_eq!(status, 200, "{answer}");
    answer
}

fn wait_until(relay: &Relay, id: &Value, last_event: &str) -> Value {
    wait_for(last_event, || Some(show(relay, id)).filter(|email| email["last_event"] == last_event))
}

#[test]
fn a_message_is_sent_signed_and_followed() {
    let (sink, relay) = relay();
    let answer = send(
        &relay,
        &json!({
            "from": "Ann <a@example.test>",
            "to": ["Bob <b@example.net>", "reject-c@example.net"],
            "cc": "d@example.org",
            "bcc": ["secret@example.org"],
            "reply_to": "answers@example.test",
            "subject": "Résumé {{ literal }}",
            "html": "<p>Hello <b>{{ not_a_template }}</b> &amp; all</p>",
            "headers": {"X-Order": "17"},
            "attachments": [{"filename": "a.txt", "content": "aGVsbG8="}],
            "tags": [{"name": "campaign", "value": "spring"}],
            "metadata": {"customer": "17"},
        }),
    );
    assert_eq!(answer["object"], "email");
    let recipients = answer["recipients"].as_array().unwrap();
    let statuses: Vec<_> = recipients.iter().map(|r| (r["email"].as_str(), r["status"].as_str())).collect();
    let queued = |address| (Some(address), Some("queued"));
    assert_eq!(
        statuses,
        ["b@example.net", "reject-c@example.net", "d@example.org", "secret@example.org"].map(queued)
    );
    assert!(
        recipients
            .iter()
            .all(|r| r["delivery_id"].as_str().unwrap().starts_with(answer["id"].as_str().unwrap()))
    );

    let received = sink.wait("X-Order: 17");
    let message = &received.message;
    assert!(message.contains("From: ") && message.contains("To: "), "{message}");
    assert!(!message.contains("secret@"), "nobody sees Bcc: {message}");
    assert!(message.matches("DKIM-Signature:").count() == 2, "{message}");
    assert!(message.contains("with HTTP"), "{message}");
    assert!(message.contains("{{ not_a_template }}"), "content is no template: {message}");
    assert!(message.contains("text/plain") && message.contains("text/html"), "{message}");
    assert!(message.contains("filename=\"a.txt\"") && message.contains("\r\nhello\r\n"), "{message}");

    let email = wait_for("all attempted", || {
        let email = show(&relay, &answer["id"]);
        let all = email["recipients"].as_array().unwrap().clone();
        all.iter().all(|r| r["last_event"] != "queued").then_some(email)
    });
    let of = |address: &str| {
        let all = email["recipients"].as_array().unwrap();
        all.iter().find(|r| r["email"] == address).unwrap().clone()
    };
    assert_eq!(of("b@example.net")["last_event"], "delivered");
    assert_eq!(of("reject-c@example.net")["last_event"], "bounced");
    assert!(of("reject-c@example.net")["detail"].as_str().unwrap().len() > 3);
    assert_eq!(
        (&email["tags"][0]["value"], &email["metadata"]["customer"]),
        (&json!("spring"), &json!("17"))
    );
    assert!(email["events"].as_array().unwrap().iter().all(|e| e["tags"][0]["name"] == "campaign"));
    assert!(relay.events("email.dsn_queued").is_empty(), "who sends by HTTP is told by events");
}

#[test]
fn each_personalised_message_is_its_recipients_own() {
    let (sink, relay) = relay();
    let answer = send(
        &relay,
        &json!({
            "from": "a@example.test",
            "recipients": [
                {"email": "b@example.net", "name": "Bob", "variables": {"n": 1}, "metadata": {"row": "1"}},
                {"email": "c@example.net", "variables": {"n": 2}},
            ],
            "subject": "Number {{ n }}",
            "html": "<p>You are {{ n }}</p>",
        }),
    );
    let ids: Vec<_> =
        answer["recipients"].as_array().unwrap().iter().map(|r| r["message_id"].clone()).collect();
    assert_eq!((ids.len(), &ids[0]), (2, &answer["id"]));
    assert_ne!(ids[0], ids[1]);
    assert_eq!(sink.wait("Subject: Number 1").to, ["b@example.net"]);
    let second = sink.wait("Subject: Number 2");
    assert_eq!(second.to, ["c@example.net"]);
    assert!(!second.message.contains("b@example.net"), "{}", second.message);
    wait_for("both delivered", || {
        let email = show(&relay, &answer["id"]);
        let all = email["recipients"].as_array().unwrap().clone();
        (all.len() == 2 && all.iter().all(|r| r["last_event"] == "delivered")).then_some(())
    });
    assert_eq!(show(&relay, &ids[1])["email_id"], answer["id"]);

    let (status, refused) = relay.call(
        "POST",
        "/emails",
        &json!({"from": "a@example.test", "subject": "{{ n }}", "text": "x",
            "recipients": [{"email": "b@example.net", "variables": {"n": 1}}, {"email": "c@example.net"}]}),
    );
    assert_eq!((status, &refused["param"]), (422, &json!("recipients[1].variables.n")), "{refused}");
}

#[test]
fn mistakes_are_named_and_nothing_is_sent() {
    let (sink, relay) = relay();
    let cases = [
        (json!({"from": "a@example.test", "to": "b@", "subject": "x", "text": "y"}), 422, "to[0]"),
        (json!({"from": "a@other.test", "to": "b@example.net", "subject": "x", "text": "y"}), 422, "from"),
        (json!({"from": "a@example.test", "to": "b@example.net", "subject": "x"}), 422, "html"),
        (json!({"from": "a@example.test", "to": "b@example.net", "subjetc": "x"}), 422, "subjetc"),
        (
            json!({"from": "a@example.test", "to": "b@example.net", "subject": "x\r\nBcc: e@example.net", "text": "y"}),
            422,
            "subject",
        ),
        (
            json!({"from": "a@example.test", "to": "b@example.net", "subject": "x", "text": "y",
                "headers": {"X-Relevo-Stream": "marketing"}}),
            422,
            "headers.X-Relevo-Stream",
        ),
        (
            json!({"from": "a@example.test", "to": "b@example.net", "subject": "x", "text": "y",
                "headers": {"Bcc": "e@example.net"}}),
            422,
            "headers",
        ),
        (
            json!({"from": "a@example.test", "to": "b@example.net", "subject": "x", "text": "y",
                "tracking": {"clicks": true}}),
            422,
            "from",
        ),
        (
            json!({"from": "a@example.test", "to": "b@example.net", "subject": "x", "text": "y",
                "attachments": [{"filename": "a", "path": "https://127.0.0.1/secret"}]}),
            422,
            "attachments[0].path",
        ),
        (
            json!({"from": "a@other.test", "to": "b@example.net", "subject": "x", "text": "y",
                "attachments": [{"filename": "a", "path": "https://127.0.0.1/secret"}]}),
            422,
            "from",
        ),
        (
            json!({"from": "a@example.test", "to": "b@example.net", "subject": "x", "text": "y",
                "dry_run": true,
                "attachments": [{"filename": "a", "path": "https://127.0.0.1/secret"}]}),
            422,
            "attachments[0].path",
        ),
        (
            json!({"from": "a@example.test", "to": "b@example.net", "template": {"id": "nothing"}}),
            422,
            "template.id",
        ),
    ];
    for (body, status, param) in cases {
        let (found, answer) = relay.call("POST", "/emails", &body);
        assert_eq!((found, &answer["param"]), (status, &json!(param)), "{body}: {answer}");
        assert!(!answer["request_id"].as_str().unwrap().is_empty());
    }
    let answer = relay.call("POST", "/emails", &hello(&json!(["b@", "c@example.net", "@d"]))).1;
    assert_eq!(answer["errors"].as_array().unwrap().len(), 2, "every mistake is named: {answer}");
    assert!(relay.events("email.queued").is_empty());
    assert!(sink.all().is_empty());
}

#[test]
fn a_batch_is_sent_whole_or_not_at_all_unless_told_otherwise() {
    let (sink, relay) = relay();
    let good = |n: usize| hello(&json!(format!("b{n}@example.net")));
    let mixed =
        json!([good(1), {"from": "a@example.test", "to": "c@", "subject": "x", "text": "y"}, good(2)]);
    let (status, refused) = relay.call("POST", "/emails/batch", &mixed);
    assert_eq!((status, &refused["param"]), (422, &json!("[1].to[0]")), "{refused}");
    assert!(relay.events("email.queued").is_empty());

    let foreign =
        json!([good(1), {"from": "a@other.test", "to": "c@example.net", "subject": "x", "text": "y"}]);
    let (status, refused) = relay.call("POST", "/emails/batch", &foreign);
    assert_eq!((status, &refused["param"]), (422, &json!("[1].from")), "{refused}");

    let host = relay.http.to_string();
    let fields = [("x-batch-validation", "permissive")];
    let target = ("POST", "/emails/batch");
    let answer = request_with(relay.http, &host, target, Some(&relay.key), &fields, &mixed.to_string());
    let answer = answer.json();
    assert_eq!(
        (answer["data"].as_array().unwrap().len(), &answer["errors"][0]["index"]),
        (2, &json!(1)),
        "{answer}"
    );
    let (status, answer) = relay.call("POST", "/emails/batch", &json!([good(3), good(4)]));
    assert_eq!(status, 202, "{answer}");
    wait_for("four messages", || (sink.all().len() == 4).then_some(()));
    let (_, batch) =
        relay.call("GET", &format!("/emails/{}", answer["data"][1]["id"].as_str().unwrap()), &Value::Null);
    assert_eq!(batch["batch_id"], answer["id"]);
}

#[test]
fn a_permissive_batch_leaves_out_what_the_pipeline_refuses() {
    let (sink, relay) = relay();
    let good = |n: usize| hello(&json!(format!("b{n}@example.net")));
    let from = |from: &str, to: &str| json!({"from": from, "to": to, "subject": "x", "text": "y"});
    // The second is a mistake of the request, the fourth one that only the pipeline finds.
    let mixed = json!([
        good(1),
        from("a@example.test", "c@"),
        good(2),
        from("a@other.test", "c@example.net"),
        good(3)
    ]);
    let host = relay.http.to_string();
    let fields = [("x-batch-validation", "permissive")];
    let target = ("POST", "/emails/batch");
    let answer = request_with(relay.http, &host, target, Some(&relay.key), &fields, &mixed.to_string());
    let answer = answer.json();
    let errors = answer["errors"].as_array().unwrap();
    let places: Vec<_> = errors.iter().map(|error| (&error["index"], &error["param"])).collect();
    assert_eq!(places, [(&json!(1), &json!("[1].to[0]")), (&json!(3), &json!("[3].from"))], "{answer}");
    let emails: Vec<_> =
        answer["data"].as_array().unwrap().iter().map(|email| &email["recipients"][0]["email"]).collect();
    assert_eq!(emails, ["b1@example.net", "b2@example.net", "b3@example.net"], "{answer}");
    wait_for("three messages", || (sink.all().len() == 3).then_some(()));
}

#[test]
fn a_batch_of_more_than_100000_recipients_is_refused() {
    let (sink, relay) = relay();
    let addresses: Vec<String> = (0..101).map(|n| format!("b{n}@example.net")).collect();
    let recipients: Vec<Value> = addresses.iter().map(|address| json!({"email": address})).collect();
    let mut personal = json!({"from": "a@example.test", "subject": "x", "text": "y"});
    let mut shared = personal.clone();
    personal["recipients"] = json!(recipients);
    shared["to"] = json!(addresses);
    for email in [personal, shared] {
        let (status, refused) = relay.call("POST", "/emails/batch", &json!(vec![email; 1_000]));
        let message = json!("101000 recipients, at most 100000 are allowed");
        assert_eq!((status, &refused["message"]), (422, &message), "{refused}");
    }
    assert!(relay.events("email.queued").is_empty());
    assert!(sink.all().is_empty());
}

#[test]
fn many_labels_count_for_the_size_of_a_request() {
    let (sink, relay) = relay();
    let to: Vec<String> = (0..1_000).map(|n| format!("b{n}@example.net")).collect();
    let metadata: BTreeMap<String, String> = (0..8).map(|n| (format!("k{n}"), "v".repeat(1_000))).collect();
    let email = json!({"from": "a@example.test", "to": to, "subject": "x", "text": "y",
        "metadata": metadata, "dry_run": true});
    let (status, refused) = relay.call("POST", "/emails/batch", &json!(vec![email; 40]));
    assert_eq!((status, &refused["name"]), (422, &json!("validation_error")), "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("octets in all, tags and metadata included"), "{message}");
    assert!(sink.all().is_empty());
}

#[test]
fn a_key_makes_a_request_happen_once_even_after_a_kill() {
    let (sink, mut relay) = relay();
    let body = hello(&json!("b@example.net"));
    let first = with_key(&relay, "order-17", &body);
    assert_eq!(first.status, 202);
    relay.kill();
    relay.spawn();
    let again = with_key(&relay, "order-17", &body);
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert_eq!(again.field("idempotent-replayed"), Some("true"));
    let other = with_key(&relay, "order-17", &hello(&json!("c@example.net")));
    assert_eq!((other.status, &other.json()["name"]), (409, &json!("invalid_idempotent_request")));
    assert_eq!(with_key(&relay, &"k".repeat(257), &body).status, 400);
    wait_until(&relay, &first.json()["id"], "delivered");
    assert_eq!(relay.events("email.queued").len(), 1);
    assert_eq!(sink.all().iter().filter(|r| r.to == ["b@example.net"]).count(), 1);
}

#[test]
fn a_scheduled_message_is_moved_canceled_or_sent_in_time() {
    let (sink, mut relay) = relay();
    let at = |body: Value, at: &str| {
        let mut body = body;
        body["scheduled_at"] = json!(at);
        body
    };
    let kept = send(&relay, &at(hello(&json!("b@example.net")), "in 2 hours"));
    assert_eq!(
        (&kept["recipients"][0]["status"], show(&relay, &kept["id"])["last_event"].as_str()),
        (&json!("scheduled"), Some("scheduled"))
    );
    let gone = send(&relay, &at(hello(&json!("c@example.net")), "in 1 day"));
    relay.kill();
    relay.spawn();

    let path = |answer: &Value, more: &str| format!("/emails/{}{more}", answer["id"].as_str().unwrap());
    assert_eq!(relay.call("POST", &path(&gone, "/cancel"), &Value::Null).0, 200);
    assert_eq!(show(&relay, &gone["id"])["last_event"], "canceled");
    assert_eq!(relay.call("POST", &path(&gone, "/cancel"), &Value::Null).0, 409, "it is canceled already");
    let (status, answer) = relay.call("PATCH", &path(&kept, ""), &json!({"scheduled_at": "yesterday"}));
    assert_eq!((status, &answer["param"]), (422, &json!("scheduled_at")), "{answer}");
    assert!(sink.all().is_empty());

    // What is suppressed meanwhile gets nothing.
    let late = send(&relay, &at(hello(&json!("late@example.net")), "in 2 hours"));
    assert_eq!(
        relay.call("POST", "/suppressions", &json!({"email": "late@example.net", "reason": "bounce"})).0,
        201
    );
    for answer in [&kept, &late] {
        let moved = relay.call("PATCH", &path(answer, ""), &json!({"scheduled_at": "in 0 seconds"}));
        assert_eq!(moved.0, 200, "{}", moved.1);
    }
    wait_until(&relay, &kept["id"], "delivered");
    wait_until(&relay, &late["id"], "suppressed");
    let received = sink.wait("Subject: Hello");
    assert_eq!(received.message.matches("\r\nDate: ").count(), 1, "{}", received.message);
    assert!(!received.message.contains(" 1970 "), "the Date is that of the release: {}", received.message);
    assert_eq!(sink.all().len(), 1);
    assert_eq!(relay.call("POST", &path(&kept, "/cancel"), &Value::Null).0, 409, "it was sent");
    assert_eq!(relay.call("POST", "/emails/01KJKYS800ZX8Y7W6V5T4S3R2Q/cancel", &Value::Null).0, 404);
}

#[test]
fn a_message_is_not_moved_behind_the_expiry_that_its_sender_gave() {
    let (sink, relay) = relay();
    let mut email = json!({"from": "a@example.test", "recipients": [{"email": "b@example.net"},
        {"email": "c@example.net"}], "subject": "Soon over", "text": "Hi", "scheduled_at": "in 2 hours"});
    let free = send(&relay, &email);
    email["expires_at"] = json!("in 4 hours");
    let bound = send(&relay, &email);
    let smtp = "From: shop@example.test\r\nSubject: By SMTP\r\nX-Relevo-Send-At: in 2 hours\r\n\
        X-Relevo-Expires-At: in 4 hours\r\n\r\nHi\r\n";
    assert!(relay.login().transact("shop@example.test", &["d@example.net"], smtp).starts_with("250 "));
    let queued = relay.events("email.queued");
    let by_smtp = queued.iter().find(|event| event["subject"] == "By SMTP").unwrap()["message_id"].clone();

    let path = |id: &Value| format!("/emails/{}", id.as_str().unwrap());
    for id in [&bound["id"], &bound["recipients"][1]["message_id"], &by_smtp] {
        let (status, answer) = relay.call("PATCH", &path(id), &json!({"scheduled_at": "in 5 hours"}));
        assert_eq!((status, &answer["param"]), (422, &json!("scheduled_at")), "{answer}");
        assert!(answer["message"].as_str().unwrap().contains("not before expires_at"), "{answer}");
        let (status, answer) = relay.call("PATCH", &path(id), &json!({"scheduled_at": "in 3 hours"}));
        assert_eq!(status, 200, "{answer}");
    }
    // The expiry did not move along: 5 hours are still too late. The usual one does.
    let (status, _) = relay.call("PATCH", &path(&bound["id"]), &json!({"scheduled_at": "in 5 hours"}));
    assert_eq!(status, 422);
    assert_eq!(relay.events("email.rescheduled").len(), 4, "none of a refused request is moved");
    let (status, answer) = relay.call("PATCH", &path(&free["id"]), &json!({"scheduled_at": "in 30 days"}));
    assert_eq!((status, &answer["rescheduled"]), (200, &json!(2)), "{answer}");
    assert!(sink.all().is_empty());
}

#[test]
fn of_a_request_what_was_not_attempted_is_canceled() {
    let (_sink, relay) = relay();
    let recipients: Vec<_> = (0..6).map(|n| json!({"email": format!("b{n}@example.net")})).collect();
    let answer = send(
        &relay,
        &json!({"from": "a@example.test", "recipients": recipients, "subject": "One of six", "text": "Hi",
            "scheduled_at": "in 2 hours"}),
    );
    // A request of its own behind it.
    let mut other = hello(&json!("c@example.net"));
    other["scheduled_at"] = json!("in 2 hours");
    let other = send(&relay, &other);
    let ids: Vec<_> =
        answer["recipients"].as_array().unwrap().iter().map(|r| r["message_id"].clone()).collect();
    let path = |id: &Value, more: &str| format!("/emails/{}{more}", id.as_str().unwrap());

    let moved = relay.call("PATCH", &path(&answer["id"], ""), &json!({"scheduled_at": "in 3 hours"}));
    assert_eq!(moved, (200, json!({"object": "email", "id": ids[0], "rescheduled": 6, "too_late": 0})));
    let moved = relay.call("PATCH", &path(&ids[1], ""), &json!({"scheduled_at": "in 0 seconds"}));
    assert_eq!(moved, (200, json!({"object": "email", "id": ids[1], "rescheduled": 1, "too_late": 0})));
    wait_until(&relay, &ids[1], "delivered");
    let moved = relay.call("PATCH", &path(&answer["id"], ""), &json!({"scheduled_at": "in 3 hours"}));
    assert_eq!(moved, (200, json!({"object": "email", "id": ids[0], "rescheduled": 5, "too_late": 1})));

    let one = relay.call("POST", &path(&ids[5], "/cancel"), &Value::Null);
    assert_eq!(one, (200, json!({"object": "email", "id": ids[5], "canceled": 1, "too_late": 0})));
    let rest = relay.call("POST", &path(&answer["id"], "/cancel"), &Value::Null);
    assert_eq!(rest, (200, json!({"object": "email", "id": ids[0], "canceled": 4, "too_late": 1})));
    assert_eq!(relay.call("POST", &path(&answer["id"], "/cancel"), &Value::Null).0, 409);
    assert_eq!(show(&relay, &other["id"])["last_event"], "scheduled");
}

#[test]
fn a_suppressed_recipient_is_told_at_once() {
    let (sink, relay) = relay();
    let entry = json!({"email": "gone@example.net", "stream": "marketing", "reason": "unsubscribe"});
    assert_eq!(relay.call("POST", "/suppressions", &entry).0, 201);
    let answer = send(&relay, &hello(&json!(["gone@example.net", "b@example.net"])));
    assert!(answer["recipients"].as_array().unwrap().iter().all(|r| r["status"] == "queued"), "{answer}");

    // Who is suppressed before the attempt gets nothing.
    wait_until(&relay, &answer["id"], "delivered");
    wait_for("both copies", || (sink.all().iter().map(|r| r.to.len()).sum::<usize>() == 2).then_some(()));
    let entry = json!({"email": "gone@example.net", "reason": "bounce", "note": "no such user"});
    assert_eq!(relay.call("POST", "/suppressions", &entry).0, 201);
    let answer = send(&relay, &hello(&json!(["gone@example.net", "b@example.net"])));
    let gone = &answer["recipients"][0];
    assert_eq!(
        (&gone["email"], &gone["status"]),
        (&json!("gone@example.net"), &json!("suppressed")),
        "{answer}"
    );
    assert!(gone["reason"].as_str().unwrap().contains("no such user"));
    let all = send(&relay, &hello(&json!("gone@example.net")));
    assert_eq!(show(&relay, &all["id"])["last_event"], "suppressed");
    assert_eq!(relay.events("email.suppressed").len(), 2);
    wait_for("three copies", || (sink.all().iter().map(|r| r.to.len()).sum::<usize>() == 3).then_some(()));
}

#[test]
fn recipients_keep_their_order_and_share_no_position_with_suppressed_ones() {
    let (_sink, relay) = relay();
    for address in ["one@example.net", "three@example.net"] {
        let entry = json!({"email": address, "reason": "bounce"});
        assert_eq!(relay.call("POST", "/suppressions", &entry).0, 201);
    }
    let addresses = ["one@example.net", "two@example.net", "three@example.net", "four@example.org"];
    let mut body = hello(&json!(addresses));
    body["from"] = json!("a@news.example.test");
    let answer = send(&relay, &body);
    let told: Vec<_> = answer["recipients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["email"].as_str().unwrap(), r["status"].as_str().unwrap()))
        .collect();
    let statuses = ["suppressed", "queued", "suppressed", "queued"];
    assert_eq!(told, addresses.into_iter().zip(statuses).collect::<Vec<_>>());

    let email = wait_until(&relay, &answer["id"], "delivered");
    wait_for("both deliveries", || (relay.events("email.delivered").len() == 2).then_some(()));
    let mut positions: Vec<(u64, String)> = ["email.suppressed", "email.delivered"]
        .into_iter()
        .flat_map(|kind| relay.events(kind))
        .map(|event| {
            assert_eq!(event["domain"], "example.test", "the configured domain: {event}");
            (event["recipient_index"].as_u64().unwrap(), event["recipient"].as_str().unwrap().to_owned())
        })
        .collect();
    positions.sort();
    let wanted = [1, 3, 0, 2].map(|place: usize| addresses[place].to_owned());
    assert_eq!(positions, (0..).zip(wanted).collect::<Vec<_>>());
    assert_eq!(email["recipients"].as_array().unwrap().len(), 4, "{email}");
    wait_for("the statistics", || {
        let path = "/stats?interval=total&group_by=domain";
        let (_, stats) = relay.call("GET", path, &Value::Null);
        let group = &stats["data"][0];
        let suppressed = group["counts"]["suppressed"] == 2;
        (group["value"] == "example.test" && suppressed).then_some(())
    });
}

#[test]
fn a_message_whose_recipients_are_all_suppressed_is_listed() {
    let (_sink, relay) = relay();
    for address in ["x@example.net", "y@example.net"] {
        let entry = json!({"email": address, "reason": "bounce", "note": "no such user"});
        assert_eq!(relay.call("POST", "/suppressions", &entry).0, 201);
    }
    let mut all = hello(&json!(["x@example.net", "y@example.net"]));
    all["tags"] = json!([{"name": "campaign", "value": "spring"}]);
    let all = send(&relay, &all);
    let some = send(&relay, &hello(&json!(["x@example.net", "b@example.net"])));
    wait_until(&relay, &some["id"], "delivered");

    let list = |query: &str| -> Vec<Value> {
        let (status, answer) = relay.call("GET", &format!("/emails{query}"), &Value::Null);
        assert_eq!(status, 200, "{answer}");
        answer["data"].as_array().unwrap().iter().map(|email| email["id"].clone()).collect()
    };
    let (all_id, some_id) = (all["id"].clone(), some["id"].clone());
    assert_eq!(list(""), [some_id.clone(), all_id.clone()], "each once");
    assert_eq!(list("?status=suppressed"), std::slice::from_ref(&all_id));
    assert_eq!(list("?tag=campaign:spring&from=A@example.test"), std::slice::from_ref(&all_id));
    assert_eq!(list("?to=X@example.net"), [some_id.clone(), all_id.clone()]);
    assert_eq!(list("?to=y@example.net"), std::slice::from_ref(&all_id));
    assert_eq!(list("?to=b@example.net"), std::slice::from_ref(&some_id));
    assert_eq!(list(&format!("?after={}", some_id.as_str().unwrap())), std::slice::from_ref(&all_id));

    let email = show(&relay, &all_id);
    assert_eq!((&email["from"], &email["last_event"]), (&json!("a@example.test"), &json!("suppressed")));
    let recipients = email["recipients"].as_array().unwrap();
    assert!(recipients.iter().all(|r| r["last_event"] == "suppressed"), "{email}");
    assert!(recipients.iter().all(|r| r["detail"].as_str().unwrap().contains("no such user")), "{email}");
    assert_eq!(email["to"], json!(["x@example.net", "y@example.net"]));

    let mut later = hello(&json!(["x@example.net", "b@example.net"]));
    later["scheduled_at"] = json!("in 2 hours");
    let later = send(&relay, &later);
    assert_eq!(show(&relay, &later["id"])["last_event"], "scheduled", "the other one is sent to");

    let personal = json!({"from": "a@example.test", "subject": "Hi", "text": "Hi",
        "recipients": [{"email": "x@example.net"}, {"email": "b@example.net"}]});
    let personal = send(&relay, &personal);
    let own: Vec<_> =
        personal["recipients"].as_array().unwrap().iter().map(|r| r["message_id"].clone()).collect();
    assert_eq!(own[0], personal["id"], "{personal}");
    assert_eq!(show(&relay, &own[0])["recipients"].as_array().unwrap().len(), 2, "the whole request");
}

#[test]
fn a_trial_keeps_nothing() {
    let (sink, relay) = relay();
    let mut body = hello(&json!("b@example.net"));
    body["dry_run"] = json!(true);
    let answer = send(&relay, &body);
    assert_eq!((&answer["dry_run"], &answer["recipients"][0]["status"]), (&json!(true), &json!("queued")));
    body["from"] = json!("a@other.test");
    assert_eq!(relay.call("POST", "/emails", &body).0, 422);
    assert_eq!(
        relay.call("GET", &format!("/emails/{}", answer["id"].as_str().unwrap()), &Value::Null).0,
        404
    );
    assert!(relay.events("email.queued").is_empty() && relay.events("email.rejected").is_empty());
    assert!(sink.all().is_empty());
}

#[test]
fn messages_are_listed_by_what_they_have() {
    let (_sink, relay) = relay();
    for n in 0..5 {
        let mut body = hello(&json!(format!("b{n}@example.net")));
        body["tags"] = json!([{"name": "n", "value": (n % 2).to_string()}]);
        body["scheduled_at"] = json!("in 1 hour");
        send(&relay, &body);
    }
    let list = |query: &str| {
        let (status, answer) = relay.call("GET", &format!("/emails{query}"), &Value::Null);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let to = |answer: &Value| -> Vec<String> {
        let data = answer["data"].as_array().unwrap();
        data.iter().map(|email| email["to"][0].as_str().unwrap().to_owned()).collect()
    };
    let first = list("?limit=2");
    assert_eq!(
        (to(&first), &first["has_more"]),
        (vec!["b4@example.net".into(), "b3@example.net".into()], &json!(true))
    );
    let by_id = list(&format!("?limit=10&after={}", first["data"][1]["id"].as_str().unwrap()));
    let by_cursor = list(&format!("?limit=10&after={}", first["next"].as_str().unwrap()));
    assert_eq!(to(&by_id), ["b2@example.net", "b1@example.net", "b0@example.net"]);
    assert_eq!(to(&by_id), to(&by_cursor));
    assert_eq!(to(&list("?tag=n:1")), ["b3@example.net", "b1@example.net"]);
    assert_eq!(to(&list("?to=B2@example.net")), ["b2@example.net"]);
    assert_eq!(to(&list("?to=@EXAMPLE.net&limit=3")).len(), 3);
    assert!(to(&list("?to=@example.org")).is_empty());
    assert_eq!((to(&list("?subject=HELL")).len(), to(&list("?subject=bye")).len()), (5, 0));
    assert_eq!(to(&list("?q=b2@ex")), ["b2@example.net"]);
    let one = list(&format!("?q={}", first["data"][0]["id"].as_str().unwrap()));
    assert_eq!((to(&one), &one["has_more"]), (vec!["b4@example.net".into()], &json!(false)));
    assert_eq!(relay.call("GET", &format!("/emails?q={}", "x".repeat(300)), &Value::Null).0, 422);
    assert!(to(&list("?status=delivered")).is_empty());
    assert_eq!(to(&list("?status=scheduled&tag=n")).len(), 5);
    assert_eq!(relay.call("GET", "/emails?tags=n", &Value::Null).0, 422);

    let (status, answer) = relay.call("POST", "/emails/cancel", &json!({"tag": {"name": "n", "value": "0"}}));
    assert_eq!((status, &answer["canceled"]), (200, &json!(3)), "{answer}");
    assert_eq!(to(&list("?status=canceled")).len(), 3);
    let (_, acts) = relay.call("GET", "/audit", &Value::Null);
    let act = &acts["data"][0];
    assert_eq!((&act["action"], &act["subject"]), (&json!("POST /emails/cancel"), &json!("tag n:0")));
    assert_eq!(relay.call("POST", "/emails/cancel", &json!({})).0, 422);
}

#[test]
fn a_published_template_is_sent_with_its_variables() {
    let (sink, relay) = relay();
    let template =
        json!({"name": "Order", "alias": "order", "subject": "Order {{ n }}", "html": "<p>{{ n }}</p>"});
    let (status, created) = relay.call("POST", "/templates", &template);
    assert_eq!(status, 201, "{created}");
    let body = json!({"from": "a@example.test", "to": "b@example.net", "template": {"id": "order", "variables": {"n": 7}}});
    let (status, refused) = relay.call("POST", "/emails", &body);
    assert_eq!((status, &refused["param"]), (422, &json!("template.id")), "not published: {refused}");
    assert_eq!(relay.call("POST", "/templates/order/publish", &json!({})).0, 200);
    let answer = send(&relay, &body);
    assert!(sink.wait("Subject: Order 7").message.contains("<p>7</p>"));
    assert_eq!(show(&relay, &answer["id"])["template"], created["id"]);
    let body = json!({"from": "a@example.test", "to": "b@example.net", "template": {"id": "order"}});
    let (status, refused) = relay.call("POST", "/emails", &body);
    assert_eq!((status, &refused["param"]), (422, &json!("template.variables.n")), "{refused}");

    let dead = json!({"from": "a@example.test", "subject": "x", "html": "<a href=\"{{ unsubscribe_url }}\">leave</a>",
        "recipients": [{"email": "b@example.net"}]});
    let (status, refused) = relay.call("POST", "/emails", &dead);
    assert_eq!((status, &refused["param"]), (422, &json!("stream")), "nobody can leave it: {refused}");
}

#[test]
fn requests_at_the_same_time_are_all_answered() {
    let (_sink, relay) = relay();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let relay = &relay;
        let send =
            move |n: usize| relay.call("POST", "/emails", &hello(&json!(format!("b{n}@example.net")))).0;
        let all: Vec<_> = (0..16).map(|n| scope.spawn(move || send(n))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses, [202; 16]);
}
