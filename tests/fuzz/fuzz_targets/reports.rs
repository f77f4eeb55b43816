//! Mail that comes back: however it is cut, one answer; every text of it is bounded and harmless;
//! nobody is the author of a report that has several, and keys are those of names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relevo_fuzz::{octet, pieces, seeded_bug, with_crlf};
use relevo_mailkit::returned::{ReturnedKind, ReturnedMail};
use relevo_reports::Reader;

/// A report around what is fuzzed.
const BEFORE: &str = "From: MAILER-DAEMON@mx.reader.test\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/";
const AFTER: &str = "\r\n--b--\r\n";

fn harmless(text: &str) {
    assert!(text.len() <= 1_024, "{} octets", text.len());
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

fn name(text: &str) {
    harmless(text);
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    assert!(text.len() <= 253 && text.chars().all(is_plain), "{text:?}");
}

fn check(mail: &ReturnedMail) {
    [&mail.reporter, &mail.subject].into_iter().for_each(|text| harmless(text));
    name(&mail.from_domain);
    mail.key_names.iter().for_each(|key| {
        name(key);
        assert!(key.contains("._domainkey."), "{key}");
    });
    assert!(mail.key_names.len() <= 8 && mail.recipients.len() <= 65, "{mail:?}");
    for recipient in &mail.recipients {
        let texts =
            [&recipient.original, &recipient.address, &recipient.status, &recipient.diagnostic, &recipient.remote];
        texts.into_iter().for_each(|text| harmless(text));
    }
    if let Some(feedback) = &mail.feedback {
        let texts = [&feedback.feedback_type, &feedback.user_agent, &feedback.mail_from, &feedback.source_ip];
        texts.into_iter().chain(&feedback.recipients).for_each(|text| harmless(text));
        harmless(&feedback.auth_failure);
        assert!(feedback.recipients.len() <= 16);
    }
    assert_eq!(mail.feedback.is_some(), mail.kind == ReturnedKind::Feedback, "{mail:?}");
    let original = &mail.original;
    assert!(original.received_ids.len() <= 8);
    let texts = [&original.message_id, &original.return_path, &original.cfbl_feedback_id];
    texts.into_iter().chain(&original.received_ids).for_each(|text| harmless(text));
    assert!(!original.cfbl_feedback_id.contains(char::is_whitespace));
}

/// From fields by lines: folded lines and what follows the first empty one do not count.
fn authors(message: &[u8]) -> usize {
    let lines = message.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let header = lines.take_while(|line| !line.is_empty());
    let is_from = |line: &&[u8]| {
        let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
        name.len() < line.len() && name.trim_ascii_end().eq_ignore_ascii_case(b"from")
    };
    header.filter(is_from).count()
}

fn read(message: &[u8], seed: u8) {
    let whole = relevo_reports::read(message);
    check(&whole);
    if !whole.from_domain.is_empty() {
        assert!(authors(message) <= 1, "{} is not the only author", whole.from_domain);
    }
    let (mut reader, mut pieces) = (Reader::default(), pieces(message, seed));
    if seeded_bug() {
        pieces.pop();
    }
    pieces.into_iter().for_each(|piece| reader.push(piece));
    assert_eq!(reader.finish(), whole, "it is cut");
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let (mode, seed) = (octet(&mut rest), octet(&mut rest));
    let part = |subtype: &str| {
        [BEFORE.as_bytes(), subtype.as_bytes(), b"\r\n\r\n", &with_crlf(rest), AFTER.as_bytes()].concat()
    };
    match mode % 4 {
        0 => read(&with_crlf(rest), seed),
        1 => read(rest, seed),
        2 => read(&part("delivery-status"), seed),
        _ => read(&part("feedback-report"), seed),
    }
});
