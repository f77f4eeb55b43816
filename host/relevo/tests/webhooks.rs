//! Webhooks: a message that comes by SMTP makes signed requests, which survive a kill.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use relevo_mailkit::webhook::{WebhookSecret, signature};
use serde_json::{Value, json};
use support::relay::Relay;
use support::sink::Sink;
use support::wait_for;

const MESSAGE: &str = "From: a@example.test\r\nTo: b@example.net\r\nSubject: Hi\r\n\r\nHello\r\n";
const CONFIG: &str = "[webhooks]\nallow_http = true\nallow_networks = [\"127.0.0.0/8\"]\nmax_endpoints = 2\nretry = [\"1s\", \"1s\"]\n";

/// A request to a hook.
#[derive(Debug, Clone)]
struct Request {
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(key, _)| key == name);
        &found.unwrap_or_else(|| panic!("no {name}: {:?}", self.fields)).1
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A server that notes requests, and answers with the status that a test has set.
#[derive(Clone)]
struct Hook {
    url: String,
    status: Arc<Mutex<u16>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Hook {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let hook = Self { url, status: Arc::new(Mutex::new(204)), requests: Arc::default() };
        let serving = hook.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hook = serving.clone();
                std::thread::spawn(move || hook.serve(stream));
            }
        });
        hook
    }

    fn answers(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    fn serve(&self, stream: TcpStream) {
        let mut read = BufReader::new(&stream);
        let mut fields = Vec::new();
        loop {
            let mut line = String::new();
            if read.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.trim_end().split_once(": ") {
                fields.push((name.to_ascii_lowercase(), value.to_owned()));
            }
        }
        let length = fields.iter().find(|(name, _)| name == "content-length");
        let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
        if read.read_exact(&mut body).is_err() {
            return;
        }
        self.requests.lock().unwrap().push(Request { fields, body });
        let status = *self.status.lock().unwrap();
        let _ = (&stream).write_all(format!("HTTP/1.1 {status} S\r\nContent-Length: 0\r\n\r\n").as_bytes());
    }

    /// Waits for a request of this type that answers a condition.
    fn wait(&self, kind: &str, fits: impl Fn(&Request) -> bool) -> Request {
        wait_for(kind, || {
            let requests = self.requests.lock().unwrap().clone();
            requests.into_iter().find(|request| request.json()["type"] == kind && fits(request))
        })
    }
}

fn relay() -> (Sink, Relay) {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, CONFIG, false);
    (sink, relay)
}

fn create(relay: &Relay, fields: &Value) -> Value {
    let (status, answer) = relay.call("POST", "/webhooks", fields);
    assert_eq!(status, 201, "{answer}");
    answer
}

fn is_signed(request: &Request, secret: &str) -> bool {
    let secret = WebhookSecret::parse(secret).unwrap();
    let timestamp = request.field("webhook-timestamp").parse().unwrap();
    let expected = signature(&[secret], request.field("webhook-id"), timestamp, &request.body);
    request.field("webhook-signature").split(' ').any(|one| one == expected)
}

#[test]
fn a_message_by_smtp_makes_signed_requests() {
    let (_sink, mut relay) = relay();
    let hook = Hook::start();
    let made = create(
        &relay,
        &json!({"endpoint": hook.url, "events": ["email.delivered", "email.sent"], "headers": {"X-Shop": "1"}}),
    );
    let (id, secret) = (made["id"].as_str().unwrap(), made["signing_secret"].as_str().unwrap());
    assert_eq!((&made["object"], &made["status"]), (&json!("webhook"), &json!("enabled")));
    let mut client = relay.login();
    let reply = client.transact("a@example.test", &["b@example.net"], MESSAGE);
    assert!(reply.starts_with("250"), "{reply}");
    let sent = hook.wait("email.sent", |_| true);
    let delivered = hook.wait("email.delivered", |_| true);
    for request in [&sent, &delivered] {
        assert!(is_signed(request, secret), "{request:?}");
        assert_eq!(request.field("svix-signature"), request.field("webhook-signature"));
        assert_eq!(request.field("x-shop"), "1");
        assert_eq!(request.json()["data"]["to"], json!(["b@example.net"]));
    }
    assert_eq!(sent.json()["data"]["email_id"], delivered.json()["data"]["email_id"]);

    // It fails, the relay is killed, and the delivery goes on where it was.
    hook.answers(500);
    client.transact("a@example.test", &["c@example.net"], MESSAGE);
    let of_c = |request: &Request| request.json()["data"]["to"] == json!(["c@example.net"]);
    let failed = hook.wait("email.delivered", of_c);
    // What was answered is written down first. Otherwise the delivery is repeated when its lease lapses,
    // which takes longer than a test waits.
    std::thread::sleep(std::time::Duration::from_millis(500));
    relay.kill();
    hook.answers(200);
    relay.spawn();
    let again = |request: &Request| of_c(request) && request.fields != failed.fields;
    let repeated = hook.wait("email.delivered", again);
    assert_eq!(repeated.field("webhook-id"), failed.field("webhook-id"));

    let delivery = failed.field("webhook-id");
    let shown = wait_for("the success", || {
        let (status, shown) = relay.call("GET", &format!("/webhooks/{id}/events/{delivery}"), &Value::Null);
        assert_eq!(status, 200, "{shown}");
        (shown["status"] == "success").then_some(shown)
    });
    assert_eq!((&shown["object"], &shown["payload"]), (&json!("webhook_event"), &repeated.json()));
    let path = format!("/webhooks/{id}/deliveries/{delivery}/attempts?status=success");
    let (_, attempts) = relay.call("GET", &path, &Value::Null);
    assert_eq!(attempts["data"][0]["http_status_code"], 200, "{attempts}");
    let metrics = String::from_utf8(relay.get("/metrics").body).unwrap();
    assert!(metrics.contains("relevo_webhook_attempts_total{result=\"success\"}"), "{metrics}");
    for reader in ["relevo_webhook_reader", "relevo_statistics"] {
        assert!(metrics.contains(&format!("\n{reader}_delay_seconds ")), "{metrics}");
    }

    // A replay has the same id; a rotated secret signs beside the one of before.
    let (_, rotated) = relay.call("POST", &format!("/webhooks/{id}/rotate-secret"), &Value::Null);
    let new = rotated["signing_secret"].as_str().unwrap();
    assert_ne!(new, secret);
    let (status, answer) =
        relay.call("POST", &format!("/webhooks/{id}/deliveries/{delivery}/replay"), &Value::Null);
    assert_eq!((status, &answer["id"]), (200, &json!(delivery)), "{answer}");
    let replayed = hook.wait("email.delivered", |request| {
        request.field("webhook-id") == delivery && request.field("webhook-signature").contains(' ')
    });
    assert!(is_signed(&replayed, secret) && is_signed(&replayed, new));
}

