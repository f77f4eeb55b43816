//! What is signed, how the field is written, and which requests and messages are refused.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{NOW, all_requests, complete, keys, request, signed, unsigned, verdicts};
use relevo_dkim::{MAX_HEADER, Signer};
use relevo_mailkit::model::{Algorithm, Canonicalization, SignatureRequest};

const MESSAGE: &[u8] = b"Received: by mx\r\nReturn-Path: <a@b>\r\nBcc: hidden@example.com\r\nDKIM-Signature: v=1; b=x\r\n\
From: Joe <joe@example.com>\r\nTo: a@example.com\r\nX-Mailer: y\r\nTo: b@example.com\r\nList-Unsubscribe: <https://x.example/>\r\n\r\nHi\r\n";

fn relaxed() -> SignatureRequest {
    request(Algorithm::RsaSha256, Canonicalization::Relaxed, Canonicalization::Relaxed)
}

fn field(message: &[u8], request: SignatureRequest) -> String {
    String::from_utf8(unsigned(message, &[request]).remove(0).field).unwrap()
}

fn refusal(message: &[u8], request: SignatureRequest) -> String {
    let mut signer = Signer::new(vec![request]);
    signer.push(message);
    signer.finish().unwrap_err()
}

#[test]
fn names_are_signed_and_oversigned() {
    let field = field(MESSAGE, relaxed()).replace("\r\n\t", "");
    let h = field.split("h=").nth(1).unwrap().split(';').next().unwrap();
    assert_eq!(
        h,
        "from:from:to:to:to:cc:subject:date:reply-to:message-id:mime-version:content-type:\
         content-transfer-encoding:list-unsubscribe"
    );
}

#[test]
fn fields_are_taken_from_the_bottom() {
    let to_sign = String::from_utf8(unsigned(MESSAGE, &[relaxed()]).remove(0).to_sign).unwrap();
    assert!(
        to_sign.starts_with(
            "from:Joe <joe@example.com>\r\nto:b@example.com\r\nto:a@example.com\r\n\
             list-unsubscribe:<https://x.example/>\r\ndkim-signature:v=1; "
        ),
        "{to_sign}"
    );
    assert!(to_sign.ends_with("; b="));
}

#[test]
fn lines_are_short_and_the_field_ends_in_b() {
    for mut request in all_requests() {
        request.expiration = Some(NOW + 1);
        let field = field(MESSAGE, request);
        assert!(field.starts_with("DKIM-Signature: v=1; a="));
        assert!(field.ends_with("\r\n\tb="));
        for line in field.split("\r\n") {
            assert!(line.len() < 78, "{line}");
        }
        assert!(!field.contains(" l=") && !field.contains("\tl="));
    }
}

#[test]
fn the_canonical_field_is_the_tail_of_what_is_signed() {
    for request in all_requests() {
        let header = request.header_canonicalization;
        let unsigned = unsigned(MESSAGE, &[request]).remove(0);
        let expected = match header {
            Canonicalization::Simple => unsigned.field.clone(),
            Canonicalization::Relaxed => {
                let text = String::from_utf8(unsigned.field.clone()).unwrap();
                let value =
                    text.strip_prefix("DKIM-Signature:").unwrap().replace("\r\n", "").replace('\t', " ");
                format!("dkim-signature:{}", value.trim()).into_bytes()
            }
        };
        assert!(unsigned.to_sign.ends_with(&expected));
    }
}

/// Where the field cannot be folded the lines are still under the limit of RFC 5322 section 2.1.1.
#[test]
fn longest_names() {
    let label = "a".repeat(63);
    let mut request = relaxed();
    request.domain = [label.as_str(); 4].join(".")[..253].to_owned();
    request.selector = label;
    assert!(field(MESSAGE, request).split("\r\n").all(|line| line.len() < 998));
}

#[test]
fn times() {
    let mut request = relaxed();
    assert!(field(MESSAGE, request.clone()).contains(&format!("t={NOW};")));
    assert!(!field(MESSAGE, request.clone()).contains("x="));
    request.expiration = Some(NOW + 60);
    assert!(field(MESSAGE, request.clone()).contains(&format!("x={};", NOW + 60)));
    let message = signed(MESSAGE, std::slice::from_ref(&request));
    assert_eq!(verdicts(&message, &keys().records(), NOW + 59)[0].detail, "pass");
    assert_eq!(verdicts(&message, &keys().records(), NOW + 60)[0].detail, "expired");
    request.expiration = Some(NOW);
    assert_eq!(refusal(MESSAGE, request.clone()), format!("x={NOW} is not after t={NOW}"));
    request.timestamp = -1;
    assert_eq!(refusal(MESSAGE, request), "t= is before 1970: -1");
}

#[test]
fn a_request_cannot_write_tags_of_its_own() {
    for name in ["", "a;l=1", "a b", "a..b", ".a", "a\r\nb", "é.example", "a."] {
        let mut request = relaxed();
        request.domain = name.into();
        assert!(refusal(MESSAGE, request.clone()).starts_with("d= "), "{name}");
        request.domain = "example.com".into();
        request.selector = name.into();
        assert!(refusal(MESSAGE, request).starts_with("s= "), "{name}");
    }
}

#[test]
fn messages_without_from_are_refused() {
    for message in [&b""[..], b"\r\n", b"\r\nFrom: a\r\n\r\n", b"To: a\r\n\r\nFrom: b\r\n", b"From"] {
        assert_eq!(refusal(message, relaxed()), "no From field");
    }
}

