//! Random messages: signed as the host signs, checked by this crate and by mail-auth's own
//! verifier.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{NOW, all_requests, keys, mail_auth_verdicts, signed, unsigned, unsigned_in_chunks, verdicts};
use proptest::prelude::*;

/// Names that are signed, oversigned, left out, in any case.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "Subject",
        "SUBJECT ",
        "To",
        "cc",
        "Reply-To",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "X-Other",
        "Received",
        "Content-Type",
    ])
    .prop_map(str::to_owned)
}

/// A value with whitespace and folds anywhere, and raw UTF-8.
fn value() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["a", "B:", ";", " ", "\t", "\r\n ", "\r\n\t", "é", "=?x?="]),
        0..12,
    )
    .prop_map(|parts| format!("{}x", parts.concat()))
}

fn body() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["\r\n", " ", "\t", "a", "word", " \r\n", "\r\n\r\n", ".", "\u{1}"]);
    prop::collection::vec(piece, 0..60).prop_map(|parts| parts.concat())
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec((name(), value()), 0..10), body(), any::<bool>()).prop_map(
        |(fields, body, last)| {
            let mut out = String::new();
            let from = "From: Joe <joe@example.com>\r\n";
            if !last {
                out.push_str(from);
            }
            for (name, value) in fields {
                out.push_str(&format!("{name}:{value}\r\n"));
            }
            if last {
                out.push_str(from);
            }
            out.push_str("\r\n");
            out.push_str(&body);
            out.into_bytes()
        },
    )
}

/// What mail-auth 0.13 gets wrong: whitespace on a line that is empty but for it, whitespace before
/// a colon.
fn mail_auth_gets_wrong(message: &[u8]) -> bool {
    let message = String::from_utf8_lossy(message);
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    header.contains("SUBJECT :")
        || body.split("\r\n").any(|line| !line.is_empty() && line.trim_matches([' ', '\t']).is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn signed_messages_verify(message in message()) {
        let requests = all_requests();
        let whole = signed(&message, &requests);
        let records = keys().records();
        for verdict in verdicts(&whole, &records, NOW) {
            prop_assert!(verdict.pass, "{verdict:?}");
        }
        if !mail_auth_gets_wrong(&message) {
            prop_assert_eq!(mail_auth_verdicts(&whole, &records), vec!["pass"; requests.len()]);
        }
    }

    /// One octet altered anywhere but in whitespace and letter case fails every signature that
    /// covers it.
    #[test]
    fn altered_messages_fail(message in message(), at in any::<prop::sample::Index>()) {
        let whole = signed(&message, &all_requests());
        let body = message.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4 + (whole.len() - message.len());
        prop_assume!(body < whole.len());
        let at = body + at.index(whole.len() - body);
        let mut altered = whole.clone();
        prop_assume!(altered[at].is_ascii_alphabetic());
        altered[at] = if altered[at] == b'q' { b'z' } else { b'q' };
        for verdict in verdicts(&altered, &keys().records(), NOW) {
            prop_assert_eq!(verdict.detail, "body hash did not verify");
        }
    }

    #[test]
    fn altered_from_fails(message in message()) {
        let whole = signed(&message, &all_requests());
        let text = String::from_utf8(whole).unwrap().replace("Joe <joe@", "Joe <jim@");
        for verdict in verdicts(text.as_bytes(), &keys().records(), NOW) {
            prop_assert_eq!(verdict.detail, "Signature verification failed");
        }
    }

    /// Oversigning: one more field of a name that is signed breaks the signature, above or below.
    #[test]
    fn added_fields_fail(message in message(), name in prop::sample::select(vec!["From", "Subject", "Cc", "Reply-To", "Content-Type"])) {
        let whole = String::from_utf8(signed(&message, &all_requests())).unwrap();
        let added = whole.replacen("\r\n\r\n", &format!("\r\n{name}: more\r\n\r\n"), 1);
        let above = format!("{name}: more\r\n{whole}");
        for altered in [added, above] {
            for verdict in verdicts(altered.as_bytes(), &keys().records(), NOW) {
                prop_assert!(!verdict.pass);
            }
        }
    }

    #[test]
    fn chunking_changes_nothing(message in message(), sizes in prop::collection::vec(1usize..9, 1..6)) {
        let requests = all_requests();
        prop_assert_eq!(unsigned_in_chunks(&message, &requests, &sizes), unsigned(&message, &requests));
    }

    /// Any octets in any order: an answer, never a panic.
    #[test]
    fn hostile_input(message in prop::collection::vec(prop::sample::select(b"\r\n :;=bhdDKIM-Signature From\0\xff".to_vec()), 0..400), sizes in prop::collection::vec(1usize..9, 1..4)) {
        let mut signer = relevo_dkim::Signer::new(all_requests());
        let mut verifier = relevo_dkim::Verifier::new(keys().records(), NOW);
        let (mut rest, mut sizes) = (&message[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (chunk, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            signer.push(chunk);
            verifier.push(chunk);
            rest = tail;
        }
        let _ = signer.finish();
        prop_assert!(verifier.finish().iter().all(|verdict| !verdict.pass));
    }
}
