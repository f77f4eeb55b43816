//! The content of a message by the API: while it waits, after its delivery, and once more.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use serde_json::{Value, json};
use support::client::request_with;
use support::relay::Relay;
use support::sink::Sink;
use support::wait_for;

fn relay(keep: bool) -> (Sink, Relay) {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", true);
    if keep {
        relay.stop();
        let text = std::fs::read_to_string(relay.config()).unwrap();
        let text = text.replace("id = \"acme\"\n", "id = \"acme\"\nkeep_content = \"7d\"\n");
        std::fs::write(relay.config(), text).unwrap();
        relay.spawn();
    }
    (sink, relay)
}

/// An answer that need not be JSON.
fn raw(relay: &Relay, path: &str) -> (u16, String, String) {
    let host = support::relay::API_HOST;
    let answer = request_with(relay.http, host, ("GET", path), Some(&relay.key), &[], "");
    (answer.status, answer.head, String::from_utf8(answer.body).unwrap())
}

fn ok(relay: &Relay, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = relay.call(method, path, body);
    assert!((200..300).contains(&status), "{method} {path}: {answer}");
    answer
}

fn send(relay: &Relay, to: &[&str]) -> String {
    let answer = ok(
        relay,
        "POST",
        "/emails",
        &json!({
            "from": "Ann <a@example.test>", "to": to, "subject": "Grüße", "tags": [{"name": "campaign", "value": "x"}],
            "html": "<p>Hello <a href=\"https://shop.example/spring\">shop</a></p>", "text": "Hello",
            "attachments": [{"filename": "a.txt", "content": "aGVsbG8="}],
        }),
    );
    answer["id"].as_str().unwrap().to_owned()
}

fn wait_until_finished(relay: &Relay, id: &str) {
    wait_for("finished", || {
        let email = ok(relay, "GET", &format!("/emails/{id}"), &Value::Null);
        let all = email["recipients"].as_array().unwrap().clone();
        all.iter()
            .all(|r| ["delivered", "bounced"].contains(&r["last_event"].as_str().unwrap()))
            .then_some(())
    });
}

#[test]
fn what_was_delivered_is_looked_at_and_sent_again() {
    let (sink, relay) = relay(true);
    let id = send(&relay, &["b@example.net", "reject-c@example.net"]);
    let received = sink.wait("shop");
    wait_until_finished(&relay, &id);
    // It is kept a moment after its last event.
    let (_, head, source) = wait_for("kept", || {
        Some(raw(&relay, &format!("/emails/{id}/source"))).filter(|(status, ..)| *status == 200)
    });
    let head = head.to_ascii_lowercase();
    assert!(head.contains("message/rfc822") && head.contains("nosniff"), "{head}");
    assert!(
        source.contains("https://shop.example/spring") && !source.contains("DKIM-Signature:"),
        "{source}"
    );
    let (_, _, copy) = raw(&relay, &format!("/emails/{id}/source?recipient=b@example.net"));
    assert_eq!(copy, received.message, "the copy is made again");
    let (status, stranger) =
        relay.call("GET", &format!("/emails/{id}/source?recipient=x@example.net"), &Value::Null);
    assert_eq!((status, &stranger["param"]), (422, &json!("recipient")), "{stranger}");

    let content = ok(&relay, "GET", &format!("/emails/{id}/content"), &Value::Null);
    let headers = content["headers"].as_array().unwrap();
    assert!(headers.contains(&json!({"name": "Subject", "value": "Grüße"})), "{content}");
    assert!(content["html"].as_str().unwrap().contains("shop.example"), "{content}");
    assert_eq!(content["text"].as_str().unwrap().trim_end(), "Hello");
    let file = &content["attachments"][0];
    assert_eq!((&file["filename"], &file["size"], &file["number"]), (&json!("a.txt"), &json!(5), &json!(0)));
    let (_, head, octets) = raw(&relay, &format!("/emails/{id}/attachments/0"));
    assert_eq!(octets, "hello");
    assert!(head.contains("attachment; filename=\"a.txt\""), "{head}");
    assert_eq!(raw(&relay, &format!("/emails/{id}/attachments/1")).0, 404);

    let changes = ok(&relay, "GET", &format!("/emails/{id}/changes?recipient=b@example.net"), &Value::Null);
    let link = &changes["links"][0];
    assert_eq!(link["from"], "https://shop.example/spring", "{changes}");
    assert!(received.message.replace("=\r\n", "").contains(link["to"].as_str().unwrap()), "{changes}");
    assert_eq!((&changes["open_pixel"], changes["signatures"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(changes["headers_added"][0]["name"], "Received");
    assert_eq!(raw(&relay, &format!("/emails/{id}/changes")).0, 422, "it has several recipients");

    let again = ok(&relay, "POST", &format!("/emails/{id}/resend"), &json!({"to": ["b@example.net"]}));
    assert_eq!(again["resent_from"], json!(id));
    assert_ne!(again["id"], json!(id));
    assert_eq!(again["recipients"][0]["email"], "b@example.net");
    wait_for("a second copy", || (sink.all().len() == 2).then_some(()));
    let second = sink.all().pop().unwrap();
    assert_eq!(second.to, ["b@example.net"]);
    assert!(second.message.contains("Hello") && second.message.contains("DKIM-Signature:"));
    let email = ok(&relay, "GET", &format!("/emails/{}", again["id"].as_str().unwrap()), &Value::Null);
    assert_eq!((&email["tags"][0]["name"], &email["to"]), (&json!("campaign"), &json!(["b@example.net"])));

    let failed = ok(&relay, "POST", &format!("/emails/{id}/resend"), &json!({}));
    assert_eq!(failed["recipients"][0]["email"], "reject-c@example.net", "{failed}");
    let (status, refused) =
        relay.call("POST", &format!("/emails/{id}/resend"), &json!({"to": ["x@example.net"]}));
    assert_eq!((status, &refused["param"]), (422, &json!("to[0]")), "{refused}");
}

#[test]
fn what_waits_is_read_from_the_queue_and_then_gone() {
    let (sink, relay) = relay(false);
    let id = send(&relay, &["wait-b@example.net"]);
    let (status, _, source) = raw(&relay, &format!("/emails/{id}/source"));
    assert_eq!(status, 200, "{source}");
    let (status, refused) =
        relay.call("POST", &format!("/emails/{id}/resend"), &json!({"to": ["wait-b@example.net"]}));
    assert_eq!((status, &refused["name"]), (409, &json!("conflict")), "{refused}");
    sink.open();
    wait_until_finished(&relay, &id);
    let gone = wait_for("gone", || {
        let (status, answer) = relay.call("GET", &format!("/emails/{id}/content"), &Value::Null);
        (status == 410).then_some(answer)
    });
    assert_eq!(gone["name"], "gone");
    assert!(gone["message"].as_str().unwrap().contains("keep_content"), "{gone}");
    assert_eq!(relay.call("POST", &format!("/emails/{id}/resend"), &json!({})).0, 410);
    let unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    assert_eq!(relay.call("GET", &format!("/emails/{unknown}/content"), &Value::Null).0, 404);

    let later = ok(
        &relay,
        "POST",
        "/emails",
        &json!({"from": "a@example.test", "to": "b@example.net", "subject": "x", "text": "x", "scheduled_at": "in 1 hour"}),
    );
    let path = format!("/emails/{}/resend", later["id"].as_str().unwrap());
    let (status, refused) = relay.call("POST", &path, &json!({}));
    assert_eq!(status, 409, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("not sent before"), "{refused}");
}