#[test]
fn endpoints_are_listed_changed_tested_and_deleted() {
    let (_sink, relay) = relay();
    let hook = Hook::start();
    let made =
        create(&relay, &json!({"endpoint": hook.url, "tags": [{"name": "campaign"}], "status": "disabled"}));
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    let (_, list) = relay.call("GET", "/webhooks", &Value::Null);
    assert_eq!(
        (&list["data"][0]["id"], &list["data"][0]["events"], list["data"][0].get("signing_secret")),
        (&made["id"], &Value::Null, None)
    );
    let (_, shown) = relay.call("GET", &path, &Value::Null);
    assert_eq!(shown["signing_secret"], made["signing_secret"]);
    assert_eq!(shown["tags"], json!([{"name": "campaign", "value": null}]));
    let (status, changed) =
        relay.call("PATCH", &path, &json!({"status": "enabled", "events": ["email.bounced"], "tags": []}));
    assert_eq!((status, &changed["status"]), (200, &json!("enabled")), "{changed}");
    assert_eq!((&changed["events"], &changed["tags"]), (&json!(["email.bounced"]), &json!([])));
    let (_, tested) = relay.call("POST", &format!("{path}/test"), &Value::Null);
    assert_eq!(
        (&tested["status"], &tested["http_status_code"]),
        (&json!("success"), &json!(204)),
        "{tested}"
    );
    hook.wait("webhook.test", |request| request.field("webhook-id") == tested["id"]);
    let (_, deleted) = relay.call("DELETE", &path, &Value::Null);
    assert_eq!(deleted["deleted"], true);
    assert_eq!(relay.call("GET", &path, &Value::Null).0, 404);
}

#[test]
fn mistakes_are_named() {
    let (_sink, relay) = relay();
    let made = create(&relay, &json!({"endpoint": "http://127.0.0.1:9/"}));
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    for (fields, param) in [
        (json!({}), "endpoint"),
        (json!({"endpoint": "http://10.0.0.1/"}), "endpoint"),
        (json!({"endpoint": "https://u:p@a.example.com/"}), "endpoint"),
        (json!({"endpoint": "https://a.example.com/", "events": ["email.delivred"]}), "events[0]"),
        (json!({"endpoint": "https://a.example.com/", "streams": ["bulk"]}), "streams[0]"),
        (json!({"endpoint": "https://a.example.com/", "tags": [{"name": "a b"}]}), "tags[0].name"),
        (json!({"endpoint": "https://a.example.com/", "headers": {"Host": "b"}}), "headers.Host"),
        (json!({"endpoint": "https://a.example.com/", "headers": {"x": "a\r\nb: c"}}), "headers.x"),
        (json!({"endpoint": "https://a.example.com/", "status": "on"}), "status"),
        (json!({"endpoint": "https://a.example.com/", "evnts": []}), "evnts"),
    ] {
        let (status, answer) = relay.call("POST", "/webhooks", &fields);
        assert_eq!((status, &answer["param"]), (422, &json!(param)), "{fields}: {answer}");
    }
    for (query, param) in
        [("status=sent", "status"), ("after=msg_x_1", "after"), ("limit=0", "limit"), ("before=x", "query")]
    {
        let (status, answer) = relay.call("GET", &format!("{path}/deliveries?{query}"), &Value::Null);
        assert_eq!((status, &answer["param"]), (422, &json!(param)), "{query}: {answer}");
    }
    for (fields, param) in [
        (json!({"since": "soon", "until": "2026-11-28T00:00:00Z"}), "since"),
        (json!({"since": "2026-11-28T00:00:00Z", "until": "2026-11-27T00:00:00Z"}), "until"),
        (
            json!({"since": "2026-11-28T00:00:00Z", "until": "2026-11-29T00:00:00Z", "status": "pending"}),
            "status",
        ),
    ] {
        let (status, answer) = relay.call("POST", &format!("{path}/replay"), &fields);
        assert_eq!((status, &answer["param"]), (422, &json!(param)), "{fields}: {answer}");
    }
    let (status, answer) =
        relay.call("POST", &format!("{path}/rotate-secret"), &json!({"overlap_seconds": 9_999_999}));
    assert_eq!((status, &answer["param"]), (422, &json!("overlap_seconds")), "{answer}");
    assert_eq!(relay.call("POST", &format!("{path}/deliveries/msg_x_1/replay"), &Value::Null).0, 404);
    create(&relay, &json!({"endpoint": "https://a.example.com/"}));
    let (status, answer) = relay.call("POST", "/webhooks", &json!({"endpoint": "https://a.example.com/"}));
    assert_eq!((status, &answer["name"]), (409, &json!("conflict")), "{answer}");
}
