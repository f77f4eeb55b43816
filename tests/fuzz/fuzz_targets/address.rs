//! Mail addresses where they are read: in the envelope, by the server, and in the header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relevo_fuzz::{octet, seeded_bug};
use relevo_mailkit::address::{self, Address, AddressError};
use relevo_mailkit::model::ValidateOptions;
use relevo_proto::Reply;
use relevo_proto::server::{AuthPolicy, BareNewlines, SessionConfig, Event, SessionLimits, ServerSession};
use relevo_validate::Validator;

/// The seeded bug: the domain stays as it is written.
fn parse(text: &str) -> Result<Address, AddressError> {
    let mut parsed = Address::parse(text)?;
    if seeded_bug() && text.is_ascii() {
        text.rsplit('@').next().unwrap_or_default().clone_into(&mut parsed.domain);
    }
    Ok(parsed)
}

/// What the server takes from MAIL FROM.
fn by_server(text: &str) -> Option<String> {
    let config = SessionConfig {
        hostname: "mx.test".to_owned(),
        starttls: false,
        auth: AuthPolicy::Off,
        auth_required: false,
        bare_newlines: BareNewlines::Refuse,
        offers: relevo_proto::server::Offers::default(),
        limits: SessionLimits::default(),
    };
    let mut session = ServerSession::new(config, None);
    session.greet(Ok(()));
    session.receive(b"EHLO x\r\n");
    while session.poll() != Event::NeedInput {}
    session.receive(format!("MAIL FROM:<{text}> SMTPUTF8\r\n").as_bytes());
    match session.poll() {
        Event::Mail(mail) => {
            session.decide(Err(Reply::new(550, (5, 7, 1), "no")));
            Some(mail.address)
        }
        _ => None,
    }
}

/// Addresses and domains of the authors in a From field.
fn by_header(text: &[u8]) -> Option<Vec<(String, String)>> {
    let options = ValidateOptions { smtputf8: true, ..relevo_validate::defaults() };
    let mut validator = Validator::new(options);
    validator.push(b"From: ");
    validator.push(text);
    validator.push(b"\r\nSender: s@example.org\r\n\r\n");
    let report = validator.finish().ok()?;
    let authors = report.authors.into_iter().filter(|a| a.address != "s@example.org");
    Some(authors.map(|a| (a.address, a.domain)).collect())
}

fn envelope(text: &str) {
    let Ok(parsed) = parse(text) else { return };
    let shown = parsed.to_string();
    assert_eq!(parse(&shown).as_ref(), Ok(&parsed), "{text:?} reads back differently");
    assert!(parsed.local.len() <= 64 && shown.len() <= 254, "{shown:?} is too long");
    assert!(!shown.chars().any(char::is_control), "a control character in {shown:?}");
    let quoted = parsed.local.starts_with('"');
    let special = [' ', '<', '>', ',', ';', '"', '('];
    assert!(quoted || !parsed.local.contains(special), "{shown:?} breaks out of a path");
    assert!(parsed.domain.is_ascii());
    if parsed.is_literal() {
        // RFC 5321 section 4.1.3: dcontent is any printable character but brackets and backslash.
        let inner = parsed.domain.strip_prefix('[').and_then(|d| d.strip_suffix(']'));
        assert!(inner.is_some_and(|d| !d.contains(['[', ']', '\\', ' '])), "{shown:?}");
    } else {
        assert_eq!(address::to_ascii(&parsed.domain).as_ref(), Ok(&parsed.domain), "not in canonical form");
        assert!(!parsed.domain.contains(|c: char| c.is_ascii_uppercase()));
    }
    // What one reader of ours takes, the others take too, and for the same; but for literals of
    // unknown kinds.
    if !parsed.is_literal() || parsed.literal_ip().is_some() {
        // The server has no `""@`: mailbox parsers disagree about it.
        if parsed.local != "\"\"" {
            assert_eq!(by_server(&shown).as_ref(), Some(&shown), "the server reads {shown:?} differently");
        }
        if shown != "s@example.org" {
            let authors = by_header(shown.as_bytes()).unwrap_or_default();
            let domain = parsed.domain.to_ascii_lowercase();
            assert_eq!(authors, [(shown.clone(), domain)], "the header reads {shown:?} differently");
        }
    }
}

fn domain(text: &str) {
    let Ok(ascii) = address::to_ascii(text) else { return };
    assert_eq!(address::to_ascii(&ascii).as_ref(), Ok(&ascii), "{text:?} converts twice");
    assert_eq!(address::to_ascii(&text.to_ascii_uppercase()).as_ref(), Ok(&ascii), "{text:?}: case matters");
    assert!(ascii.len() <= 253 && ascii.split('.').all(|l| (1..=63).contains(&l.len())));
    assert!(ascii.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.')));
}

fn header(text: &[u8]) {
    let Some(authors) = by_header(text) else { return };
    for (address, domain) in authors {
        assert!(!address.contains(['\r', '\n', '\0']), "{address:?}");
        if domain.starts_with('[') {
            assert!(address.to_ascii_lowercase().ends_with(&format!("@{domain}")), "{domain} of {address:?}");
        } else {
            let (_, written) = address.rsplit_once('@').expect("an author without domain");
            assert_eq!(address::to_ascii(written).as_ref(), Ok(&domain), "the domain of {address:?}");
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mode = octet(&mut rest);
    match (mode % 3, std::str::from_utf8(rest)) {
        (0, Ok(text)) => envelope(text),
        (1, Ok(text)) => domain(text),
        _ => header(rest),
    }
});
