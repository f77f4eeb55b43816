use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use proptest::prelude::*;
use relevo_dkim::{Signer, Verifier};
use relevo_mailkit::model::{Canonicalization, SignatureRequest, SignatureVerdict, Txt};

use super::*;

const NOW: i64 = 1_795_325_640;
const MESSAGE: &[u8] =
    b"From: Shop <shop@example.com>\r\nTo: ana@example.net\r\nSubject: Hello\r\n\r\nHello\r\n";
/// RFC 8463 appendix A.3.
const ED_SIGNATURE: &str =
    "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";
const BOTH: [(&str, Algorithm); 2] = [("rsa", Algorithm::RsaSha256), ("ed", Algorithm::Ed25519Sha256)];

/// A list with an RSA and an Ed25519 key, and the records of their public keys.
fn keys(size: KeySize) -> (String, Vec<Txt>) {
    let rsa = RsaKeyPair::generate(size).expect("a key");
    let ed = Ed25519KeyPair::generate().expect("a key");
    let private: [Pkcs8V1Der<'_>; 2] = [rsa.as_der().expect("encodes"), ed.as_der().expect("encodes")];
    let public: PublicKeyX509Der<'_> = rsa.public_key().as_der().expect("encodes");
    let entries = BOTH.iter().zip(&private).map(|((selector, algorithm), der)| {
        format!("example.com:{selector}:{}:{}", algorithm.as_str(), STANDARD.encode(der.as_ref()))
    });
    let record = |selector: &str, kind: &str, key: &[u8]| Txt {
        name: format!("{selector}._domainkey.example.com"),
        value: format!("v=DKIM1; k={kind}; p={}", STANDARD.encode(key)),
    };
    let records =
        vec![record("rsa", "rsa", public.as_ref()), record("ed", "ed25519", ed.public_key().as_ref())];
    (entries.collect::<Vec<_>>().join(",\n  "), records)
}

fn requests() -> Vec<SignatureRequest> {
    let request = |(selector, algorithm): &(&str, Algorithm)| SignatureRequest {
        domain: "example.com".into(),
        selector: (*selector).into(),
        algorithm: *algorithm,
        header_canonicalization: Canonicalization::Relaxed,
        body_canonicalization: Canonicalization::Relaxed,
        timestamp: NOW,
        expiration: None,
    };
    BOTH.iter().map(request).collect()
}

/// [`MESSAGE`] with the signatures of both keys.
fn signed(keyring: &Keyring) -> Vec<u8> {
    let mut signer = Signer::new(requests());
    signer.push(MESSAGE);
    let mut out = Vec::new();
    for (input, (selector, algorithm)) in signer.finish().expect("it can be signed").into_iter().zip(BOTH) {
        let raw = keyring.sign("example.com", selector, algorithm.as_str(), &input.to_sign);
        out.extend_from_slice(&input.field);
        out.extend_from_slice(STANDARD.encode(raw.expect("it is signed")).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(MESSAGE);
    out
}

fn verdicts(message: &[u8], records: Vec<Txt>) -> Vec<SignatureVerdict> {
    let mut verifier = Verifier::new(records, NOW);
    verifier.push(message);
    verifier.finish()
}

fn mistake(list: &str) -> KeyringError {
    Keyring::read(list).expect_err("it is wrong")
}

#[test]
fn signatures_verify_with_the_public_keys() {
    let (list, records) = keys(KeySize::Rsa2048);
    let keyring = Keyring::read(&list).expect("it is valid");
    let found = verdicts(&signed(&keyring), records);
    assert!(found.len() == 2 && found.iter().all(|verdict| verdict.pass), "{found:?}");
    assert_eq!(
        format!("{keyring:?}"),
        "[(\"example.com\", \"rsa\", \"rsa-sha256\"), (\"example.com\", \"ed\", \"ed25519-sha256\")]",
        "no key is printed"
    );
}

#[test]
fn nothing_is_signed_that_was_not_asked_for() {
    let (list, _) = keys(KeySize::Rsa2048);
    let keyring = Keyring::read(&list).expect("it is valid");
    let mut signer = Signer::new(requests());
    signer.push(MESSAGE);
    let inputs = signer.finish().expect("it can be signed");
    let good = &inputs[0].to_sign;
    let sign = |domain: &str, selector: &str, algorithm: &str, octets: &[u8]| {
        keyring.sign(domain, selector, algorithm, octets)
    };
    for (domain, selector, algorithm) in [
        ("example.org", "rsa", "rsa-sha256"),
        ("sub.example.com", "rsa", "rsa-sha256"),
        ("example.com", "other", "rsa-sha256"),
        ("example.com", "rsa", "ed25519-sha256"),
        ("example.com", "rsa", "rsa-sha1"),
        ("", "", ""),
    ] {
        assert_eq!(sign(domain, selector, algorithm, good), Err(SignError::UnknownKey), "{algorithm}");
    }
    let refused = |octets: &[u8]| {
        let signed = sign("example.com", "rsa", "rsa-sha256", octets);
        assert!(matches!(signed, Err(SignError::Refused(_))), "{signed:?}");
    };
    refused(&inputs[1].to_sign);
    refused(b"");
    refused(&[0; 32]);
    let text = String::from_utf8(good.clone()).expect("ASCII");
    for (from, to) in
        [("d=example.com", "d=example.net"), ("; b=", "; l=1; b="), ("from:Shop", "x-from:Shop")]
    {
        let altered = text.replacen(from, to, 1);
        assert_ne!(altered, text);
        refused(altered.as_bytes());
    }
}

/// What is wrong is said, and nothing of a key.
#[test]
fn a_list_is_usable_as_a_whole_or_not_at_all() {
    let (list, _) = keys(KeySize::Rsa2048);
    let first = list.split(',').next().expect("two").to_owned();
    let base64 = first.rsplit(':').next().expect("a key").to_owned();
    for empty in ["", " \n,"] {
        assert_eq!(mistake(empty), KeyringError::Empty);
    }
    for (bad, words) in [
        (format!("{list},example.com"), "entry 3: it is not"),
        (format!("{list},a.example:s:rsa-sha256:"), "entry 3: it is not"),
        (format!("{list},{first}"), "entry 3: its name was given before"),
        (first.replace("rsa-sha256", "rsa-sha1"), "entry 1: the algorithm"),
        (first.replace("rsa-sha256", "ed25519-sha256"), "not an Ed25519 key"),
        (list.replace("ed25519-sha256", "rsa-sha256"), "entry 2: is not an RSA key"),
        (format!("{first}!"), "not base64"),
        (first[..first.len() - 400].to_owned(), "entry 1: "),
        (format!("a.example:s:rsa-sha256:-----BEGIN PRIVATE KEY-----{base64}"), "mistake in entry 1"),
    ] {
        let error = mistake(&bad).to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains(&base64[..20]), "{error}");
    }
    let many = vec![first; MAX_KEYS + 1].join(" ");
    assert!(matches!(mistake(&many), KeyringError::Entry { number: 2, .. }));
    let short = include_str!("../../../../host/keys/tests/data/rsa1024.pem");
    let short: String = short.lines().filter(|line| !line.starts_with("-----")).collect();
    let error = mistake(&format!("example.com:s:rsa-sha256:{short}"));
    assert!(error.to_string().contains("2048 to 4096 bits"), "{error}");
}

#[test]
fn keys_up_to_4096_bits_sign() {
    let (list, records) = keys(KeySize::Rsa4096);
    let keyring = Keyring::read(&list).expect("it is valid");
    assert!(verdicts(&signed(&keyring), records).iter().all(|verdict| verdict.pass));
}

/// RFC 8463 appendix A, and what OpenSSL makes with the RSA key of the tests.
#[test]
fn signatures_are_those_of_other_implementations() {
    let ed = "football.example.com:brisbane:ed25519-sha256:\
              MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
    let rsa = include_str!("../../../../host/keys/tests/data/rsa2048.pem");
    let rsa: String = rsa.lines().filter(|line| !line.starts_with("-----")).collect();
    let keyring = Keyring::read(&format!("{ed} example.com:s1:rsa-sha256:{rsa}")).expect("it is valid");
    let to_sign = "from:Joe SixPack <joe@football.example.com>\r\n\
        to:Suzie Q <suzie@shopping.example.net>\r\n\
        subject:Is dinner ready?\r\n\
        date:Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
        message-id:<20030712040037.46341.5F8J@football.example.com>\r\n\
        dkim-signature:v=1; a=ed25519-sha256; c=relaxed/relaxed; d=football.example.com; \
        i=@football.example.com; q=dns/txt; s=brisbane; t=1528637909; h=from : to : subject : date : \
        message-id : from : subject : date; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=";
    let raw = keyring.sign("football.example.com", "brisbane", "ed25519-sha256", to_sign.as_bytes());
    assert_eq!(STANDARD.encode(raw.expect("it is signed")), ED_SIGNATURE);
    // PKCS #1 v1.5 is deterministic, blinded or not.
    let to_sign = "from:Joe <joe@example.com>\r\ndkim-signature:v=1; a=rsa-sha256; c=relaxed/relaxed; \
        d=example.com; s=s1; t=1528637909; h=from:from; \
        bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=";
    for _ in 0..2 {
        let raw = keyring.sign("example.com", "s1", "rsa-sha256", to_sign.as_bytes());
        let expected = include_str!("../../tests/data/rsa2048.signature").trim();
        assert_eq!(STANDARD.encode(raw.expect("it is signed")), expected);
    }
}

proptest! {
    /// Any text: an answer without any of it, never a panic.
    #[test]
    fn any_list_is_read(list in "([a-z.]{0,9}:){0,4}(rsa-sha256|ed25519-sha256|:|,| |[A-Za-z0-9+/=]{0,40}|\\PC){0,9}") {
        if let Err(error) = Keyring::read(&list) {
            prop_assert!(error.to_string().starts_with("has "));
        }
    }
}