#[test]
fn the_header_block_is_bounded() {
    let mut message = b"From: a@example.com\r\n".to_vec();
    while message.len() <= MAX_HEADER {
        message.extend_from_slice(b"X-Padding: 0123456789012345678901234567890123456789\r\n");
    }
    message.extend_from_slice(b"\r\nbody\r\n");
    assert!(refusal(&message, relaxed()).contains("longer than 1048576"));
    assert!(!verdicts(&message, &[], NOW)[0].pass);
}

#[test]
fn no_requests_no_signatures() {
    assert!(unsigned(MESSAGE, &[]).is_empty());
}

/// RFC 6376 section 3.5: folding inside b= is not signed.
#[test]
fn folding_of_the_signature_does_not_matter() {
    for request in all_requests() {
        let unsigned = unsigned(MESSAGE, std::slice::from_ref(&request)).remove(0);
        let signature = keys().sign(request.algorithm, &unsigned.to_sign);
        let folded = complete(&unsigned, &signature);
        let flat = String::from_utf8(folded.clone()).unwrap();
        let (head, b) = flat.rsplit_once("b=").unwrap();
        let flat = format!("{head}b={}\r\n", b.replace(['\r', '\n', '\t'], ""));
        for field in [folded, flat.into_bytes()] {
            let message = [&field[..], MESSAGE].concat();
            assert_eq!(verdicts(&message, &keys().records(), NOW)[0].detail, "pass");
        }
    }
}

#[test]
fn verdicts_say_why() {
    let records = keys().records();
    let message = String::from_utf8(signed(MESSAGE, &[relaxed()])).unwrap();
    let detail = |message: &str, records: &[_]| verdicts(message.as_bytes(), records, NOW)[0].detail.clone();
    assert_eq!(detail(&message, &records), "pass");
    assert_eq!(detail(&message, &[]), "no key at rsa._domainkey.example.com");
    assert_eq!(detail(&message.replace("Hi\r\n", "Ho\r\n"), &records), "body hash did not verify");
    assert_eq!(detail(&message.replace("joe@", "jim@"), &records), "Signature verification failed");
    assert_eq!(detail(&message.replace(" v=1;", " v=2;"), &records), "Unsupported version in DKIM Signature");
    assert_eq!(
        detail(&message.replace("a=rsa-sha256", "a=rsa-sha1"), &records),
        "rsa-sha1 is not accepted (RFC 8301)"
    );
    assert!(detail(&message.replace(" v=1;", " v=1; l=1;"), &records).starts_with("l= is not accepted"));
    assert!(detail(&message.replace(" v=1;", " v=1; l=0;"), &records).starts_with("l= is not accepted"));
    assert_eq!(detail(&message.replace("h=from:from:", "h="), &records), "From is not signed");
    assert_eq!(
        detail(&message.replace(" v=1;", " v=1; i=@other.example;"), &records),
        "i= does not match d="
    );
    let mut revoked = records.clone();
    revoked[0].value = "v=DKIM1; p=".into();
    assert_eq!(detail(&message, &revoked), "Public key for this signature has been revoked");
    let mut other = records.clone();
    other[0].value = records[1].value.clone();
    assert!(!verdicts(message.as_bytes(), &other, NOW)[0].pass);
    assert!(
        verdicts(MESSAGE, &records, NOW).len() == 1,
        "one verdict for the broken signature that was there"
    );
}

#[test]
fn signatures_over_the_limit_are_not_checked() {
    let requests = vec![relaxed(); relevo_dkim::MAX_SIGNATURES + 1];
    let verdicts = verdicts(&signed(b"From: a@example.com\r\n\r\n", &requests), &keys().records(), NOW);
    assert_eq!(verdicts.iter().filter(|v| v.pass).count(), relevo_dkim::MAX_SIGNATURES);
    assert_eq!(verdicts.last().unwrap().detail, "too many signatures");
}

/// Lines that are empty but for whitespace, at the end: mail-auth 0.13 hashes them wrongly under
/// relaxed.
#[test]
fn whitespace_at_the_end_of_the_body() {
    let plain = field(b"From: a@example.com\r\n\r\na\r\n", relaxed());
    for tail in [" \r\n", "\t \r\n \r\n", "\r\n \r\n\r\n", " ", " \r\n \t"] {
        let message = format!("From: a@example.com\r\n\r\na\r\n{tail}");
        assert_eq!(field(message.as_bytes(), relaxed()), plain, "{tail:?}");
    }
    // In the middle the line stays, empty.
    let middle = field(b"From: a@example.com\r\n\r\na\r\n\r\nb\r\n", relaxed());
    assert_eq!(field(b"From: a@example.com\r\n\r\na\r\n \t \r\nb\r\n", relaxed()), middle);
    assert_ne!(middle, plain);
    // At the beginning, too.
    let first = field(b"From: a@example.com\r\n\r\n\r\nb\r\n", relaxed());
    assert_eq!(field(b"From: a@example.com\r\n\r\n \r\nb\r\n", relaxed()), first);
}

/// The host's checker takes what the signer makes.
#[test]
fn the_checker_accepts_it() {
    let message = [MESSAGE, b" \r\n"].concat();
    for mut request in all_requests() {
        request.expiration = Some(NOW + 1);
        let unsigned = unsigned(&message, std::slice::from_ref(&request)).remove(0);
        let from = b"From: Joe <joe@example.com>";
        let checked = relevo_mailkit::recheck::signing_input(
            &unsigned,
            &request.domain,
            &request.selector,
            request.algorithm,
            from,
        );
        assert_eq!(checked, Ok(()), "{request:?}");
    }
}
