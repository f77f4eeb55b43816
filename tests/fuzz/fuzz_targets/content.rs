//! The look at content: any message, cut in any way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relevo_content::{Inspector, MAX_FINDINGS};
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

/// An HTML part that is well formed as MIME, so that the document is read.
fn as_html(text: &[u8]) -> Vec<u8> {
    [b"Subject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n", text].concat()
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let (flags, seed) = (octet(&mut rest), octet(&mut rest));
    let options = ContentOptions { marketing: flags & 1 != 0 };
    let message = if flags & 2 != 0 { as_html(rest) } else { rest.to_vec() };
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
