//! `POST /validate` and `relevo validate`, with the real binary and a DNS server of the test.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use relevo_resolve::testing::{TestDns, Trouble};
use serde_json::{Value, json};
use support::relay::{Relay, relevo};
use support::sink::Sink;

fn zone(dns: &TestDns) {
    dns.mx("good.test", &[(10, "mx.good.test")]).address("mx.good.test", &["192.0.2.1".parse().unwrap()]);
    dns.mx("null.test", &[(0, ".")]).trouble("broken.test", None, Trouble::ServFail);
}

#[test]
fn relay_and_command_line_agree_about_addresses() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dns = runtime.block_on(TestDns::start()).unwrap();
    zone(&dns);
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, &format!("[dns]\nnameservers = [\"{}\"]", dns.addr()), false);
    let listed = json!({"emails": ["gone@good.test"]});
    assert_eq!(relay.call("POST", "/suppressions/batch/add", &listed).0, 200);

    let expected = [
        ("ana@good.test", "deliverable", json!([])),
        ("info@good.test", "risky", json!(["role"])),
        ("ana@null.test", "undeliverable", json!(["null_mx"])),
        ("ana@missing.test", "undeliverable", json!(["no_such_domain"])),
        ("ana@broken.test", "unknown", json!(["dns_failed"])),
        ("gone@good.test", "undeliverable", json!(["suppressed"])),
        ("no address", "undeliverable", json!(["invalid_syntax"])),
    ];
    let emails: Vec<&str> = expected.iter().map(|(email, ..)| *email).collect();
    let (status, answered) = relay.call("POST", "/validate", &json!({"emails": emails}));
    assert_eq!(status, 200, "{answered}");
    let by_relay = answered["data"].as_array().unwrap();

    let config = relay.config();
    let options = [
        "validate",
        "--json",
        "--config",
        config.to_str().unwrap(),
        "--tenant",
        "acme",
        "ana@good.test",
        "-",
    ];
    let (done, said) = relevo(&options, &(emails[1..].join("\r\n") + "\n\n"));
    assert!(done, "{said}");
    let by_command: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(by_relay, &by_command);
    for ((email, result, reasons), found) in expected.iter().zip(by_relay) {
        assert_eq!(
            (&found["email"], &found["result"], &found["reasons"]),
            (&json!(email), &json!(result), reasons)
        );
    }

    let (done, said) = relevo(&["validate", "--config", config.to_str().unwrap(), "info@good.test"], "");
    assert!(
        done && said.starts_with("info@good.test  risky  role\n    The address is that of a role"),
        "{said}"
    );
}
