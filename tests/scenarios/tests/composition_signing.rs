//! Signatures of the composition: of the same keys and octets as those of the libraries.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use relevo_dkim::{Signer, Verifier};
use relevo_gateway::emails;
use relevo_gateway::signing::{Dkim, KeyName, Signing};
use relevo_keys::SigningKey;
use relevo_mailkit::model::{Algorithm, SignatureRequest, SigningInput, Txt};
use relevo_scenarios::edge::{Answer, Edge, Library, NOW};
use relevo_scenarios::root;
use relevo_signer::Keyring;
use serde_json::{Value, json};

/// RFC 8463 appendix A.2.
const ED: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const SELECTORS: &str = "example.com:rsa:rsa-sha256,example.com:ed:ed25519-sha256";

/// The key of the tests in PEM.
fn rsa() -> String {
    std::fs::read_to_string(root().join("host/keys/tests/data/rsa2048.pem")).unwrap()
}

/// `RELEVO_DKIM_KEYS`.
fn keys() -> String {
    let base64: String = rsa().lines().filter(|line| !line.starts_with("-----")).collect();
    format!("example.com:rsa:rsa-sha256:{base64},example.com:ed:ed25519-sha256:{ED}")
}

fn records() -> Vec<Txt> {
    let ed = format!("-----BEGIN PRIVATE KEY-----\n{ED}\n-----END PRIVATE KEY-----\n");
    let record = |selector: &str, algorithm, pem: &str| Txt {
        name: format!("{selector}._domainkey.example.com"),
        value: SigningKey::from_pem(pem, algorithm).unwrap().public_record(),
    };
    vec![record("rsa", Algorithm::RsaSha256, &rsa()), record("ed", Algorithm::Ed25519Sha256, &ed)]
}

fn signing_edge(keys: &str) -> Edge {
    let answer =
        json!({"object": "list", "id": "A", "data": [{"object": "email", "id": "A", "recipients": []}]});
    let edge = Edge::new(Some((202, answer)));
    edge.with("RELEVO_SIGNING", "edge")
        .with("RELEVO_DKIM_SELECTORS", SELECTORS)
        .with("RELEVO_DKIM_KEYS", keys)
}

fn mail() -> Value {
    json!({"from": "Shop <shop@example.com>", "subject": "Hello {{ name }}", "html": "<p>Hello {{ name }}</p>",
    "attachments": [{"filename": "a.bin", "content": "AAEC".repeat(30_000)}],
    "recipients": [
        {"email": "ana@example.net", "variables": {"name": "Ana N\u{fa}\u{f1}ez"}},
        {"email": "luis@example.net", "variables": {"name": "Luis"}},
    ]})
}

async fn send(edge: &Edge, mail: &Value) -> Answer {
    edge.send("/emails", &[], mail).await
}

struct Libraries;

impl Dkim for Libraries {
    fn signing_input(
        &self,
        requests: Vec<SignatureRequest>,
        message: &[u8],
    ) -> Result<Vec<SigningInput>, String> {
        let mut signer = Signer::new(requests);
        signer.push(message);
        signer.finish()
    }

    fn sign(&self, key: &KeyName, to_sign: &[u8]) -> Result<Vec<u8>, String> {
        let KeyName { domain, selector, algorithm } = key;
        let keyring = Keyring::read(&keys()).unwrap();
        keyring.sign(domain, selector, algorithm.as_str(), to_sign).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn the_edge_signs_with_each_key_as_the_libraries_do() {
    let edge = signing_edge(&keys());
    let answer = send(&edge, &mail()).await;
    assert_eq!(answer.status.as_u16(), 202, "{} {}", answer.body, edge.log());
    let [sent] = edge.sent().try_into().unwrap();

    let mut made = emails::single(mail().to_string().as_bytes(), &Library, &Library).unwrap();
    let variables = |name: &str| Some(if name == "RELEVO_SIGNING" { "edge" } else { SELECTORS }.to_owned());
    let Signing::Edge(names) = Signing::read(&variables).unwrap() else { panic!("the edge signs") };
    made.sign(&names, &Libraries, NOW).unwrap();
    assert_eq!(sent.body, serde_json::to_value(&made.request).unwrap(), "octet by octet");

    for message in sent.body["emails"][0]["messages"].as_array().unwrap() {
        let text = message["message"].as_str().unwrap();
        let mut verifier = Verifier::new(records(), i64::MAX);
        verifier.push(text.as_bytes());
        let verdicts = verifier.finish();
        let passed = verdicts.iter().map(|verdict| (verdict.selector.as_str(), verdict.pass));
        assert_eq!(passed.collect::<Vec<_>>(), [("rsa", true), ("ed", true)], "{verdicts:?}");
    }
    assert_eq!(edge.log(), "");

    // A domain without a key at the edge is left to the core.
    let mut other = mail();
    other["from"] = json!("shop@example.org");
    assert_eq!(send(&edge, &other).await.status.as_u16(), 202);
    assert!(!edge.sent()[1].body.to_string().contains("DKIM-Signature"));
}

/// The log says why, the caller may try again, and nothing goes to the core. Without `RELEVO_SIGNING`
/// the keys are not even read.
#[tokio::test]
async fn mail_that_cannot_be_signed_is_not_handed_over() {
    let mut core = signing_edge("nonsense");
    core.variables.retain(|(name, _)| name != "RELEVO_SIGNING");
    assert_eq!(send(&core, &mail()).await.status.as_u16(), 202);
    assert!(!core.sent()[0].body.to_string().contains("DKIM-Signature"));
    assert_eq!(core.log(), "");

    let good = keys();
    for (keys, logged) in [
        (String::new(), "RELEVO_DKIM_KEYS has no key"),
        ("nonsense".to_owned(), "RELEVO_DKIM_KEYS has a mistake in entry 1"),
        (good.replace(",example.com:ed:", "!,example.com:ed:"), "entry 1: the key is not base64"),
        (good.replace(":ed25519-sha256:", ":rsa-sha256:"), "entry 2: is not an RSA key"),
        (good.replace(":ed:", ":other:"), "example.com:ed:ed25519-sha256: the signer has no such key"),
    ] {
        let edge = signing_edge(&keys);
        let answer = send(&edge, &mail()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.retry_after.as_deref()),
            (503, Some("5")),
            "{}",
            answer.body
        );
        assert!(edge.log().contains(logged), "{}", edge.log());
        assert!(edge.log().contains("the edge cannot sign"), "{}", edge.log());
        assert!(edge.sent().is_empty(), "{logged}");
        for secret in [&good[40..80], ED] {
            assert!(!edge.log().contains(secret) && !answer.body.to_string().contains(secret));
        }
    }
    for (name, value) in [("RELEVO_SIGNING", "both"), ("RELEVO_DKIM_SELECTORS", "example.com")] {
        let mut edge = signing_edge(&good);
        edge.variables.retain(|(known, _)| known != name);
        let edge = edge.with(name, value);
        assert_eq!(send(&edge, &mail()).await.status.as_u16(), 503, "{name}");
        assert!(edge.log().contains(name) && edge.sent().is_empty(), "{}", edge.log());
    }
}
