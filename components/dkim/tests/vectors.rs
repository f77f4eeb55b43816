//! The published vectors: RFC 6376 sections 3.4.5, 3.4.6 and appendix A, RFC 8463 appendix A.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{mail_auth_verdicts, unsigned, verdicts};
use relevo_mailkit::model::{Algorithm, Canonicalization, Txt};

const RFC6376_KEY: &str = "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";

fn txt(name: &str, value: &str) -> Txt {
    Txt { name: name.into(), value: value.into() }
}

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn rfc8463() -> (Vec<u8>, Vec<Txt>) {
    let message = crlf(include_str!("vectors/rfc8463-a3.txt"));
    let records = vec![
        txt(
            "brisbane._domainkey.football.example.com",
            "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        ),
        txt(
            "test._domainkey.football.example.com",
            "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
        ),
    ];
    (message, records)
}

#[test]
fn rfc8463_appendix_a_verifies_with_both_algorithms() {
    let (message, records) = rfc8463();
    let verdicts = verdicts(&message, &records, 1_528_637_909);
    let seen: Vec<_> =
        verdicts.iter().map(|v| (v.algorithm.as_str(), v.selector.as_str(), v.detail.as_str())).collect();
    assert_eq!(seen, [("ed25519-sha256", "brisbane", "pass"), ("rsa-sha256", "test", "pass")]);
    assert_eq!(mail_auth_verdicts(&message, &records), ["pass", "pass"]);
}

#[test]
fn rfc8463_appendix_a_altered_fails() {
    let (message, records) = rfc8463();
    for (from, to) in
        [("hungry", "Hungry"), ("Joe SixPack <", "Joe Sixpack <"), ("h=from : to :", "h=from : cc :")]
    {
        let text = String::from_utf8(message.clone()).unwrap();
        let altered = text.replacen(from, to, 1).into_bytes();
        assert_ne!(altered, message);
        assert!(!verdicts(&altered, &records, 1_528_637_909)[0].pass, "{from}");
    }
}

#[test]
fn rfc6376_appendix_a_verifies() {
    let message = crlf(include_str!("vectors/rfc6376-a2.txt"));
    let verdicts = verdicts(&message, &[txt("brisbane._domainkey.example.com", RFC6376_KEY)], 1_117_574_938);
    assert_eq!(verdicts.len(), 1);
    assert_eq!((verdicts[0].domain.as_str(), verdicts[0].detail.as_str()), ("example.com", "pass"));
}

/// The message of sections 3.4.5 and 3.4.6, with names that are signed.
#[test]
fn rfc6376_canonicalization_example() {
    let message = b"To: X\r\nFrom : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n";
    let headers = |c| {
        let request = common::request(Algorithm::RsaSha256, c, c);
        let to_sign = String::from_utf8(unsigned(message, &[request]).remove(0).to_sign).unwrap();
        let at = to_sign.to_ascii_lowercase().find("dkim-signature:").unwrap();
        let bh = to_sign.split("bh=").nth(1).unwrap().split(';').next().unwrap().to_owned();
        (to_sign[..at].to_owned(), bh)
    };
    let relaxed = headers(Canonicalization::Relaxed);
    assert_eq!(relaxed.0, "from:Y Z\r\nto:X\r\n");
    assert_eq!(relaxed.1, hash(b" C\r\nD E\r\n"));
    let simple = headers(Canonicalization::Simple);
    assert_eq!(simple.0, "From : Y\t\r\n\tZ  \r\nTo: X\r\n");
    assert_eq!(simple.1, hash(b" C \r\nD \t E\r\n"));
}

/// RFC 6376 sections 3.4.3 and 3.4.4 give these for an empty body.
#[test]
fn rfc6376_empty_bodies() {
    let cases: [(&[u8], _, _); 6] = [
        (b"From: a\r\n\r\n", Canonicalization::Simple, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
        (b"From: a\r\n\r\n", Canonicalization::Relaxed, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        (b"From: a\r\n", Canonicalization::Simple, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
        (b"From: a\r\n", Canonicalization::Relaxed, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        (
            b"From: a\r\n\r\n\r\n\r\n",
            Canonicalization::Simple,
            "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=",
        ),
        (
            b"From: a\r\n\r\n \r\n\t\r\n",
            Canonicalization::Relaxed,
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ),
    ];
    for (message, canonicalization, bh) in cases {
        let request = common::request(Algorithm::Ed25519Sha256, Canonicalization::Relaxed, canonicalization);
        let field = String::from_utf8(unsigned(message, &[request]).remove(0).field).unwrap();
        assert!(field.contains(&format!("bh={bh};")), "{message:?} {field}");
    }
}

fn hash(octets: &[u8]) -> String {
    use base64::Engine as _;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
    base64::engine::general_purpose::STANDARD.encode(hash.as_ref())
}
