//! Marketing mail by HTTP: its List-Unsubscribe fields, one-click, the page, and the way back.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use serde_json::{Value, json};
use support::client::{Answer, get, request};
use support::relay::Relay;
use support::sink::Sink;

/// The API under a name of its own: that of the address is the tracking host.
fn call(relay: &Relay, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = request(relay.http, "api.test", (method, path), Some(&relay.key), &body);
    (answer.status, answer.json())
}

fn post(relay: &Relay, path: &str, body: &str) -> Answer {
    request(relay.http, &relay.http.to_string(), ("POST", path), None, body)
}

fn events(relay: &Relay, kind: &str) -> Vec<Value> {
    let (_, answer) = call(relay, "GET", "/events?after=0&limit=1000", &Value::Null);
    let events = answer["events"].as_array().unwrap().clone();
    events.into_iter().filter(|event| event["type"] == kind).collect()
}

fn status(relay: &Relay, mail: &Value) -> String {
    let (status, answer) = call(relay, "POST", "/emails", mail);
    assert_eq!(status, 202, "{answer}");
    answer["recipients"][0]["status"].as_str().unwrap().to_owned()
}

/// Header fields, unfolded.
fn fields<'a>(header: &'a str, name: &str) -> Vec<&'a str> {
    let prefix = format!("{name}: ");
    header.split("\r\n").filter_map(|line| line.strip_prefix(prefix.as_str())).collect()
}

#[test]
fn a_recipient_of_marketing_mail_leaves_and_comes_back() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", true);
    let mail = json!({
        "from": "a@example.test", "to": "b@example.net", "subject": "News", "stream": "marketing",
        "tags": [{"name": "campaign", "value": "spring"}],
        "html": "<p><a href=\"https://unsubscribe.invalid/\">leave</a> <a href=\"https://shop.test/\">shop</a></p>",
    });
    assert_eq!(status(&relay, &mail), "queued");
    let message = sink.wait("Subject: News").message.replace("\r\n ", " ").replace("\r\n\t", " ");
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    assert_eq!(fields(header, "List-Unsubscribe-Post"), ["List-Unsubscribe=One-Click"]);
    let list = fields(header, "List-Unsubscribe");
    let url = list[0].trim_matches(['<', '>']);
    let path = url.strip_prefix(&format!("http://{}", relay.http)).unwrap();
    let signatures = fields(header, "DKIM-Signature");
    assert_eq!(signatures.len(), 2);
    for signature in signatures {
        let signed = signature.split(';').find_map(|tag| tag.trim().strip_prefix("h=")).unwrap();
        let names: Vec<String> = signed.split(':').map(|name| name.trim().to_ascii_lowercase()).collect();
        for name in ["list-unsubscribe", "list-unsubscribe-post"] {
            assert!(names.iter().any(|n| n == name), "{signed}");
        }
    }
    let body = body.replace("=\r\n", "");
    assert!(body.contains(url) && !body.contains("unsubscribe.invalid"), "{body}");
    assert_eq!(body.matches("/c/").count(), 1, "the shop is a click, leaving is none");

    let host = relay.http.to_string();
    for _ in 0..2 {
        let page = get(relay.http, &host, path, None);
        assert_eq!(page.status, 200);
        assert!(String::from_utf8_lossy(&page.body).contains("example.test"));
    }
    assert_eq!(status(&relay, &mail), "queued", "looking changes nothing");
    for _ in 0..2 {
        let answer = post(&relay, path, "List-Unsubscribe=One-Click");
        assert_eq!((answer.status, answer.field("location")), (200, None));
    }
    let left = events(&relay, "email.unsubscribed");
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((&left[0]["list"], &left[0]["method"]), (&json!("marketing"), &json!("one_click")));
    assert_eq!(left[0]["tags"], mail["tags"]);
    assert_eq!(status(&relay, &mail), "suppressed");
    let mut order = mail.clone();
    order["stream"] = json!("transactional");
    order["html"] = json!("<p>Your order</p>");
    assert_eq!(status(&relay, &order), "queued");

    let back = post(&relay, &format!("{path}/return"), "");
    assert!(String::from_utf8_lossy(&back.body).contains("You are subscribed again"));
    assert_eq!(events(&relay, "email.resubscribed").len(), 1);
    assert_eq!(status(&relay, &mail), "queued");
}

#[test]
fn a_template_has_the_url_where_mail_can_be_left() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", true);
    let template = json!({"name": "News", "alias": "news", "subject": "Issue {{ n }}",
        "html": "<p>{{ n }} <a href=\"{{ unsubscribe_url }}\">leave</a></p>"});
    assert_eq!(call(&relay, "POST", "/templates", &template).0, 201);
    assert_eq!(call(&relay, "POST", "/templates/news/publish", &json!({})).0, 200);
    let mail = json!({"from": "a@example.test", "to": "b@example.net", "stream": "marketing",
        "template": {"id": "news", "variables": {"n": 7}}});
    assert_eq!(status(&relay, &mail), "queued");
    let message = sink.wait("Subject: Issue 7").message.replace("=\r\n", "");
    let start = format!("<a href=3D\"http://{}/u/", relay.http);
    let plain = start.replace("=3D", "=");
    assert!(message.contains(&start) || message.contains(&plain), "{message}");
}
