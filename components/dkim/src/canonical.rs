//! Canonicalisation of header fields (RFC 6376 sections 3.4.1 and 3.4.2).
//!
//! mail-auth's own treats the form feed as whitespace, which the RFC does not (WSP is space and tab), and drops it: a
//! signature over a field that has one would not verify elsewhere. So the few lines are here; a property test holds
//! that they agree with mail-auth's on every other input.

use relevo_mailkit::model::Canonicalization;

/// Appends the canonicalised field. `name` is without the colon; `value` is all after it, with its CRLF if it has one.
pub(crate) fn write_field(canonicalization: Canonicalization, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    match canonicalization {
        Canonicalization::Simple => {
            out.extend_from_slice(name);
            out.push(b':');
            out.extend_from_slice(value);
        }
        Canonicalization::Relaxed => {
            out.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
            out.push(b':');
            write_relaxed_value(value, out);
            if value.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// Unfolded, every run of whitespace one space, none at either end.
fn write_relaxed_value(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut space = false;
    for &octet in value {
        match octet {
            b'\r' | b'\n' => {}
            b' ' | b'\t' => space = true,
            _ => {
                if space && out.len() > start {
                    out.push(b' ');
                }
                space = false;
                out.push(octet);
            }
        }
    }
}
