//! Messages that were signed at the edge: the core signs them too, and both signatures verify where
//! they arrive.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use relevo_dkim::{Signer, Verifier};
use relevo_gateway::emails::{self, HandOff, Surroundings, Template};
use relevo_gateway::signing::{Dkim, KeyName};
use relevo_mailkit::model::{
    Algorithm, MessageEnvelope, Rendered, SignatureRequest, SigningInput, TemplateError, TemplateLimits,
    TemplateSource, Txt,
};
use relevo_signer::Keyring;
use serde_json::{Value, json};
use support::client::request;
use support::relay::{API_HOST, DOMAIN, Relay};
use support::sink::Sink;

/// RFC 8463 appendix A.2.
const KEY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const RECORD: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// The gateway with its components as plain functions.
struct Edge;

impl Template for Edge {
    fn render(
        &self,
        source: TemplateSource,
        variables: &str,
        limits: TemplateLimits,
    ) -> Result<Rendered, TemplateError> {
        relevo_template::render(&source, variables, &limits)
    }

    fn build(&self, envelope: MessageEnvelope, content: Rendered) -> Result<Vec<u8>, TemplateError> {
        relevo_template::build(&envelope, &content)
    }
}

impl Surroundings for Edge {
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(since.as_millis()).unwrap()
    }

    fn random(&self) -> [u8; 16] {
        [7; 16]
    }
}

impl Dkim for Edge {
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
        let keyring = Keyring::read(&format!("{DOMAIN}:edge:ed25519-sha256:{KEY}")).unwrap();
        let KeyName { domain, selector, algorithm } = key;
        keyring.sign(domain, selector, algorithm.as_str(), to_sign).map_err(|error| error.to_string())
    }
}

/// As `POST /emails` of a gateway with `RELEVO_SIGNING=edge`.
fn send(relay: &Relay, email: &Value) -> HandOff {
    let key = KeyName {
        domain: DOMAIN.to_owned(),
        selector: "edge".to_owned(),
        algorithm: Algorithm::Ed25519Sha256,
    };
    let mut hand_off = emails::single(email.to_string().as_bytes(), &Edge, &Edge).unwrap();
    hand_off.sign(&[key], &Edge, Edge.now()).unwrap();
    let body = serde_json::to_string(&hand_off.request).unwrap();
    let answer = request(relay.http, API_HOST, ("POST", "/relay"), Some(&relay.key), &body);
    assert_eq!(answer.status, 202, "{}", answer.json());
    hand_off
}

/// The selectors of the signatures of a message, all of which verify.
fn selectors(relay: &Relay, message: &str) -> Vec<String> {
    let path = format!("/domains/{DOMAIN}/records");
    let published = request(relay.http, API_HOST, ("GET", &path), Some(&relay.key), "").json();
    let text = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    let txt = |record: &Value| Txt { name: text(record, "name"), value: text(record, "value") };
    let mut records: Vec<Txt> = published.as_array().unwrap().iter().map(txt).collect();
    records.push(Txt { name: format!("edge._domainkey.{DOMAIN}"), value: RECORD.to_owned() });
    let mut verifier = Verifier::new(records, i64::try_from(Edge.now() / 1000).unwrap());
    verifier.push(message.as_bytes());
    let verdicts = verifier.finish();
    assert!(verdicts.iter().all(|verdict| verdict.pass), "{verdicts:?}\n{message}");
    verdicts.into_iter().map(|verdict| verdict.selector).collect()
}

/// Tracking is on for the domain: a message with a signature is not rewritten.
#[test]
fn both_signatures_verify_where_a_message_arrives() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", true);
    let html = "<p>H\u{e9}llo {{ name }}, <a href=\"https://shop.test/spring\">spring</a></p>";
    for stream in ["transactional", "marketing"] {
        let recipients = json!([
            {"email": format!("ana-{stream}@example.net"), "variables": {"name": "Ana"}},
            {"email": format!("luis-{stream}@example.net"), "variables": {"name": "Luis"}},
        ]);
        let email = json!({"from": "Shop <a@example.test>", "stream": stream, "subject": "H\u{e9}llo",
            "html": html, "recipients": recipients,
            "attachments": [{"filename": "a.txt", "content": "aGVsbG8="}]});
        let hand_off = send(&relay, &email);
        for message in &hand_off.request.emails[0].messages {
            let handed_over = message.message.as_deref().unwrap();
            assert!(handed_over.starts_with("DKIM-Signature: "), "{handed_over}");
            let mine =
                |copy: &support::sink::Received| copy.to.iter().any(|to| to.contains(&message.recipients[0]));
            let copy = support::wait_for(stream, || sink.all().into_iter().find(mine)).message;
            assert!(copy.ends_with(handed_over), "nothing of it was rewritten: {copy}");
            assert_eq!(selectors(&relay, &copy), ["rsa", "ed", "edge"]);
            let core = copy.split("\r\nReceived:").next().unwrap().to_ascii_lowercase();
            let (unsubscribe, is_marketing) = ("\r\nList-Unsubscribe: <http", stream == "marketing");
            assert_eq!(copy.contains(unsubscribe), is_marketing, "{copy}");
            assert_eq!(
                core.contains("list-unsubscribe-post"),
                is_marketing,
                "the core signs what it adds: {copy}"
            );
        }
    }
}

/// The URL to unsubscribe, tracking that is asked for, and the Date of scheduled mail are written by
/// the core, which signs alone.
#[test]
fn mail_that_the_core_has_to_write_in_has_its_signatures_alone() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", true);
    let link = "<p><a href=\"https://shop.test/\">shop</a></p>";
    for (subject, more, written) in [
        (
            "link",
            json!({"stream": "marketing", "html": "<a href=\"{{ unsubscribe_url }}\">leave</a>"}),
            "/u/",
        ),
        ("tracked", json!({"tracking": {"clicks": true}}), "/c/"),
        ("scheduled", json!({"scheduled_at": "in 1 second"}), "\r\nDate: "),
    ] {
        let mut email = json!({"from": "a@example.test", "subject": subject, "html": link,
            "recipients": [{"email": "ana@example.net"}]});
        email.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        send(&relay, &email);
        let copy = sink.wait(&format!("Subject: {subject}\r\n")).message;
        assert_eq!(selectors(&relay, &copy), ["rsa", "ed"]);
        assert!(copy.contains(written) && !copy.contains("unsubscribe.invalid"), "{copy}");
    }
}
