//! The look at content: any message, cut in any way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relevo_content::{Inspector, MAX_FINDINGS, Reader};
use relevo_fuzz::{octet, pieces, seeded_bug};
use relevo_mailkit::model::{ContentOptions, Finding};

fn inspect(options: ContentOptions, chunks: &[&[u8]]) -> Result<Vec<Finding>, String> {
    let mut inspector = Inspector::new(options);
    // The seeded bug: a chunk of one octet ends the message.
    for chunk in chunks.iter().take_while(|chunk| !seeded_bug() || chunk.len() != 1) {
        inspector.push(chunk);
    }
    inspector.finish()
}

/// The attachments that are named can be had, in their sizes.
fn read(message: &[u8]) {
    let mut reader = Reader::default();
    reader.push(message);
    let Ok(parts) = reader.parts() else { return };
    for (number, attachment) in (0..).zip(parts.attachments).take(3) {
        let mut reader = Reader::default();
        reader.push(message);
        let octets = reader.attachment(number).ok().flatten().map(|octets| octets.len() as u64);
        assert_eq!(octets, Some(attachment.size), "attachment {number}");
    }
}

/// An HTML part that is well formed as MIME, so that the document is read.
fn as_html(text: &[u8]) -> Vec<u8> {
    [b"Subject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n", text].concat()
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let (flags, seed) = (octet(&mut rest), octet(&mut rest));
    let options = ContentOptions { marketing: flags & 1 != 0 };
    let message = if flags & 2 != 0 { as_html(rest) } else { rest.to_vec() };
    read(&message);
    let found = inspect(options, &[&message]);
    assert_eq!(inspect(options, &pieces(&message, seed)), found, "cut differently (seed {seed})");
    let Ok(findings) = found else { return };
    assert!(findings.len() <= MAX_FINDINGS);
    assert!(findings.is_sorted_by(|a, b| a.severity >= b.severity), "not by severity");
    for finding in findings {
        assert!(!finding.message.is_empty() && finding.message.len() <= 520, "{finding:?}");
        let text = finding.message + finding.location.as_deref().unwrap_or_default();
        assert!(!text.contains(relevo_mailkit::text::is_unsafe), "{text:?}");
    }
});
