//! Suppressed addresses: refused at RCPT with the reason, over HTTP listed, imported, exported and
//! removed, and still there after a kill.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use serde_json::{Value, json};
use support::client::request;
use support::relay::Relay;
use support::sink::Sink;

const MESSAGE: &str = "From: a@example.test\r\nTo: b@example.net\r\nSubject: Hi\r\n\r\nHello\r\n";

fn relay() -> (Sink, Relay) {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    (sink, relay)
}

fn add(relay: &Relay, fields: &Value) -> Value {
    let (status, answer) = relay.call("POST", "/suppressions", fields);
    assert_eq!(status, 201, "{answer}");
    answer
}

fn addresses(relay: &Relay, path: &str) -> Vec<String> {
    let (status, answer) = relay.call("GET", path, &Value::Null);
    assert_eq!(status, 200, "{answer}");
    let data = answer["data"].as_array().unwrap();
    data.iter().map(|entry| entry["email"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_suppressed_recipient_is_refused_with_the_reason_until_it_is_removed() {
    let (sink, mut relay) = relay();
    let entry =
        add(&relay, &json!({"email": "Gone@Example.NET", "reason": "bounce", "note": "no such user"}));
    assert_eq!((&entry["email"], &entry["stream"]), (&json!("gone@example.net"), &json!("all")));
    add(&relay, &json!({"email": "news@example.net", "stream": "marketing", "reason": "unsubscribe"}));
    add(&relay, &json!({"email": "quiet@example.net", "stream": "transactional"}));
    relay.kill();
    relay.spawn();

    let mut client = relay.login();
    client.expect("MAIL FROM:<a@example.test>", "250");
    let refused = client.expect("RCPT TO:<gone@example.net>", "550 5.7.1");
    assert!(refused.contains("suppressed since 20") && refused.contains("bounce no such user"), "{refused}");
    client.expect("RCPT TO:<news@example.net>", "250");
    client.expect("RCPT TO:<quiet@example.net>", "250");
    client.expect("DATA", "354");
    client.send(MESSAGE.as_bytes());
    client.expect(".", "250");
    let received = sink.wait("Subject: Hi");
    assert_eq!(received.to, ["news@example.net"], "its own stream refuses the other one after DATA");
    let rejected = relay.events("email.rejected");
    assert_eq!(rejected[0]["recipients"], json!(["quiet@example.net"]), "{rejected:?}");

    assert_eq!(relay.call("DELETE", "/suppressions/gone%40example.net", &Value::Null).0, 200);
    client.expect("MAIL FROM:<a@example.test>", "250");
    client.expect("RCPT TO:<gone@example.net>", "250");
    let kinds = |kind: &str| relay.events(kind).iter().map(|e| e["recipient"].clone()).collect::<Vec<_>>();
    assert_eq!(kinds("suppression.added").len(), 3);
    assert_eq!(kinds("suppression.removed"), [json!("gone@example.net")]);
}

#[test]
fn lists_are_imported_exported_and_removed_in_bulk() {
    let (_sink, relay) = relay();
    let host = relay.http.to_string();
    let import = |csv: &str| {
        let answer = request(relay.http, &host, ("POST", "/suppressions/import"), Some(&relay.key), csv);
        (answer.status, answer.json())
    };
    let csv = "email,stream,reason,detail\nA@example.net,all,bounce,\"550 \"\"no\"\", gone\"\nb@example.net,,,\nc@example.org,marketing,unsubscribe,=1+1\nb@example.net,,,\n";
    let (status, answer) = import(csv);
    assert_eq!((status, &answer["count"]), (200, &json!(3)), "{answer}");
    assert_eq!(import(csv).1["count"], json!(0), "nothing is added twice");
    for (csv, param) in [
        ("address\na@example.net\n", "line 1"),
        ("email\nnobody\n", "line 2"),
        ("email,reason\nx@example.net,manual\ny@example.net,because\n", "line 3"),
    ] {
        let (status, answer) = import(csv);
        assert_eq!((status, &answer["param"]), (422, &json!(param)), "{answer}");
    }
    assert_eq!(addresses(&relay, "/suppressions"), ["a@example.net", "b@example.net", "c@example.org"]);
    assert_eq!(addresses(&relay, "/suppressions?domain=example.org"), ["c@example.org"]);
    assert_eq!(addresses(&relay, "/suppressions?email=A@example.NET"), ["a@example.net"]);
    assert_eq!(relay.call("GET", "/suppressions?email=nobody", &Value::Null).0, 422);
    assert_eq!(addresses(&relay, "/suppressions?reason=bounce&stream=all"), ["a@example.net"]);
    let (_, first) = relay.call("GET", "/suppressions?limit=2", &Value::Null);
    assert_eq!(first["has_more"], true);
    let last = first["data"][1]["id"].as_str().unwrap();
    assert_eq!(addresses(&relay, &format!("/suppressions?after={last}")), ["c@example.org"]);

    let exported = relay.get("/suppressions/export");
    let text = String::from_utf8(exported.body).unwrap();
    assert!(text.contains("a@example.net,all,bounce,\"550 \"\"no\"\", gone\",20"), "{text}");
    assert!(text.contains("c@example.org,marketing,unsubscribe,'=1+1,"), "no formula: {text}");
    assert_eq!(import(&text).1["count"], json!(0), "what is exported is read again");
    assert_eq!(relay.call("DELETE", "/suppressions/c%40example.org", &Value::Null).0, 200);
    assert_eq!(import(&text).1["count"], json!(1));
    let (_, entry) = relay.call("GET", "/suppressions/c%40example.org", &Value::Null);
    assert_eq!((&entry["detail"], &entry["stream"]), (&json!("=1+1"), &json!("marketing")));

    let remove = |conditions: Value| relay.call("POST", "/suppressions/remove", &conditions);
    assert_eq!(remove(json!({})).0, 422, "never everything by mistake");
    for (conditions, param) in [
        (json!({"since": "soon"}), "since"),
        (json!({"since": "in 1 hour"}), "since"),
        (json!({"until": "in 1 hour"}), "until"),
        (json!({"reason": "because"}), "reason"),
        (json!({"stream": "bulk"}), "stream"),
        (json!({"stream": "topic:a\nb"}), "stream"),
    ] {
        let (status, answer) = remove(conditions.clone());
        assert_eq!((status, &answer["param"]), (422, &json!(param)), "{conditions}: {answer}");
    }
    assert_eq!(remove(json!({"until": "2020-01-01T00:00:00Z"})).1["count"], 0);
    assert_eq!(remove(json!({"domain": "example.net", "reason": "manual"})).1["count"], 1);
    let (_, acts) = relay.call("GET", "/audit", &Value::Null);
    let act = &acts["data"][0];
    let said = (&act["action"], &act["subject"], &act["result"]);
    let subject = json!("domain example.net, reason manual");
    assert_eq!(said, (&json!("POST /suppressions/remove"), &subject, &json!("done")));
    let (status, batch) =
        relay.call("POST", "/suppressions/batch/add", &json!({"emails": ["d@example.net", "x"]}));
    assert_eq!((status, &batch["param"]), (422, &json!("emails[1]")), "{batch}");
    let (_, batch) = relay.call("POST", "/suppressions/batch/add", &json!({"emails": ["d@example.net"]}));
    assert_eq!(batch["data"][0]["email"], "d@example.net");
    relay.call("POST", "/suppressions/batch/remove", &json!({"emails": ["d@example.net", "a@example.net"]}));
    assert_eq!(addresses(&relay, "/suppressions"), ["c@example.org"]);
}

#[test]
fn every_spelling_of_an_address_is_the_same_mailbox() {
    let (_sink, relay) = relay();
    add(&relay, &json!({"email": "Ana@example.net"}));
    add(&relay, &json!({"email": "=a+b@example.net"}));
    add(&relay, &json!({"email": "\"a b\"@example.net"}));
    let mut client = relay.login();
    client.expect("MAIL FROM:<a@example.test>", "250");
    for spelling in
        ["ana@example.net", "\"ana\"@example.net", "\"A\\na\"@example.net", "\"A\\ b\"@example.net"]
    {
        client.expect(&format!("RCPT TO:<{spelling}>"), "550 5.7.1");
    }
    let exported = relay.get("/suppressions/export");
    let text = String::from_utf8(exported.body).unwrap();
    let all = addresses(&relay, "/suppressions");
    relay.call("POST", "/suppressions/remove", &json!({"domain": "example.net"}));
    let host = relay.http.to_string();
    let answer = request(relay.http, &host, ("POST", "/suppressions/import"), Some(&relay.key), &text);
    assert_eq!(answer.json()["count"], json!(3), "{text}");
    assert_eq!(addresses(&relay, "/suppressions"), all);
}

#[test]
fn an_import_has_a_limit() {
    let (_sink, relay) = relay();
    let mut csv = "email\n".to_owned();
    for n in 0..=100_000 {
        csv.push_str(&format!("{n}@example.net\n"));
    }
    let host = relay.http.to_string();
    let answer = request(relay.http, &host, ("POST", "/suppressions/import"), Some(&relay.key), &csv);
    assert_eq!((answer.status, &answer.json()["name"]), (413, &json!("payload_too_large")));
    assert_eq!(addresses(&relay, "/suppressions"), Vec::<String>::new());
}

#[test]
fn mistakes_are_named() {
    let (_sink, relay) = relay();
    for (fields, param) in [
        (json!({"email": "nobody"}), "email"),
        (json!({"email": "a@example.net", "stream": "bulk"}), "stream"),
        (json!({"email": "a@example.net", "reason": "because"}), "reason"),
        (json!({"emial": "a@example.net"}), "emial"),
        (json!({"email": "a@example.net", "note": "x".repeat(501)}), "note"),
    ] {
        let (status, answer) = relay.call("POST", "/suppressions", &fields);
        assert_eq!((status, &answer["param"]), (422, &json!(param)), "{fields}: {answer}");
    }
    for path in ["/suppressions/a%40example.net", "/suppressions/01J"] {
        assert_eq!(relay.call("GET", path, &Value::Null).0, 404);
        assert_eq!(relay.call("DELETE", path, &Value::Null).0, 404);
    }
    for (query, param) in [
        ("after=01J", "after"),
        ("reason=because", "reason"),
        ("stream=bulk", "stream"),
        ("since=in+1+hour", "since"),
        ("origin=bounce", "query"),
    ] {
        let (status, answer) = relay.call("GET", &format!("/suppressions?{query}"), &Value::Null);
        assert_eq!((status, &answer["param"]), (422, &json!(param)), "{query}: {answer}");
    }
    assert_eq!(add(&relay, &json!({"email": "a@example.net"}))["origin"], "manual");
    let (status, again) =
        relay.call("POST", "/suppressions", &json!({"email": "A@EXAMPLE.net", "reason": "bounce"}));
    assert_eq!((status, &again["origin"]), (200, &json!("manual")), "an entry stays as it is");
}
