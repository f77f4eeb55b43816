//! Delivered copies verify with mail-auth's own verifier.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use serde_json::{Value, json};
use support::client::request;
use support::dkim::{Keys, verdicts};
use support::relay::{API_HOST, DOMAIN, Relay};
use support::sink::{Received, Sink};

fn call(relay: &Relay, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = request(relay.http, API_HOST, (method, path), Some(&relay.key), &body);
    (answer.status, answer.json())
}

/// The DKIM keys that the API says to publish.
fn keys(relay: &Relay) -> Keys {
    let (status, records) = call(relay, "GET", &format!("/domains/{DOMAIN}/records"), &Value::Null);
    assert_eq!(status, 200, "{records}");
    let text = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    let records = records.as_array().unwrap().iter();
    Keys::new(records.map(|record| (text(record, "name"), text(record, "value"))))
}

/// The values of a field, unfolded.
fn values<'a>(unfolded: &'a str, name: &str) -> Vec<&'a str> {
    let prefix = format!("{name}: ");
    unfolded.split("\r\n").filter_map(|line| line.strip_prefix(prefix.as_str())).collect()
}

#[test]
fn personalised_marketing_mail_verifies_with_the_fields_to_unsubscribe() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", true);
    let mail = json!({
        "from": "Shop <a@example.test>", "stream": "marketing", "subject": "News for {{ name }}",
        "html": "<p>Hello {{ name }}, <a href=\"https://shop.test/spring\">spring</a> is here.</p>\
                 <p><a href=\"{{ unsubscribe_url }}\">leave</a></p>",
        "recipients": [
            {"email": "ana@example.net", "name": "Ana", "variables": {"name": "Ana"}},
            {"email": "jose@example.net", "variables": {"name": "José"}},
        ],
        "tracking": {"opens": true, "clicks": true},
    });
    let (status, answer) = call(&relay, "POST", "/emails", &mail);
    assert_eq!(status, 202, "{answer}");
    let keys = keys(&relay);
    assert_eq!(keys.len(), 2, "RSA and Ed25519");
    let mut urls = Vec::new();
    for (recipient, name) in [("ana@example.net", "Hello Ana,"), ("jose@example.net", "Hello Jos")] {
        let to_recipient = |copy: &Received| copy.to.iter().any(|to| to.contains(recipient));
        let copy = support::wait_for(recipient, || sink.all().into_iter().find(to_recipient)).message;
        assert_eq!(verdicts(&copy, &keys), ["pass", "pass"], "{copy}");

        let (header, body) = copy.split_once("\r\n\r\n").unwrap();
        let header = header.replace("\r\n ", " ").replace("\r\n\t", " ");
        for signature in values(&header, "DKIM-Signature") {
            let signed = signature.split(';').find_map(|tag| tag.trim().strip_prefix("h=")).unwrap();
            let signed: Vec<String> = signed.split(':').map(|n| n.trim().to_ascii_lowercase()).collect();
            for field in ["list-unsubscribe", "list-unsubscribe-post"] {
                assert!(signed.iter().any(|n| n == field), "{signature}");
            }
        }
        assert_eq!(values(&header, "List-Unsubscribe-Post"), ["List-Unsubscribe=One-Click"]);
        let body = body.replace("=\r\n", "").replace("=3D", "=");
        assert!(body.contains(name) && body.contains("/c/") && body.contains("/o/"), "{body}");
        assert!(!body.contains("https://shop.test/spring\""), "the link is a click: {body}");
        urls.push(values(&header, "List-Unsubscribe")[0].to_owned());

        for altered in ["List-Unsubscribe=One-Click", "Hello "] {
            let forged = copy.replacen(altered, &altered.to_ascii_uppercase(), 1);
            assert_ne!(forged, copy);
            assert!(verdicts(&forged, &keys).iter().all(|verdict| verdict != "pass"), "{altered}");
        }
    }
    assert_ne!(urls[0], urls[1], "each recipient leaves by an own link");
}
