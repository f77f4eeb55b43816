use relevo_dkim::{Signer, Verifier};
use relevo_mailkit::model::Txt;
use relevo_signer::Keyring;
use serde_json::{Value, json};

use super::*;
use crate::emails::{self, HandOff, Surroundings, Template};

/// RFC 8463 appendix A.2: the key of a test, and its record.
const KEY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const RECORD: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const NOW: u64 = 1_795_325_640_000;

fn read(signing: Option<&str>, selectors: Option<&str>) -> Result<Signing, ConfigError> {
    Signing::read(&|name| match name {
        "RELEVO_SIGNING" => signing.map(str::to_owned),
        SELECTORS => selectors.map(str::to_owned),
        _ => None,
    })
}

fn keys(selectors: &str) -> Vec<KeyName> {
    match read(Some("edge"), Some(selectors)) {
        Ok(Signing::Edge(keys)) => keys,
        other => panic!("{other:?}"),
    }
}

/// The components as plain functions.
struct Library;

impl Dkim for Library {
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
        let list = ["example.com:a", "example.com:b", "shop.example.com:a"];
        let list = list.map(|name| format!("{name}:ed25519-sha256:{KEY}")).join(",");
        let keyring = Keyring::read(&list).map_err(|error| error.to_string())?;
        let KeyName { domain, selector, algorithm } = key;
        keyring.sign(domain, selector, algorithm.as_str(), to_sign).map_err(|error| error.to_string())
    }
}

impl Surroundings for Library {
    fn now(&self) -> u64 {
        NOW
    }

    fn random(&self) -> [u8; 16] {
        [7; 16]
    }
}

impl Template for Library {
    fn render(
        &self,
        source: relevo_mailkit::model::TemplateSource,
        variables: &str,
        limits: relevo_mailkit::model::TemplateLimits,
    ) -> Result<relevo_mailkit::model::Rendered, relevo_mailkit::model::TemplateError> {
        relevo_template::render(&source, variables, &limits)
    }

    fn build(
        &self,
        envelope: relevo_mailkit::model::MessageEnvelope,
        content: relevo_mailkit::model::Rendered,
    ) -> Result<Vec<u8>, relevo_mailkit::model::TemplateError> {
        relevo_template::build(&envelope, &content)
    }
}

fn hand_off(more: &Value) -> HandOff {
    let mut body = json!({"from": "Shop <shop@example.com>", "to": "ana@example.net", "subject": "Hi",
        "html": "<p>Hi</p>"});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let made = emails::single(body.to_string().as_bytes(), &Library, &Library);
    made.unwrap_or_else(|error| panic!("{error}"))
}

fn signed(more: &Value, selectors: &str) -> Vec<String> {
    let mut hand_off = hand_off(more);
    hand_off.sign(&keys(selectors), &Library, NOW).expect("it can be signed");
    let messages = hand_off.request.emails.into_iter().flat_map(|email| email.messages);
    messages.map(|message| message.message.expect("text")).collect()
}

fn passes(message: &str) -> Vec<(String, String)> {
    let name = |key: &str| key.replace(':', "._domainkey.");
    let records = ["a:example.com", "b:example.com", "a:shop.example.com"];
    let records = records.map(|key| Txt { name: name(key), value: RECORD.to_owned() });
    let mut verifier = Verifier::new(records.to_vec(), i64::MAX);
    verifier.push(message.as_bytes());
    let verdicts = verifier.finish();
    assert!(verdicts.iter().all(|verdict| verdict.pass), "{verdicts:?}");
    verdicts.into_iter().map(|verdict| (verdict.domain, verdict.selector)).collect()
}

fn by(domain: &str, selector: &str) -> (String, String) {
    (domain.to_owned(), selector.to_owned())
}

#[test]
fn each_message_is_signed_with_each_key_of_its_domain() {
    let selectors = "example.com:a:ed25519-sha256,\n EXAMPLE.com:b:ed25519-sha256 example.net:x:rsa-sha256";
    let to = json!([{"email": "ana@example.net"}, {"email": "luis@example.net"}]);
    let body =
        json!({"recipients": to, "to": null, "headers": {"List-Unsubscribe": "<mailto:x@example.com>"}});
    let messages = signed(&body, selectors);
    assert_eq!(messages.len(), 2);
    for message in messages {
        assert_eq!(passes(&message), [by("example.com", "a"), by("example.com", "b")], "{message}");
        let unfolded = message.replace("\r\n\t", "").to_ascii_lowercase();
        assert!(unfolded.contains("t=1795325640;") && !unfolded.contains("x="), "{unfolded}");
        assert!(unfolded.contains(":list-unsubscribe;"), "it is there, so it is signed: {unfolded}");
    }
    // The most specific domain signs, as at the core.
    let both = "example.com:a:ed25519-sha256,shop.example.com:a:ed25519-sha256";
    for (from, domain) in [("x@shop.example.com", "shop.example.com"), ("x@a.b.example.com", "example.com")] {
        let [message] = signed(&json!({"from": from}), both).try_into().expect("one");
        assert_eq!(passes(&message), [by(domain, "a")]);
    }
}

