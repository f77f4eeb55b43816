//! `POST /relay/events` and `POST /relay/unsubscribe`: what readers did at the edge.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use relevo_api::tracking::timestamp;
use serde_json::{Value, json};
use support::client::{Answer, request_with};
use support::relay::{API_HOST, Relay, relevo};
use support::sink::Sink;

fn relay() -> (Sink, Relay) {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", true);
    (sink, relay)
}

/// Sends marketing mail with a link, and returns its tokens: click, open, unsubscribe.
fn tokens(sink: &Sink, relay: &Relay, subject: &str) -> [String; 3] {
    let mail = json!({
        "from": "a@example.test", "to": "b@example.net", "subject": subject, "stream": "marketing",
        "html": "<p><a href=\"https://shop.test/a?b=c\">shop</a></p>",
    });
    let (status, answer) = relay.call("POST", "/emails", &mail);
    assert_eq!(status, 202, "{answer}");
    let message = sink.wait(&format!("Subject: {subject}\r\n")).message;
    let text = message.replace("=\r\n", "").replace("\r\n ", "");
    ["/c/", "/o/", "/u/"].map(|path| {
        let (_, rest) = text.split_once(&format!("http://{}{path}", relay.http)).unwrap();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c)).unwrap();
        rest[..end].to_owned()
    })
}

fn event(relay: &Relay, kind: &str, token: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let at = timestamp(u64::try_from(now).unwrap());
    json!({"type": kind, "host": relay.http.to_string(), "token": token, "at": at,
        "user_agent": "Mozilla/5.0 (X11) Firefox/140.0", "address": "192.0.2.7"})
}

fn post(relay: &Relay, path: &str, key: &str, body: &Value) -> Answer {
    request_with(relay.http, API_HOST, ("POST", path), Some(key), &[], &body.to_string())
}

fn report(relay: &Relay, events: &[Value]) -> Value {
    let answer = post(relay, "/relay/events", &relay.key, &json!({"events": events}));
    assert_eq!(answer.status, 202, "{}", answer.json());
    answer.json()
}

#[test]
fn a_report_counts_once_also_when_the_relay_is_killed_in_between() {
    let (sink, mut relay) = relay();
    let [click, open, _] = tokens(&sink, &relay, "once");
    let body = json!({"events": [event(&relay, "click", &click), event(&relay, "open", &open), event(&relay, "open", "AAAA")]});
    let first = post(&relay, "/relay/events", &relay.key, &body);
    assert_eq!(first.json(), json!({"recorded": 2, "unknown": 1, "implausible": 0, "dropped": 0}));
    relay.kill();
    relay.spawn();
    let again = post(&relay, "/relay/events", &relay.key, &body);
    assert_eq!((again.status, again.json()), (202, first.json()));
    assert_eq!(again.field("idempotent-replayed"), Some("true"));
    let clicks = relay.events("email.clicked");
    assert_eq!((clicks.len(), relay.events("email.opened").len()), (1, 1));
    assert_eq!(
        (&clicks[0]["url"], &clicks[0]["recipient"]),
        (&json!("https://shop.test/a?b=c"), &json!("b@example.net"))
    );
    assert_eq!((&clicks[0]["count"], &clicks[0]["first"]), (&json!(1), &json!(true)));
}

