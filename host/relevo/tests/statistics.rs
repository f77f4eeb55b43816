//! Statistics: what SMTP brought is counted by provider, tag and link, once, also over a kill.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use serde_json::{Value, json};
use support::client::get;
use support::relay::Relay;
use support::sink::Sink;
use support::wait_for;

const SHOP: &str = "shop@example.test";

/// The answer of the API. A tracking host has the relay's own address, so another name is used.
fn ask(relay: &Relay, path: &str) -> (u16, Value) {
    let answer = get(relay.http, "api.test", path, Some(&relay.key));
    (answer.status, answer.json())
}

fn events(relay: &Relay, kind: &str) -> Vec<Value> {
    let (_, answer) = ask(relay, "/events?after=0&limit=1000");
    let all = answer["events"].as_array().unwrap().clone();
    all.into_iter().filter(|event| event["type"] == kind).collect()
}

/// Statistics that have counted every event that there is now.
fn stats(relay: &Relay, query: &str) -> Value {
    let cursor = |json: &Value| json["cursor"].as_str().unwrap().parse::<u64>().unwrap();
    let newest = cursor(&ask(relay, "/events?after=0&limit=1000").1);
    wait_for("statistics", || {
        let (status, answer) = ask(relay, &format!("/stats?{query}"));
        assert_eq!(status, 200, "{answer}");
        (cursor(&answer) >= newest).then_some(answer)
    })
}

fn send(relay: &Relay, to: &[&str]) {
    let message = format!(
        "From: {SHOP}\r\nTo: list@reader.test\r\nSubject: counted\r\nMIME-Version: 1.0\r\nContent-Type: text/html; \
         charset=utf-8\r\n\r\n<p><a href=\"https://shop.test/a\">look</a></p>\r\n"
    );
    let reply = relay.login().transact(SHOP, to, &message);
    assert!(reply.starts_with("250"), "{reply}");
}

/// The path of a copy's link (`c`) or pixel (`o`).
fn path(relay: &Relay, copy: &str, kind: &str) -> String {
    let base = format!("http://{}", relay.http);
    let start = copy.find(&format!("{base}/{kind}/")).unwrap();
    copy[start + base.len()..].split('"').next().unwrap().to_owned()
}

#[test]
fn outcomes_opens_and_clicks_are_counted_once_also_after_a_kill() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", true);
    send(&relay, &["ada@gmail.com", "reject-bob@reader.test", "later-cy@reader.test"]);
    let copy = sink.wait("Subject: counted").message;
    wait_for("the attempts", || {
        let all = ["email.delivered", "email.bounced", "email.delivery_delayed"];
        all.iter().all(|kind| !events(&relay, kind).is_empty()).then_some(())
    });
    let host = relay.http.to_string();
    for kind in ["o", "c"] {
        let answer = get(relay.http, &host, &path(&relay, &copy, kind), None);
        assert!([200, 302].contains(&answer.status), "{}", answer.head);
    }
    let counted = |relay: &Relay| {
        let answer = stats(relay, "interval=total");
        let counts = answer["totals"]["counts"].clone();
        assert_eq!(answer["data"][0]["counts"], counts);
        counts
    };
    let counts = counted(&relay);
    for (path, wanted) in [
        ("/accepted", 3),
        ("/sent", 3),
        ("/delivered", 1),
        ("/deferred", 1),
        ("/bounced/total", 1),
        ("/bounced/hard", 1),
        ("/opened/total", 1),
        ("/opened/unique", 1),
        ("/clicked/total", 1),
        ("/clicked/unique", 1),
    ] {
        assert_eq!(counts.pointer(path), Some(&json!(wanted)), "{path}: {counts}");
    }
    relay.kill();
    relay.spawn();
    assert_eq!(counted(&relay), counts, "nothing is counted again");
    send(&relay, &["eve@gmail.com"]);
    wait_for("the next delivery", || (events(&relay, "email.delivered").len() == 2).then_some(()));
    assert_eq!(counted(&relay)["delivered"], 2);

    let groups = |by: &str, count: &str| {
        let answer = stats(&relay, &format!("interval=total&group_by={by}"));
        let groups = answer["data"].as_array().unwrap().iter();
        groups
            .map(|group| (group["value"].clone(), group["counts"].pointer(count).cloned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        groups("provider", "/sent"),
        [(json!("(other)"), Some(json!(2))), (json!("google"), Some(json!(2)))]
    );
    assert_eq!(groups("domain", "/accepted"), [(json!("example.test"), Some(json!(4)))]);
    assert_eq!(groups("domain", "/clicked/total"), [(json!("example.test"), Some(json!(1)))]);
    assert_eq!(groups("stream", "/accepted"), [(json!("transactional"), Some(json!(4)))]);
    assert_eq!(groups("link", "/clicked/unique"), [(json!("https://shop.test/a"), Some(json!(1)))]);
    assert_eq!(groups("tag", "/accepted"), []);
}

#[test]
fn reports_have_every_interval_and_name_their_rates() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    send(&relay, &["ada@gmail.com"]);
    wait_for("the delivery", || events(&relay, "email.delivered").first().cloned());
    let week = stats(&relay, "interval=day&timezone=Europe/Madrid");
    assert_eq!((&week["timezone"], &week["interval"]), (&json!("Europe/Madrid"), &json!("day")));
    let intervals = week["data"][0]["intervals"].as_array().unwrap();
    assert!(intervals.len() >= 31, "{}", intervals.len());
    let delivered = |interval: &Value| interval["counts"]["delivered"].as_i64().unwrap();
    assert_eq!(intervals.iter().map(delivered).sum::<i64>(), 1, "it lies in one of them");
    assert_eq!(intervals[0]["rates"]["delivered_rate"], Value::Null);
    assert_eq!(week["totals"]["rates"]["delivered_rate"], json!(1.0));
    let definitions = week["rates"].as_array().unwrap();
    assert!(
        definitions
            .contains(&json!({"name": "delivered_rate", "numerator": "delivered", "denominator": "sent"}))
    );
    assert_eq!(stats(&relay, "provider=yahoo")["totals"]["counts"]["sent"], 0);
    assert_eq!(stats(&relay, "provider=google&stream=transactional")["totals"]["counts"]["sent"], 1);
    assert_eq!(stats(&relay, "provider=google&stream=marketing")["totals"]["counts"]["sent"], 0);

    let (status, benchmark) = ask(&relay, "/stats/benchmark");
    assert_eq!(status, 200, "{benchmark}");
    let entry = benchmark["data"].as_array().unwrap().iter().find(|e| e["rate"] == "delivered_rate").unwrap();
    assert_eq!(entry["own"], json!(1.0));
    assert!(entry["url"].as_str().unwrap().starts_with("http"), "{entry}");
}

