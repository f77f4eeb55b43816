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
    let made = anew("digest-of-body-1", "four");
    assert_eq!((made.status, anew("digest-of-body-1", "five").json()), (202, made.json()));
    assert_eq!(anew("digest-of-body-2", "six").status, 409);
    let short = anew("", "seven");
    assert_eq!((short.status, &short.json()["param"]), (422, &json!("x-relevo-digest")));

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
fn a_permissive_request_has_one_answer() {
    let (sink, relay) = relay();
    let mut foreign = finished("foreign", &["b@example.net"]);
    foreign["message"] = json!("From: a@somebody.example\r\nSubject: foreign\r\n\r\nx\r\n");
    let good = finished("good", &["b@example.net"]);
    let body = json!({"emails": [{"messages": [foreign]}, {"messages": [good]}]}).to_string();
    let host = relay.http.to_string();
    let ask = |validation: &str| {
        let fields = [("Idempotency-Key", "p"), ("x-batch-validation", validation)];
        request_with(relay.http, &host, ("POST", "/relay"), Some(&relay.key), &fields, &body)
    };
    assert_eq!(ask("strict").status, 422);
    let first = ask("permissive");
    assert_eq!(first.status, 202, "{}", first.json());
    let answer = first.json();
    let error = &answer["errors"][0];
    assert_eq!((&error["index"], &error["param"]), (&json!(0), &json!("emails[0].messages[0]")), "{answer}");
    assert_eq!(answer["data"].as_array().unwrap().len(), 1);
    assert_eq!((ask("permissive").json(), ask("strict").status, ask("both").status), (answer, 409, 422));
    sink.wait("Subject: good");
}

#[test]
fn header_fields_of_a_finished_message_count_or_are_refused() {
    let (_sink, relay) = relay();
    let with = |field: &str| {
        let mut message = finished("x", &["b@example.net"]);
        message["message"] = json!(format!("From: a@example.test\r\nSubject: x\r\n{field}\r\n\r\nx\r\n"));
        relay.call("POST", "/relay", &json!({"emails": [{"messages": [message]}]}))
    };
    let (status, answer) = with("X-Relevo-Send-At: in 2 hours");
    let email = &answer["data"][0];
    assert_eq!((status, &email["recipients"][0]["status"]), (202, &json!("scheduled")), "{answer}");
    assert!(email["scheduled_at"].is_string(), "{answer}");
    // A key of one message cannot stand for a request that is accepted whole.
    let (status, answer) = with("X-Relevo-Idempotency-Key: order-17");
    assert_eq!((status, &answer["param"]), (422, &json!("emails[0].messages[0]")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("X-Relevo-Idempotency-Key"), "{answer}");
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

#[test]
fn a_key_for_the_edge_reads_what_may_be_sent() {
    let (_sink, relay) = relay();
    let (_, made) = relay.call("POST", "/api-keys", &json!({"name": "edge", "scopes": ["relay"]}));
    let token = made["token"].as_str().unwrap().to_owned();
    let host = relay.http.to_string();
    let ask = |path: &str, known: &str| {
        let fields = [("If-None-Match", known)];
        request_with(relay.http, &host, ("GET", path), Some(&token), &fields, "")
    };
    let stored = |fields: &Value| {
        let (status, made) = relay.call("POST", "/templates", fields);
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    };
    let publish = |name: &str| {
        let (status, answer) = relay.call("POST", &format!("/templates/{name}/publish"), &json!({}));
        assert_eq!(status, 200, "{answer}");
    };
    stored(&json!({"name": "hello", "alias": "hello", "html": "Hello {{ name }}"}));
    publish("hello");
    let id = stored(&json!({
        "name": "Welcome", "alias": "welcome", "subject": "Welcome", "html": "<p>{% include 'hello' %}</p>",
        "variables": [{"key": "name", "type": "string", "fallback_value": "there"}, {"key": "x", "type": "string"}],
    }));
    // A draft is not for sending, unless it is asked for.
    let draft = ask("/relay/templates/welcome", "");
    assert_eq!(draft.status, 404, "{}", draft.json());
    assert_eq!(ask("/relay/templates/welcome?version=1", "").json()["version"], 1);
    assert_eq!(ask("/relay/templates/welcome?version=2", "").status, 404);
    assert_eq!(ask("/relay/templates/welcome?versio=2", "").status, 422);
    publish("welcome");
    let first = ask("/relay/templates/welcome", "");
    let tag = first.field("etag").unwrap().to_owned();
    let partial =
        json!({"name": "hello", "subject": "", "html": "Hello {{ name }}", "mjml": null, "text": null});
    let source = json!({
        "subject": "Welcome", "html": "<p>{% include 'hello' %}</p>", "mjml": null, "text": null, "partials": [partial],
    });
    let expected = json!({"id": id, "version": 1, "source": source, "fallbacks": {"name": "there"}});
    assert_eq!(first.json(), expected);
    let same = ask(&format!("/relay/templates/{id}"), &tag);
    assert_eq!((same.status, same.field("etag")), (304, Some(tag.as_str())));

    // What it names is a part of it.
    let (status, _) = relay.call("PATCH", "/templates/hello", &json!({"html": "Dear {{ name }}"}));
    assert_eq!((status, ask("/relay/templates/welcome", &tag).status), (200, 304), "not yet published");
    publish("hello");
    let changed = ask("/relay/templates/welcome", &tag);
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["source"]["partials"][0]["html"], "Dear {{ name }}");

    let (status, _) = relay.call("DELETE", "/templates/welcome", &Value::Null);
    assert_eq!((status, ask("/relay/templates/welcome", &tag).status), (200, 404));
    let read = request_with(relay.http, &host, ("GET", "/templates/hello"), Some(&token), &[], "");
    assert_eq!(read.status, 403, "templates themselves are for other keys");
}

#[test]
fn a_stored_template_is_rendered_by_the_name() {
    let (_sink, relay) = relay();
    let fields =
        json!({"name": "n", "alias": "order", "subject": "Order {{ n }}", "text": "{{ n }} {{ who }}"});
    assert_eq!(relay.call("POST", "/templates", &fields).0, 201);
    let render = |body: Value| relay.call("POST", "/render", &body);
    let variables = json!({"n": 7, "who": "Ana"});
    let (status, refused) = render(json!({"template": {"id": "order"}, "variables": variables}));
    assert_eq!((status, &refused["param"]), (422, &json!("template.id")), "a draft: {refused}");
    let (status, rendered) =
        render(json!({"template": {"id": "order", "version": 1}, "variables": variables}));
    assert_eq!((status, &rendered["subject"], &rendered["text"]), (200, &json!("Order 7"), &json!("7 Ana")));
    let own = json!({"template": {"id": "order", "version": 1}, "subject": "For {{ who }}", "variables": variables});
    assert_eq!(render(own).1["subject"], "For Ana");
    let (status, refused) = render(json!({"template": {"id": "order", "version": 1}, "variables": {"n": 1}}));
    assert_eq!((status, &refused["param"]), (422, &json!("variables.who")), "{refused}");
    let (status, refused) = render(json!({"template": {"id": "order"}, "text": "x"}));
    assert_eq!((status, &refused["param"]), (422, &json!("text")), "{refused}");
}