#[test]
fn forged_and_foreign_tokens_change_nothing() {
    let (sink, mut relay) = relay();
    let [click, open, leave] = tokens(&sink, &relay, "own");
    relay.stop();
    let (_, made) = relevo(&["api-key", "new"], "");
    let other = made.lines().find_map(|l| l.strip_prefix("API key (shown this once): ")).unwrap().to_owned();
    let hash = made.lines().find(|l| l.starts_with("api_keys")).unwrap();
    let text = fs::read_to_string(relay.config()).unwrap();
    let tenant = format!(
        "{text}\n[[tenant]]\nid = \"other\"\n{hash}\n[[tenant.domain]]\nname = \"other.test\"\n\
         dkim = [{{ selector = \"rsa\", algorithm = \"rsa-sha256\", key = \"rsa.pem\" }}]\n\
         tracking = {{ url = \"http://t.other.test\", opens = true, clicks = true }}\n"
    );
    fs::write(relay.config(), tenant).unwrap();
    relay.spawn();

    let mut elsewhere = event(&relay, "click", &click);
    elsewhere["host"] = json!("t.other.test");
    let mut altered = click.clone().into_bytes();
    altered[40] ^= 1;
    let altered = String::from_utf8(altered).unwrap();
    let mut early = event(&relay, "click", &click);
    early["at"] = json!("2026-01-01T00:00:00Z");
    let mut late = event(&relay, "click", &click);
    late["at"] = json!("2100-01-01T00:00:00Z");
    let wrong =
        [elsewhere.clone(), event(&relay, "click", &altered), event(&relay, "open", &click), early, late];
    let expected = json!({"recorded": 0, "unknown": 3, "implausible": 2, "dropped": 0});
    assert_eq!(report(&relay, &wrong), expected);
    // With the key of another tenant, genuine tokens are as unknown.
    let events = json!({"events": [event(&relay, "click", &click), event(&relay, "open", &open), elsewhere]});
    let answer = post(&relay, "/relay/events", &other, &events);
    assert_eq!((answer.status, &answer.json()["unknown"]), (202, &json!(3)));
    let asked = json!({"host": relay.http.to_string(), "token": leave, "action": "leave"});
    let answer = post(&relay, "/relay/unsubscribe", &other, &asked);
    assert_eq!((answer.status, &answer.json()["param"]), (422, &json!("token")));
    for kind in ["email.clicked", "email.opened", "email.unsubscribed"] {
        assert!(relay.events(kind).is_empty(), "{kind}");
    }

    let (_, made) = relay.call("POST", "/api-keys", &json!({"name": "app", "scopes": ["send"]}));
    let app = made["token"].as_str().unwrap();
    assert_eq!(post(&relay, "/relay/events", app, &events).status, 403);
    assert_eq!(post(&relay, "/relay/unsubscribe", app, &asked).status, 403);
}

#[test]
fn keys_rotate_without_a_gap() {
    let (sink, mut relay) = relay();
    let configure = |relay: &mut Relay, ids: &[&str]| {
        relay.stop();
        let text = fs::read_to_string(relay.config()).unwrap();
        let rest: String = text
            .lines()
            .filter(|l| *l != "[tracking]" && !l.starts_with("keys = "))
            .map(|l| format!("{l}\n"))
            .collect();
        let entries: Vec<_> =
            ids.iter().map(|id| format!("{{ id = \"{id}\", file = \"{id}.track\" }}")).collect();
        let (top, tenants) = rest.split_once("[[tenant]]").unwrap();
        let keys = entries.join(", ");
        fs::write(relay.config(), format!("{top}[tracking]\nkeys = [{keys}]\n[[tenant]]{tenants}")).unwrap();
        relay.spawn();
    };
    for (id, octet) in [("old", "11"), ("new", "22")] {
        let file = relay.folder.join(format!("{id}.track"));
        fs::write(&file, octet.repeat(32)).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    configure(&mut relay, &["old"]);
    let [before, ..] = tokens(&sink, &relay, "before");
    configure(&mut relay, &["new", "old"]);
    let [after, ..] = tokens(&sink, &relay, "after");
    let both = [event(&relay, "click", &before), event(&relay, "click", &after)];
    assert_eq!(report(&relay, &both)["recorded"], 2);
    configure(&mut relay, &["new"]);
    let both = [event(&relay, "click", &before), event(&relay, "click", &after)];
    let answer = report(&relay, &both);
    assert_eq!((&answer["recorded"], &answer["unknown"]), (&json!(1), &json!(1)));
}

#[test]
fn a_recipient_leaves_at_the_edge() {
    let (sink, relay) = relay();
    let [_, _, token] = tokens(&sink, &relay, "news");
    let ask = |action: &str, method: &str| {
        let asked = json!({"host": relay.http.to_string(), "token": token, "action": action, "method": method,
            "address": "192.0.2.7"});
        let answer = post(&relay, "/relay/unsubscribe", &relay.key, &asked);
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()
    };
    let shown = ask("show", "page");
    assert_eq!((&shown["email"], &shown["sender"]), (&json!("b@example.net"), &json!("example.test")));
    assert_eq!((&shown["has_left"], shown.get("changed")), (&json!(false), None));
    for _ in 0..2 {
        let left = ask("leave", "one_click");
        assert_eq!((&left["has_left"], &left["changed"]["id"]), (&json!(true), &json!("marketing")));
    }
    let events = relay.events("email.unsubscribed");
    assert_eq!((events.len(), &events[0]["method"]), (1, &json!("one_click")));
    let mail = json!({"from": "a@example.test", "to": "b@example.net", "subject": "more", "stream": "marketing", "text": "t"});
    assert_eq!(relay.call("POST", "/emails", &mail).1["recipients"][0]["status"], "suppressed");
    assert_eq!(ask("return", "page")["has_left"], false);
    assert_eq!(relay.call("POST", "/emails", &mail).1["recipients"][0]["status"], "queued");
}
