//! Canonicalisation of header fields (RFC 6376 sections 3.4.1 and 3.4.2).
//!
//! mail-auth's own treats the form feed as whitespace, which the RFC does not (WSP is space and
//! tab), and drops it: a signature over a field that has one would not verify elsewhere. So the few
//! lines are here; a property test holds that they agree with mail-auth's on every other input.

use relevo_mailkit::model::Canonicalization;

/// Appends the canonicalised field. `name` is without the colon; `value` is all after it, with its
/// CRLF if it has one.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn relaxed(name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_field(Canonicalization::Relaxed, name, value, &mut out);
        out
    }

    #[test]
    fn a_form_feed_is_not_whitespace() {
        assert_eq!(relaxed(b"Subject", b" a\x0cb \x0c\r\n"), b"subject:a\x0cb \x0c\r\n");
    }

    proptest! {
        /// On everything but form feeds and whitespace inside a name, which no field has, mail-auth
        /// says the same.
        #[test]
        fn agrees_with_mail_auth(name in "[A-Za-z-]{1,70}[ \t]{0,2}", value in "([ \t]|\r\n[ \t]|[!-~]|\u{e9}){0,40}") {
            for (ours, theirs) in [
                (Canonicalization::Relaxed, mail_auth::dkim::Canonicalization::Relaxed),
                (Canonicalization::Simple, mail_auth::dkim::Canonicalization::Simple),
            ] {
                for end in ["", "\r\n"] {
                    let value = format!("{value}{end}");
                    let (mut a, mut b) = (Vec::new(), Vec::new());
                    write_field(ours, name.as_bytes(), value.as_bytes(), &mut a);
                    theirs.canonicalize_headers([(name.as_bytes(), value.as_bytes())].into_iter(), &mut b);
                    prop_assert_eq!(a, b);
                }
            }
        }
    }
}
