//! Measures what signing at the edge costs: milliseconds of CPU for each message, from the request to the
//! hand-off, for each way to sign. The composition runs as a host would run it: compiled for speed, a
//! fresh instance for each request.
//!
//! `cargo run -p relevo-scenarios --example signing_cost` after `cargo xtask build`. The part of the host is
//! small: an unoptimised build of it makes little difference.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::time::Duration;

use relevo_dkim::Signer;
use relevo_keys::{Grant, SigningKey};
use relevo_mailkit::model::{Algorithm, Canonicalization, SignatureRequest};
use relevo_scenarios::edge::{Edge, always, compile};
use relevo_scenarios::root;
use serde_json::{Value, json};
use wasmtime::OptLevel;

/// RFC 8463 appendix A.2.
const ED: &str =
    "example.com:ed:ed25519-sha256:MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
/// Messages of a request.
const MESSAGES: usize = 50;
/// Signatures of the native host.
const SIGNATURES: u32 = 500;
/// Requests, of which the first is not counted.
const REQUESTS: usize = 6;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let pem = std::fs::read_to_string(root().join("host/keys/tests/data/rsa2048.pem")).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let rsa = format!("example.com:rsa:rsa-sha256:{base64}");
    let both = format!("{ED},{rsa}");
    let compiled = compile(OptLevel::Speed);
    println!("| signed by | CPU of one message in one request | CPU of a message in {MESSAGES} |");
    println!("| --- | --- | --- |");
    let ways = [
        ("the core", None),
        ("the edge, Ed25519", Some(ED)),
        ("the edge, RSA-2048", Some(&*rsa)),
        ("the edge, both", Some(&*both)),
    ];
    for (name, keys) in ways {
        let mut edge =
            Edge::of(&compiled, always(Some((202, json!({"object": "list", "id": "A", "data": []})))));
        if let Some(keys) = keys {
            let selectors = keys.split(',').map(|key| key.rsplit_once(':').unwrap().0).collect::<Vec<_>>();
            edge = edge.with("RELEVO_SIGNING", "edge").with("RELEVO_DKIM_KEYS", keys);
            edge = edge.with("RELEVO_DKIM_SELECTORS", &selectors.join(","));
        }
        let one = cost(&edge, 1, keys.is_some()).await;
        let many = cost(&edge, MESSAGES, keys.is_some()).await;
        println!("| {name} | {:.2} ms | {:.2} ms |", one.as_secs_f64() * 1e3, many.as_secs_f64() * 1e3);
    }
    let (_, base64) = ED.rsplit_once(':').unwrap();
    let ed = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
    for (name, algorithm, pem) in
        [("Ed25519", Algorithm::Ed25519Sha256, &ed), ("RSA-2048", Algorithm::RsaSha256, &pem)]
    {
        println!(
            "One {name} signature of the native host: {:.2} ms",
            native(algorithm, pem).as_secs_f64() * 1e3
        );
    }
}

/// The CPU of one signature on the native host, with its check.
fn native(algorithm: Algorithm, pem: &str) -> Duration {
    let key = SigningKey::from_pem(pem, algorithm).unwrap();
    let request = SignatureRequest {
        domain: "example.com".to_owned(),
        selector: "s".to_owned(),
        algorithm,
        header_canonicalization: Canonicalization::Relaxed,
        body_canonicalization: Canonicalization::Relaxed,
        timestamp: 1_795_325_640,
        expiration: None,
    };
    let mut signer = Signer::new(vec![request]);
    signer.push(b"From: Shop <shop@example.com>\r\nSubject: Hello\r\n\r\nHello\r\n");
    let input = signer.finish().unwrap().remove(0);
    let from_field = b"From: Shop <shop@example.com>";
    let grant = Grant { domain: "example.com", selector: "s", algorithm, from_field };
    let before = cpu();
    for _ in 0..SIGNATURES {
        key.sign(&grant, &input).unwrap();
    }
    cpu().saturating_sub(before) / SIGNATURES
}

/// The CPU of the process for each message.
async fn cost(edge: &Edge, messages: usize, is_signed: bool) -> Duration {
    let mail = mail(messages);
    let mut spent = Duration::ZERO;
    for request in 0..REQUESTS {
        let before = cpu();
        let answer = edge.send("/emails", &[], &mail).await;
        if request > 0 {
            spent += cpu().saturating_sub(before);
        }
        let sent = edge.take_sent();
        assert_eq!(sent.len(), 1, "{} {}", answer.body, edge.log());
        let first = sent[0].body["emails"][0]["messages"][0]["message"].as_str().unwrap();
        assert_eq!(first.starts_with("DKIM-Signature:"), is_signed, "{first}");
    }
    spent / u32::try_from((REQUESTS - 1) * messages).unwrap()
}

/// A newsletter of some 10 KB.
fn mail(messages: usize) -> Value {
    let paragraph =
        "<p>Hello {{ name }}, <a href=\"https://shop.example/spring\">spring</a> is here.</p>\n".repeat(100);
    let recipients = (0..messages)
        .map(|number| json!({"email": format!("a{number}@example.net"), "variables": {"name": format!("Ana {number}")}}));
    json!({"from": "Shop <shop@example.com>", "subject": "News for {{ name }}", "html": paragraph,
        "recipients": recipients.collect::<Vec<_>>()})
}

/// The CPU time of this process.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}
