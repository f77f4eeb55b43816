//! Rules suppress who bounces, with the real binary, a DNS server and a receiver of the test; what they
//! added is undone by window.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use relevo_resolve::testing::TestDns;
use serde_json::{Value, json};
use support::relay::{Relay, relevo};
use support::sink::Sink;
use support::wait_for;

/// A relay that looks MX hosts up and connects to the port of the sink.
fn relay(dns: &TestDns, sink: &Sink, rules: &str) -> Relay {
    let mut relay = Relay::start(
        sink.addr,
        &format!("retry = [\"1s\"]\n[dns]\nnameservers = [\"{}\"]", dns.addr()),
        false,
    );
    relay.stop();
    let text = std::fs::read_to_string(relay.config()).unwrap();
    let direct = format!("port = {}\nallow_networks = [\"127.0.0.0/8\"]", sink.addr.port());
    let lines = text.lines().map(|line| if line.starts_with("smarthost") { direct.as_str() } else { line });
    let text = lines.collect::<Vec<_>>().join("\n") + "\n[suppression]\n" + rules + "\n";
    std::fs::write(relay.config(), text).unwrap();
    relay.spawn();
    relay
}

fn send(relay: &Relay, to: &str) -> Value {
    let email = json!({"from": "a@example.test", "to": [to], "subject": "Hi", "text": "Hi"});
    let (status, answer) = relay.call("POST", "/emails", &email);
    assert!(status < 300, "{answer}");
    answer
}

fn entry(relay: &Relay, address: &str) -> Option<Value> {
    let (status, answer) = relay.call("GET", &format!("/suppressions/{address}"), &Value::Null);
    (status == 200).then_some(answer)
}

/// The receiver's own words decide: a mailbox that is not there, one that is full, and a refusal of
/// the message. `[suppression]` changes with a restart, and counts stay.
#[test]
fn what_the_receiver_says_about_the_recipient_suppresses_and_nothing_else() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dns = runtime.block_on(TestDns::start()).unwrap();
    let sink = Sink::start();
    dns.mx("receiver.example", &[(10, "mx.receiver.example")]);
    dns.address("mx.receiver.example", &["127.0.0.1".parse().unwrap()]);
    let mut relay = relay(&dns, &sink, "mailbox_full = { times = 2, days = 1 }");
    let ended = |relay: &Relay, kind: &str, to: &str, number: usize| {
        wait_for(to, || {
            let all = relay.events(kind);
            (all.iter().filter(|event| event["recipient"] == to).count() == number).then_some(())
        });
    };
    // A full mailbox is tried again until the message expires.
    let send_to_full = |relay: &Relay| {
        let email = json!({"from": "a@example.test", "to": ["full@receiver.example"], "subject": "Hi",
            "text": "Hi", "expires_at": "in 15 seconds"});
        let (status, answer) = relay.call("POST", "/emails", &email);
        assert!(status < 300, "{answer}");
    };
    for _ in 0..3 {
        send_to_full(&relay);
        send(&relay, "blocked@receiver.example");
    }
    ended(&relay, "email.bounced", "blocked@receiver.example", 3);
    ended(&relay, "email.expired", "full@receiver.example", 3);
    // The last to end: what is before it in the log was read before it.
    send(&relay, "reject@receiver.example");
    ended(&relay, "email.bounced", "reject@receiver.example", 1);
    let found = wait_for("a suppression", || entry(&relay, "reject%40receiver.example"));
    let detail = found["detail"].as_str().unwrap();
    assert!(detail.starts_with("550 5.1.1 ") && detail.ends_with("no such user here"), "{found}");
    // The entry is there before its event.
    let added =
        wait_for("the event", || Some(relay.events("suppression.added")).filter(|added| !added.is_empty()));
    assert_eq!(added.len(), 1, "three in one day are not two days: {added:?}");

    relay.stop();
    let text = std::fs::read_to_string(relay.config()).unwrap();
    std::fs::write(relay.config(), text.replace("days = 1", "days = 0")).unwrap();
    relay.spawn();
    send(&relay, "blocked@receiver.example");
    ended(&relay, "email.bounced", "blocked@receiver.example", 4);
    send_to_full(&relay);
    let full = wait_for("a suppression", || entry(&relay, "full%40receiver.example"));
    assert!(full["detail"].as_str().unwrap().starts_with("4 times since 20"), "{full}");
    assert_eq!(entry(&relay, "blocked%40receiver.example"), None);

    // By rule: an incident at the receiver whose mailboxes were said to be full.
    let rule = full["rule"].as_str().unwrap();
    let window = json!({ "after": "2020-01-01T00:00:00Z", "before": "2100-01-01T00:00:00Z", "rule": rule });
    let (status, undone) = relay.call("POST", "/suppressions/undo", &window);
    assert_eq!((status, &undone["count"]), (200, &json!(1)), "{undone}");
    assert_eq!(entry(&relay, "full%40receiver.example"), None);
    assert!(entry(&relay, "reject%40receiver.example").is_some());
}