/// The core adds these fields to marketing mail: a signature that named them would break.
#[test]
fn fields_that_the_core_adds_are_not_signed_before_they_are_there() {
    let [message] =
        signed(&json!({"stream": "marketing"}), "example.com:a:ed25519-sha256").try_into().expect("one");
    let more =
        "List-Unsubscribe: <https://t.example/u/x>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
    assert_eq!(passes(&format!("Received: x\r\n{more}{message}")).len(), 1);
}

#[test]
fn what_the_core_has_still_to_write_in_is_left_to_the_core() {
    let as_it_is = |more: Value| {
        let before = hand_off(&more).request.emails[0].messages[0].message.clone().expect("text");
        let [message] = signed(&more, "example.com:a:ed25519-sha256").try_into().expect("one");
        assert_eq!(message, before, "{more}");
    };
    as_it_is(json!({"from": "a@elsewhere.example"}));
    as_it_is(json!({"from": "a@notexample.com"}));
    as_it_is(json!({"scheduled_at": "2027-01-01T00:00:00Z"}));
    as_it_is(json!({"tracking": {"clicks": true}}));
    as_it_is(json!({"tracking": {"opens": true}}));
    let link = "<a href=\"https://unsubscribe.invalid/\">leave</a>";
    as_it_is(json!({"stream": "marketing", "html": link}));
    let [message] = signed(&json!({"tracking": {"clicks": false}}), "example.com:a:ed25519-sha256")
        .try_into()
        .expect("one");
    assert_eq!(passes(&message).len(), 1);
}

/// What goes wrong is an error: nothing is handed over unsigned in silence.
#[test]
fn a_key_that_the_signer_lacks_is_an_error() {
    let mut hand_off = hand_off(&json!({}));
    let error = hand_off.sign(&keys("example.com:other:ed25519-sha256"), &Library, NOW);
    assert!(error.expect_err("there is no such key").contains("no such key"));
}

#[test]
fn a_component_that_returns_something_else_is_not_believed() {
    struct Other(fn(&mut SigningInput));

    impl Dkim for Other {
        fn signing_input(
            &self,
            requests: Vec<SignatureRequest>,
            message: &[u8],
        ) -> Result<Vec<SigningInput>, String> {
            let mut inputs = Library.signing_input(requests, message)?;
            inputs.iter_mut().for_each(self.0);
            Ok(inputs)
        }

        fn sign(&self, _: &KeyName, _: &[u8]) -> Result<Vec<u8>, String> {
            panic!("it was asked to sign")
        }
    }
    let changes: [fn(&mut SigningInput); 3] = [
        |input| input.field.extend_from_slice(b"\r\nBcc: eve@example.org"),
        |input| input.to_sign = String::from_utf8_lossy(&input.to_sign).replace("shop@", "eve@").into_bytes(),
        |input| input.to_sign.clear(),
    ];
    for change in changes {
        let error = hand_off(&json!({})).sign(&keys("example.com:a:ed25519-sha256"), &Other(change), NOW);
        assert!(error.expect_err("it was altered").contains("not asked for"));
    }
}

#[test]
fn the_variables_are_read() {
    for core in [None, Some(""), Some(" core\n")] {
        assert_eq!(read(core, Some("nonsense")), Ok(Signing::Core), "{core:?}");
    }
    for (signing, selectors, variable) in [
        ("both", None, "RELEVO_SIGNING"),
        ("edge", None, SELECTORS),
        ("edge", Some(" "), SELECTORS),
        ("edge", Some("example.com:s"), SELECTORS),
        ("edge", Some("example.com:s:rsa-sha1"), SELECTORS),
        ("edge", Some(":s:rsa-sha256"), SELECTORS),
        ("edge", Some("example.com::rsa-sha256"), SELECTORS),
        ("edge", Some("example.com:s:rsa-sha256:MII"), SELECTORS),
    ] {
        let error = read(Some(signing), selectors).expect_err("it is wrong");
        assert_eq!(error.variable, variable, "{selectors:?}");
    }
}

#[test]
fn the_author_is_found_where_readers_find_it() {
    let message = b"X-From: a\r\nfrom: b\r\n <c@example.com>\r\nTo: d\r\n\r\nFrom: e\r\n";
    assert_eq!(from_field(message), b"from: b\r\n <c@example.com>");
    assert_eq!(from_field(b"To: d\r\n\r\nFrom: e\r\n"), b"");
    assert_eq!(from_field(b"From: b"), b"From: b");
}
