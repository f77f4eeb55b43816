//! `POST /relay`: finished messages by HTTP.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

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

fn finished(subject: &str, to: &[&str]) -> Value {
    let message = format!(
        "From: a@example.test\nTo: undisclosed-recipients:;\nSubject: {subject}\nX-Own: kept\n\n.Hello\n"
    );
    json!({"sender": "bounces@example.test", "recipients": to, "message": message})
}

fn hand_over(relay: &Relay, key: &str, body: &Value) -> Answer {
    let host = relay.http.to_string();
    let fields = [("Idempotency-Key", key)];
    request_with(relay.http, &host, ("POST", "/relay"), Some(&relay.key), &fields, &body.to_string())
}

#[test]
fn finished_messages_are_signed_and_sent_once_for_their_key() {
    let (sink, relay) = relay();
    let body = json!({"emails": [
        {"tags": [{"name": "edge", "value": "1"}], "messages": [finished("one", &["b@example.net", "c@example.net"])]},
        {"messages": [finished("two", &["d@example.net"]), finished("three", &["e@example.net"])]},
    ]});
    let first = hand_over(&relay, "k1", &body);
    assert_eq!(first.status, 202, "{}", first.json());
    let answer = first.json();
    let emails = answer["data"].as_array().unwrap();
    assert_eq!((emails.len(), &emails[0]["id"]), (2, &answer["id"]));
    assert_eq!(emails[0]["recipients"][1]["email"], "c@example.net");
    assert_eq!(emails[1]["recipients"][0]["message_id"], emails[1]["id"], "each has its own");
    let again = hand_over(&relay, "k1", &body);
    assert_eq!((again.status, again.json()), (202, answer.clone()));
    assert_eq!(again.field("idempotent-replayed"), Some("true"));
    let other = json!({"emails": [{"messages": [finished("other", &["b@example.net"])]}]});
    assert_eq!(hand_over(&relay, "k1", &other).status, 409);

    // Who makes the messages anew for each try says what the key stands for.
    let host = relay.http.to_string();
    let anew = |digest: &str, subject: &str| {
        let body =
            json!({"emails": [{"dry_run": false, "messages": [finished(subject, &["b@example.net"])]}]});
        let fields = [("Idempotency-Key", "k2"), ("X-Relevo-Digest", digest)];
        request_with(relay.http, &host, ("POST", "/relay"), Some(&relay.key), &fields, &body.to_string())
    };
    let made = anew("d1", "four");
    assert_eq!((made.status, anew("d1", "five").json()), (202, made.json()));
    assert_eq!(anew("d2", "six").status, 409);

    for subject in ["one", "two", "three", "four"] {
        let received = sink.wait(&format!("Subject: {subject}\r\n")).message;
        assert_eq!(received.matches("DKIM-Signature:").count(), 2, "{received}");
        assert!(received.contains("X-Own: kept\r\n") && received.contains("with HTTP"), "{received}");
        assert!(received.contains("Message-ID: ") && received.contains("Date: "), "{received}");
        assert!(received.contains("\r\n\r\n.Hello\r\n"), "{received}");
    }
    let path = format!("/emails/{}", answer["id"].as_str().unwrap());
    wait_for("delivered", || {
        let (status, email) = relay.call("GET", &path, &Value::Null);
        (status == 200 && email["last_event"] == "delivered" && email["tags"][0]["name"] == "edge")
            .then_some(())
    });
    assert_eq!(sink.all().iter().filter(|r| r.message.contains("Subject: two")).count(), 1);
}

#[test]
fn nothing_that_was_judged_elsewhere_is_trusted() {
    let (sink, relay) = relay();
    let mut foreign = finished("foreign", &["b@example.net"]);
    foreign["message"] = json!("From: a@somebody.example\r\nSubject: foreign\r\n\r\nx\r\n");
    let (status, _) =
        relay.call("POST", "/suppressions", &json!({"email": "no@example.net", "reason": "manual"}));
    assert!(status < 300, "{status}");
    let good = finished("good", &["b@example.net"]);
    let (status, answer) = relay.call(
        "POST",
        "/relay",
        &json!({"emails": [{"messages": [good]}, {"messages": [finished("x", &["b@example.net"]), foreign]}]}),
    );
    assert_eq!((status, &answer["param"]), (422, &json!("emails[1].messages[1]")), "{answer}");
    assert!(relay.events("email.queued").is_empty(), "nothing of it was accepted");

    let mut sender = finished("sender", &["b@example.net"]);
    sender["sender"] = json!("a@somebody.example");
    let (status, answer) = relay.call("POST", "/relay", &json!({"emails": [{"messages": [sender]}]}));
    assert_eq!(status, 422, "{answer}");

    let mixed = finished("mixed", &["no@example.net", "b@example.net"]);
    let (status, answer) = relay.call("POST", "/relay", &json!({"emails": [{"messages": [mixed]}]}));
    assert_eq!(status, 202, "{answer}");
    let statuses: Vec<&Value> =
        answer["data"][0]["recipients"].as_array().unwrap().iter().map(|r| &r["status"]).collect();
    assert_eq!(statuses, ["suppressed", "queued"]);
    let trial = json!({"emails": [{"dry_run": true, "messages": [finished("trial", &["b@example.net"])]}]});
    assert_eq!(relay.call("POST", "/relay", &trial).0, 200);
    sink.wait("Subject: mixed");
    assert!(sink.all().iter().all(|r| !r.message.contains("Subject: good")));
}

#[test]
fn a_key_for_the_edge_hands_over_and_nothing_else() {
    let (_sink, relay) = relay();
    let (status, made) = relay.call(
        "POST",
        "/api-keys",
        &json!({"name": "edge", "scopes": ["relay"], "domain": "shop.example.test"}),
    );
    assert_eq!(status, 201, "{made}");
    let token = made["token"].as_str().unwrap();
    let host = relay.http.to_string();
    let ask = |method: &str, path: &str, body: &Value| {
        request_with(relay.http, &host, (method, path), Some(token), &[], &body.to_string())
    };
    let hello = json!({"from": "a@shop.example.test", "to": "b@example.net", "subject": "s", "text": "t"});
    assert_eq!(ask("POST", "/emails", &hello).status, 403);
    assert_eq!(ask("GET", "/events", &Value::Null).status, 403);
    // The domain of the key is asked about the From of the message, not about the envelope alone.
    let mut message = finished("x", &["b@example.net"]);
    message["sender"] = json!("bounces@shop.example.test");
    let refused = ask("POST", "/relay", &json!({"emails": [{"messages": [message.clone()]}]}));
    assert_eq!(refused.status, 422, "{}", refused.json());
    assert!(refused.json()["message"].as_str().unwrap().contains("domain-of-key"), "{}", refused.json());
    message["message"] = json!("From: a@shop.example.test\r\nSubject: x\r\n\r\nx\r\n");
    let taken = ask("POST", "/relay", &json!({"emails": [{"messages": [message]}]}));
    assert_eq!(taken.status, 202, "{}", taken.json());
}
