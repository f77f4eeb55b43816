//! The validator never panics, and does not care how its input is cut.

use proptest::prelude::*;
use relevo_mailkit::model::{Refusal, Report, ValidateOptions};
use relevo_validate::{Validator, defaults};

fn run(
    options: &ValidateOptions,
    chunks: impl IntoIterator<Item = impl AsRef<[u8]>>,
) -> Result<Report, Refusal> {
    let mut validator = Validator::new(options.clone());
    chunks.into_iter().for_each(|c| validator.push(c.as_ref()));
    validator.finish()
}

/// Lines that matter, strung together: most of them make structure.
fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "From: a@example.org", "From: a@b.example, c@d.example", "Sender: a@example.org", "To: x@y", "Bcc: z@y",
            "Date: Sun, 22 Nov 2026 05:34:00 +0000", "Message-ID: <a@b>", "", "", "", "text", " folded", "Subject: x",
            "Content-Type: multipart/mixed; boundary=b", "Content-Type: multipart/mixed; boundary=c",
            "Content-Type: multipart/signed; boundary=s", "Content-Type: message/rfc822", "Content-Type: text/html",
            "Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: 8bit", "MIME-Version: 1.0", "--b", "--b",
            "--b--", "--b--", "--c", "--c--", "--s", "--s--", "--b  ", "--bb", "DKIM-Signature: v=1",
            "Content-Transfer-Encoding: quoted-printable", "Content-Transfer-Encoding: binary", "X-Relevo-Tag: a=b",
            "X-Relevo-Metadata: {\"a\":", "x-relevo-metadata: =?utf-8?q?=7B=7D?=", "X-Relevo-Send-At: in 2 hours", "X-Relevo-",
        ]).prop_map(|s| [s.as_bytes(), b"\r\n"].concat()),
        1 => prop::sample::select(vec![&b"\r"[..], b"\n", b"\0", b"\xc3\xa9\r\n", b"\xff\r\n", b"\x01", b"x"])
            .prop_map(<[u8]>::to_vec),
        1 => (980_usize..3000).prop_map(|n| [&b"x".repeat(n)[..], b"\r\n"].concat()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let valid = prop::sample::select(vec![
        &b""[..],
        b"From: a@example.org\r\n",
        b"From: a@example.org\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
        b"From: a@example.org\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        b"From: a@example.org\r\nContent-Transfer-Encoding: binary\r\n\r\n",
        b"From: a@example.org\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: binary\r\n\r\n",
    ]);
    (valid, prop::collection::vec(line(), 0..24)).prop_map(|(start, lines)| [start, &lines.concat()].concat())
}

fn options() -> impl Strategy<Value = ValidateOptions> {
    (any::<bool>(), any::<bool>(), 1_u32..6, 1_u32..12).prop_map(
        |(smtputf8, downgrade, max_depth, max_parts)| ValidateOptions {
            smtputf8,
            downgrade,
            max_depth,
            max_parts,
            ..defaults()
        },
    )
}

/// Edits and parts as the WIT promises them.
fn check(report: &Report, size: u64) -> Result<(), TestCaseError> {
    let mut last = None;
    let mut end = 0;
    for edit in &report.edits {
        prop_assert!(last < Some(edit.at.offset), "two edits at {}", edit.at.offset);
        prop_assert!(edit.at.offset >= end && edit.at.end() <= size);
        last = Some(edit.at.offset);
        end = edit.at.end();
        let part = edit.part.and_then(|p| report.parts.get(p as usize));
        prop_assert_eq!(part.is_some(), edit.part.is_some());
    }
    for (index, part) in report.parts.iter().enumerate() {
        prop_assert!(part.header.end() <= part.body.offset || part.body.length == 0);
        prop_assert!(part.body.end() <= size, "{part:?}");
        if let Some(parent) = part.parent {
            prop_assert!((parent as usize) < index);
        }
        if part.sealed {
            let inside = |o: u64| o >= part.header.offset && o < part.body.end();
            prop_assert!(index == 0 || !report.edits.iter().any(|e| e.part.is_some() && inside(e.at.offset)));
        }
    }
    prop_assert!(report.added_headers.is_empty() || report.added_headers.ends_with(b"\r\n"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_the_same(message in message(), options in options(), sizes in prop::collection::vec(1_usize..70, 1..20)) {
        let whole = run(&options, [&message]);
        let single = run(&options, message.chunks(1));
        prop_assert_eq!(&whole, &single);
        let mut rest = &message[..];
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, next) = rest.split_at(rest.len().min(*size));
            pieces.push(piece);
            rest = next;
        }
        prop_assert_eq!(&whole, &run(&options, &pieces));
        if let Ok(report) = whole {
            check(&report, message.len() as u64)?;
        }
    }

    #[test]
    fn noise_never_panics(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = run(&defaults(), [&octets]);
        let with_from = [b"From: a@example.org\r\n\r\n", &octets[..]].concat();
        let _ = run(&defaults(), [&with_from]);
    }
}

/// Ten megabytes of base64 in one line would need more line breaks than are worth their memory.
#[test]
fn too_many_long_encoded_lines_are_refused() {
    let header = b"From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let body = "QUJD".repeat(16 * 1024);
    let rule = |megabytes: usize| {
        let mut validator = Validator::new(defaults());
        validator.push(header);
        (0..megabytes * 16).for_each(|_| validator.push(body.as_bytes()));
        validator.push(b"\r\n");
        validator.finish().map(|r| r.edits.len()).map_err(|r| r.rule)
    };
    assert_eq!(rule(9), Ok(9629));
    assert_eq!(rule(10), Err("long-line-encoded".into()));
}

/// A megabyte of header, in one field and in many.
#[test]
fn large_headers_are_refused() {
    for line in [format!("X: {}\r\n", "v".repeat(900)), format!(" {}\r\n", "v".repeat(900))] {
        let mut validator = Validator::new(defaults());
        validator.push(b"From: a@example.org\r\nX: v\r\n");
        (0..1200).for_each(|_| validator.push(line.as_bytes()));
        assert_eq!(validator.finish().unwrap_err().rule, "header-too-large");
    }
}

/// Each rule can be broken, and a case shows how. `long-line-encoded` needs ten megabytes and has
/// its test above.
#[test]
fn every_rule_has_a_case() {
    let cases = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/validate");
    let mut broken = std::collections::BTreeSet::from(["long-line-encoded".to_owned()]);
    for entry in std::fs::read_dir(cases).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path().join("expected.txt")).unwrap_or_default();
        let refused =
            text.strip_prefix("refused\n").or_else(|| text.split_once("options refused\n").map(|(_, t)| t));
        let refusal = refused.and_then(|t| t.split(' ').nth(2));
        broken.extend(refusal.map(|r| r.trim_end_matches(':').to_owned()));
    }
    let rules = relevo_validate::rules::RULES.iter().map(|r| r.name.to_owned()).collect();
    assert_eq!(broken, rules);
}