#[test]
fn who_bounces_is_suppressed_until_that_is_undone() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dns = runtime.block_on(TestDns::start()).unwrap();
    let sink = Sink::start();
    dns.mx("receiver.example", &[(10, "mx.receiver.example")]);
    dns.address("mx.receiver.example", &["127.0.0.1".parse().unwrap()]);
    let relay = relay(&dns, &sink, "hard_bounces = 1");
    relay.call("POST", "/suppressions", &json!({"email": "hand@gone.example", "reason": "bounce"}));

    let sent = send(&relay, "A@gone.example");
    let found = wait_for("the domain does not exist", || entry(&relay, "a%40gone.example"));
    assert_eq!((&found["origin"], &found["stream"]), (&json!("bounce"), &json!("all")), "{found}");
    assert_eq!((&found["source_id"], &found["provider"]), (&sent["id"], &json!("(other)")), "{found}");
    assert!(found["rule"].is_string() && found["detail"].as_str().unwrap().starts_with("5.1.2 "), "{found}");
    assert_eq!(send(&relay, "a@gone.example")["recipients"][0]["status"], "suppressed");

    // What the receiver defers is delivered later, and suppresses nobody.
    send(&relay, "later@receiver.example");
    send(&relay, "fine@receiver.example");
    sink.wait("fine@receiver.example");
    wait_for("a deferral", || relay.events("email.delivery_delayed").first().cloned());
    let added = relay.events("suppression.added");
    assert_eq!(added.len(), 2, "one by hand, one by the rule: {added:?}");
    assert_eq!(
        (&added[1]["recipient"], &added[1]["provider"]),
        (&json!("a@gone.example"), &json!("(other)"))
    );

    let window = json!({"after": "2020-01-01T00:00:00Z", "before": "2100-01-01T00:00:00Z", "dry_run": true});
    let (status, dry) = relay.call("POST", "/suppressions/undo", &window);
    assert_eq!((status, &dry["count"], &dry["data"][0]["email"]), (200, &json!(1), &json!("a@gone.example")));
    for (wrong, param) in [
        (json!({"after": "yesterday", "before": "2100-01-01T00:00:00Z"}), "after"),
        (json!({"after": "2100-01-01T00:00:00Z", "before": "2020-01-01T00:00:00Z"}), "before"),
    ] {
        let (status, answer) = relay.call("POST", "/suppressions/undo", &wrong);
        assert_eq!((status, &answer["param"]), (422, &json!(param)), "{answer}");
    }

    let config = relay.config();
    let undo = |more: &[&str]| {
        let command = ["suppression", "undo", "--config", config.to_str().unwrap()];
        let window = ["--after", "2020-01-01T00:00:00Z", "--before", "2100-01-01T00:00:00Z"];
        relevo(&[&command[..], &window, more].concat(), "")
    };
    let (done, said) = undo(&["--dry-run", "--provider", "google"]);
    assert!(done && said.contains("0 entries would be removed"), "{said}");
    let (done, said) = undo(&["--provider", "(other)"]);
    assert!(done && said.contains("a@gone.example") && said.contains("1 entries removed"), "{said}");
    assert_eq!(entry(&relay, "a%40gone.example"), None);
    assert!(entry(&relay, "hand%40gone.example").is_some(), "what a person added stays");
    assert_eq!(relay.events("suppression.removed")[0]["recipient"], "a@gone.example");
    assert!(relay.acts().iter().any(|[actor, action, ..]| actor == "socket" && action == "suppression undo"));
}
