//! Submission checks: whatever is accepted is a message that is fit for transport once the report
//! is carried out.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use relevo_fuzz::{has_bare, longest_line, octet, pieces, read_all, seeded_bug, with_crlf};
use relevo_mailkit::model::{Refusal, Report, ValidateOptions};
use relevo_mailkit::recheck;
use relevo_mailkit::splice::{NoLinks, Splice};
use relevo_validate::Validator;

fn options(flags: u8) -> ValidateOptions {
    ValidateOptions {
        smtputf8: flags & 1 != 0,
        downgrade: flags & 2 != 0,
        include_headers: false,
        strict_headers: false,
        max_depth: if flags & 4 != 0 { 2 } else { 20 },
        max_parts: if flags & 8 != 0 { 4 } else { 1000 },
        ..relevo_validate::defaults()
    }
}

fn validate(options: &ValidateOptions, chunks: &[&[u8]]) -> Result<Report, Refusal> {
    let mut validator = Validator::new(options.clone());
    chunks.iter().for_each(|chunk| validator.push(chunk));
    validator.finish()
}

fn check_parts(report: &Report, size: u64) {
    for (index, part) in report.parts.iter().enumerate() {
        assert!(part.header.end() <= part.body.offset, "part {index}: {part:?}");
        assert!(part.body.end() <= size, "part {index} reaches past the message");
        if let Some(field) = part.encoding_field {
            assert!(field.offset >= part.header.offset && field.end() <= part.header.end(), "part {index}");
        }
        let Some(parent) = part.parent else {
            assert_eq!(index, 0, "a second root");
            continue;
        };
        assert!((parent as usize) < index, "part {index} is before its parent");
        let around = report.parts[parent as usize].body;
        // The header of a carried part that a delimiter cuts off keeps its last line end, which the
        // delimiter owns too.
        let shared = if part.sealed { 2 } else { 0 };
        assert!(
            around.offset <= part.header.offset && part.body.end() <= around.end() + shared,
            "part {index} is not within its parent"
        );
    }
    for edit in &report.edits {
        assert!(edit.part.is_none_or(|p| (p as usize) < report.parts.len()));
    }
}

/// The message with the report carried out.
///
/// The seeded bug: the first thing that is taken out loses its last octet, so that this one stays.
fn carried_out(report: &Report, message: &[u8]) -> Vec<u8> {
    let mut edits = report.edits.clone();
    if seeded_bug()
        && let Some(edit) = edits.iter_mut().find(|edit| edit.at.length > 0)
    {
        edit.at.length -= 1;
    }
    recheck::header_fields(&report.added_headers).expect("added headers");
    recheck::edits(&edits, message.len() as u64, 0).expect("edits");
    let source = Arc::new(message.to_vec());
    let splice = Splice::new(report.added_headers.clone(), source, edits, &NoLinks)
        .expect("edits that pass can be applied");
    read_all(&splice, 4096).expect("reading from memory")
}

fn check(options: &ValidateOptions, report: &Report, message: &[u8]) {
    check_parts(report, message.len() as u64);
    let out = carried_out(report, message);
    assert!(!has_bare(&out) && !out.contains(&0), "a bare CR or LF, or a NUL");
    assert!(longest_line(&out) <= 998, "a line of {} octets", longest_line(&out));
    assert!(
        report.eight_bit || report.utf8_header || out.is_ascii(),
        "octets above 127 that are not announced"
    );
    // Nothing is left to be fixed; malformed fields that were only noted are noted again.
    let again = validate(options, &[&out]).unwrap_or_else(|r| panic!("refused after fixes: {r:?}"));
    assert!(
        again.fixes.iter().all(|note| note.name.ends_with("-malformed")) && again.edits.is_empty() && again.added_headers.is_empty(),
        "fixed once more: {:?}",
        again.fixes
    );
    assert_eq!(again.authors, report.authors);
    assert_eq!(again.message_id, report.message_id);
    assert_eq!(again.from_field, report.from_field);
    assert_eq!((again.eight_bit, again.utf8_header), (report.eight_bit, report.utf8_header));
    assert_eq!(again.parts.len(), report.parts.len(), "the structure is another one");
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let (flags, seed) = (octet(&mut rest), octet(&mut rest));
    let options = options(flags);
    // Half of the time without the line ends that every second mutation breaks.
    let message = if flags & 128 == 0 { with_crlf(rest) } else { rest.to_vec() };
    let whole = validate(&options, &[&message]);
    for seed in [0, seed] {
        assert_eq!(validate(&options, &pieces(&message, seed)), whole, "cut differently (seed {seed})");
    }
    match whole {
        Ok(report) => check(&options, &report, &message),
        Err(refusal) => {
            assert!(matches!(refusal.code, 550 | 552 | 554) && !refusal.rule.is_empty(), "{refusal:?}")
        }
    }
});