#[test]
fn mistakes_are_named() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    for (query, param) in [
        ("from=yesterday", "from"),
        ("from=2026-02-01&to=2026-01-01", "to"),
        ("from=2025-01-01&to=2026-06-01", "from"),
        ("interval=minute", "interval"),
        ("from=2026-01-01&to=2026-02-28&interval=hour", "interval"),
        ("timezone=Mars/Base", "timezone"),
        ("group_by=subject", "group_by"),
        ("group_by=tag&domain=example.test", "domain"),
        ("domain=example.test&tag=a", "tag"),
        ("stream=bulk", "stream"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("tags=a", "query"),
    ] {
        let (status, answer) = ask(&relay, &format!("/stats?{query}"));
        assert_eq!((status, &answer["param"]), (422, &json!(param)), "{query}: {answer}");
    }
    for hostile in ["%27%3B+DROP+TABLE+statistics%3B--", "%00", "%E2%80%AE", "x%22+OR+1%3D1"] {
        for name in ["domain", "tag", "template", "provider", "link"] {
            let (status, answer) = ask(&relay, &format!("/stats?{name}={hostile}"));
            assert_eq!((status, &answer["totals"]["counts"]["sent"]), (200, &json!(0)), "{name}={hostile}");
        }
    }
    for path in ["/stats", "/stats/benchmark"] {
        assert_eq!(get(relay.http, "api.test", path, None).status, 401);
        assert_eq!(get(relay.http, "api.test", path, Some("rv_nobody")).status, 403);
    }
}

/// 9 % of 1,100 recipients do not exist.
#[test]
fn a_sending_domain_whose_rates_are_too_high_is_stopped_and_told_why() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "[reputation]\non_fail = \"stop\"", false);
    for part in 0..10 {
        let address = |n| match n {
            0..10 => format!("reject-{part}-{n}@reader.test"),
            _ => format!("{part}-{n}@reader.test"),
        };
        let to: Vec<String> = (0..110).map(address).collect();
        send(&relay, &to.iter().map(String::as_str).collect::<Vec<_>>());
    }
    wait_for("all outcomes", || {
        let (_, answer) = ask(&relay, "/stats?interval=total");
        let counts = &answer["totals"]["counts"];
        (counts["delivered"] == 1000 && counts["bounced"]["hard"] == 100).then_some(())
    });
    // Rates are counted at the start, and every five minutes.
    relay.stop();
    relay.spawn();
    let refused = wait_for("the rates are counted", || {
        let message = format!("From: {SHOP}\r\nTo: ada@reader.test\r\nSubject: one more\r\n\r\nHi\r\n");
        let reply = relay.login().transact(SHOP, &["ada@reader.test"], &message);
        reply.starts_with("550").then_some(reply)
    });
    assert!(refused.starts_with("550 5.7.1 mail of example.test is stopped: "), "{refused}");
    assert!(
        refused.contains("hard bounces") && refused.contains("/domains/example.test/health"),
        "{refused}"
    );
    let (_, answer) = ask(&relay, "/reputation");
    let failing = &answer["failing"][0];
    assert_eq!((&failing["domain"], &failing["stopped"]), (&json!("example.test"), &json!(true)), "{answer}");
}
