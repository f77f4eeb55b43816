//! From transfer-encoded octets to text, and from offsets in the text back to offsets in the
//! message.

use relevo_mailkit::transfer::base64;

/// A token of quoted-printable (RFC 2045 section 6.7): where it ends, and how many octets of text
/// it stands for (none for soft breaks and for whitespace before a line end).
struct Token {
    end: usize,
    octet: Option<u8>,
    /// The token is a run that stands for itself.
    literal: bool,
}

/// Decodes quoted-printable.
pub(crate) fn quoted_printable(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    walk(raw, |start, token| {
        if token.literal {
            out.extend_from_slice(&raw[start..token.end]);
        }
        out.extend(token.octet);
        true
    });
    out
}

/// Turns offsets in the decoded text, ascending, into offsets in the quoted-printable: after the
/// token of the octet before. So a soft break, or whitespace that the decoder drops, belongs to
/// what comes after it.
pub(crate) fn quoted_printable_offsets(raw: &[u8], mut decoded: &[usize]) -> Vec<usize> {
    let mut offsets = Vec::with_capacity(decoded.len());
    let mut at = 0;
    while decoded.first() == Some(&0) {
        offsets.push(0);
        decoded = &decoded[1..];
    }
    walk(raw, |start, token| {
        let length = if token.literal { token.end - start } else { usize::from(token.octet.is_some()) };
        while let Some(wanted) = decoded.first().copied().filter(|wanted| *wanted <= at + length) {
            offsets.push(if token.literal { start + (wanted - at) } else { token.end });
            decoded = &decoded[1..];
        }
        at += length;
        !decoded.is_empty()
    });
    offsets.extend(decoded.iter().map(|_| raw.len()));
    offsets
}

/// Calls `each` with the start of each token and the token until it says no.
fn walk(raw: &[u8], mut each: impl FnMut(usize, Token) -> bool) {
    let mut at = 0;
    while at < raw.len() {
        let token = token(raw, at);
        let end = token.end;
        if !each(at, token) {
            return;
        }
        at = end;
    }
}

fn token(raw: &[u8], at: usize) -> Token {
    let rest = &raw[at..];
    match rest {
        [b'=', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
            Token { end: at + 3, octet: Some(hex(*a) << 4 | hex(*b)), literal: false }
        }
        [b'=', tail @ ..] => {
            let blank = blank(tail);
            match &tail[blank..] {
                [] => Token { end: raw.len(), octet: None, literal: false },
                [b'\r', b'\n', ..] => Token { end: at + 1 + blank + 2, octet: None, literal: false },
                [b'\n', ..] => Token { end: at + 1 + blank + 1, octet: None, literal: false },
                _ => Token { end: at + 1, octet: None, literal: true },
            }
        }
        [b' ' | b'\t', ..] => {
            let blank = blank(rest);
            let dropped = matches!(&rest[blank..], [] | [b'\r', b'\n', ..]);
            Token { end: at + blank, octet: None, literal: !dropped }
        }
        _ => {
            let length = rest.iter().position(|b| matches!(b, b'=' | b' ' | b'\t')).unwrap_or(rest.len());
            Token { end: at + length, octet: None, literal: true }
        }
    }
}

/// Leading spaces and tabs.
fn blank(octets: &[u8]) -> usize {
    octets.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or(0)
}

/// A place in base64 where an edit can start: at the beginning of a line, after whole quanta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Quantum {
    /// Offset in the base64.
    pub(crate) raw: usize,
    /// Octets decoded until there.
    pub(crate) decoded: usize,
}

/// The last such place at or before an offset in the decoded octets.
pub(crate) fn base64_quantum(raw: &[u8], decoded: usize) -> Quantum {
    let mut decoder = base64::Decoder::default();
    let (mut last, mut at, mut out, mut before) = (Quantum::default(), 0, Vec::new(), 0);
    for line in raw.split_inclusive(|b| *b == b'\n') {
        decoder.push(line, &mut out);
        at += line.len();
        before += out.len();
        out.clear();
        if before > decoded {
            break;
        }
        if decoder.is_complete() && line.ends_with(b"\n") {
            last = Quantum { raw: at, decoded: before };
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use relevo_mailkit::transfer::{decode_base64, decode_quoted_printable, encode_base64};

    #[test]
    fn offsets_are_after_the_octet_before() {
        //          0123456789 0 1 23 4 5
        let raw = b"a=3Db =\r\nc  \r\nd";
        assert_eq!(quoted_printable(raw), b"a=b c\r\nd");
        assert_eq!(
            quoted_printable_offsets(raw, &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
            [0, 1, 4, 5, 6, 10, 13, 14, 15]
        );
    }

    proptest! {
        #[test]
        fn decodes_as_everybody_does(raw in "([=0-9A-F \tx]|\r\n|=\r\n|=20){0,60}") {
            prop_assert_eq!(quoted_printable(raw.as_bytes()), decode_quoted_printable(raw.as_bytes()));
        }

        /// The octets before an offset decode to the text before it, and those after it to the text
        /// after it.
        #[test]
        fn offsets_divide(raw in "([=0-9A-F x\u{e9}]|\r\n| \r\n|=\r\n|=20){0,40}", at in any::<prop::sample::Index>()) {
            let raw = raw.as_bytes();
            let decoded = quoted_printable(raw);
            let at = at.index(decoded.len() + 1);
            // No change divides a line end.
            prop_assume!(!(decoded[..at].ends_with(b"\r") && decoded[at..].starts_with(b"\n")));
            let offset = quoted_printable_offsets(raw, &[at])[0];
            // A soft break keeps whitespace at the end of the first half.
            prop_assert_eq!(quoted_printable(&[&raw[..offset], b"=\r\n"].concat()), &decoded[..at]);
            prop_assert_eq!(quoted_printable(&raw[offset..]), &decoded[at..]);
        }

        #[test]
        fn quanta_divide(data: Vec<u8>, noise in "[!\r\n ]{0,3}", at in any::<prop::sample::Index>()) {
            let raw = [&encode_base64(&data)[..], noise.as_bytes()].concat();
            let at = at.index(data.len() + 1);
            let quantum = base64_quantum(&raw, at);
            prop_assert!(quantum.decoded <= at && at - quantum.decoded <= 57);
            prop_assert_eq!(decode_base64(&raw[..quantum.raw]), &data[..quantum.decoded]);
        }
    }
}
