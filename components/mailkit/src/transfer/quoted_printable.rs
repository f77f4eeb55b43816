//! Quoted-printable for text (RFC 2045 section 6.7): CRLF in the input is a line break.

/// Characters of a line, the `=` of a soft break included.
pub const LINE: usize = 76;

/// How much of the input [`encode_line`] must see to be sure of one line: the octets that fill it,
/// and the CRLF after them.
pub const LOOKAHEAD: usize = LINE + 2;

/// What comes after the end of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The end of the body, or a line end that is there already: white space at the end is encoded.
    LineEnd,
    /// The rest of a line: the output ends with a soft break unless it is at the beginning of a
    /// line anyway.
    Text,
}

/// Appends one line of output, with its CRLF or soft break, and returns how many octets of `input`
/// are in it.
///
/// `input` is everything that is left or at least [`LOOKAHEAD`] octets of it. At the end of the
/// input the line ends as `after` says; an empty input makes no output.
pub fn encode_line(input: &[u8], after: After, out: &mut Vec<u8>) -> usize {
    let mut column = 0;
    for (i, &octet) in input.iter().enumerate() {
        if input[i..].starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            return i + 2;
        }
        let rest = &input[i + 1..];
        let ends_line = rest.starts_with(b"\r\n") || rest.is_empty() && after == After::LineEnd;
        let plain = match octet {
            b'=' => false,
            b' ' | b'\t' => !ends_line,
            _ => octet.is_ascii_graphic(),
        };
        let width = if plain { 1 } else { 3 };
        // The last column belongs to the soft break unless the line ends here.
        if column + width > if ends_line { LINE } else { LINE - 1 } {
            out.extend_from_slice(b"=\r\n");
            return i;
        }
        if plain {
            out.push(octet)
        } else {
            out.extend_from_slice(&escape(octet))
        }
        column += width;
    }
    if after == After::Text && column > 0 {
        out.extend_from_slice(b"=\r\n");
    }
    input.len()
}

fn escape(octet: u8) -> [u8; 3] {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    [b'=', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]
}

/// Decodes in chunks. White space before a line end is transport padding and dropped; a `=` that
/// begins neither an octet nor a soft break stands for itself (RFC 2045 section 6.7, the advice to
/// robust decoders).
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    /// What cannot be decided yet: white space, or `=` and what followed it.
    held: Vec<u8>,
}

/// White space longer than this before a line end is kept: nobody makes it, and it would have to be
/// held.
const MAX_HELD: usize = 1024;

impl Decoder {
    /// Appends what `input` decodes to.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for &c in input {
            self.octet(c, out);
        }
    }

    /// Appends what was still undecided: white space at the end of the body is dropped.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        let blank = |c: &u8| matches!(c, b' ' | b'\t' | b'\r');
        match held.split_first() {
            // A soft break at the very end.
            Some((b'=', rest)) if rest.iter().all(blank) => {}
            Some((b'=', _)) => out.extend_from_slice(&held),
            _ => out.extend(held.into_iter().filter(|c| *c == b'\r')),
        }
    }

    fn octet(&mut self, c: u8, out: &mut Vec<u8>) {
        if self.held.first() == Some(&b'=') {
            return self.after_equals(c, out);
        }
        match c {
            b'=' => {
                out.append(&mut self.held);
                self.held.push(c);
            }
            b' ' | b'\t' if self.held.len() < MAX_HELD && !self.held.contains(&b'\r') => self.held.push(c),
            b'\r' if !self.held.contains(&b'\r') => self.held.push(c),
            b'\n' if self.held.last() == Some(&b'\r') => {
                self.held.clear();
                out.extend_from_slice(b"\r\n");
            }
            _ => {
                out.append(&mut self.held);
                self.plain(c, out);
            }
        }
    }

    fn plain(&mut self, c: u8, out: &mut Vec<u8>) {
        if matches!(c, b' ' | b'\t' | b'\r') { self.held.push(c) } else { out.push(c) }
    }

    fn after_equals(&mut self, c: u8, out: &mut Vec<u8>) {
        self.held.push(c);
        match self.held[1..] {
            [a] if a.is_ascii_hexdigit() => {}
            [a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                out.push(hex(a) << 4 | hex(b));
                self.held.clear();
            }
            // `=`, padding, line end: a soft break.
            [.., b'\n']
                if self.held[1..self.held.len() - 1].iter().all(|c| matches!(c, b' ' | b'\t' | b'\r')) =>
            {
                self.held.clear();
            }
            ref rest if self.held.len() < MAX_HELD && may_be_soft(rest) => {}
            _ => self.literal_equals(out),
        }
    }

    /// The `=` stands for itself; what came after it is looked at again.
    fn literal_equals(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        out.push(b'=');
        for &c in &held[1..] {
            self.octet(c, out);
        }
    }
}

/// White space, then at most one CR at the end.
fn may_be_soft(rest: &[u8]) -> bool {
    let blank = rest.strip_suffix(b"\r").unwrap_or(rest);
    blank.iter().all(|c| matches!(c, b' ' | b'\t'))
}

fn hex(c: u8) -> u8 {
    match c {
        b'0'..=b'9' => c - b'0',
        b'a'..=b'f' => c - b'a' + 10,
        _ => c.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{decode_quoted_printable as decode, encode_quoted_printable as encode};
    use proptest::prelude::*;

    #[test]
    fn white_space_at_a_line_end_is_encoded() {
        assert_eq!(encode(b"a \r\nb\t"), b"a=20\r\nb=09");
        assert_eq!(encode(b"a b"), b"a b");
    }

    #[test]
    fn bare_line_ends_and_equals_are_octets() {
        assert_eq!(encode(b"a\nb\rc=d\r\n"), b"a=0Ab=0Dc=3Dd\r\n");
    }

    #[test]
    fn a_line_of_76_stays_whole_and_77_is_broken() {
        assert_eq!(encode(&[b'x'; 76]), [b'x'; 76]);
        let mut broken = vec![b'x'; 75];
        broken.extend_from_slice(b"=\r\nxx");
        assert_eq!(encode(&[b'x'; 77]), broken);
    }

    #[test]
    fn text_that_follows_gets_a_soft_break() {
        let mut out = Vec::new();
        assert_eq!(encode_line(b"ab ", After::Text, &mut out), 3);
        assert_eq!(out, b"ab =\r\n");
    }

    #[test]
    fn decodes_what_is_seen_in_the_wild() {
        assert_eq!(decode(b"a=3d=\r\nb  \r\nc= \t\r\nd"), b"a=b\r\ncd");
        assert_eq!(decode(b"100% =zz =4"), b"100% =zz =4");
        assert_eq!(decode(b"soft=\nbreak="), b"softbreak");
        assert_eq!(decode(b"==41 = x"), b"=A = x");
        assert_eq!(decode(b"=\r=\r\nx"), b"=\rx");
    }

    proptest! {
        #[test]
        fn round_trip(data: Vec<u8>) {
            let coded = encode(&data);
            prop_assert!(coded.split(|c| *c == b'\n').all(|l| l.len() <= LINE + 1));
            prop_assert!(coded.is_ascii());
            prop_assert_eq!(decode(&coded), data);
        }

        #[test]
        fn round_trip_of_text(data in "([a-z =.\t]|\r\n|é){0,300}") {
            prop_assert_eq!(decode(&encode(data.as_bytes())), data.as_bytes());
        }

        #[test]
        fn chunks_do_not_matter(data in "[=0-9A-F \t\r\nx]{0,60}", cut in 0..60usize) {
            let whole = decode(data.as_bytes());
            let (mut d, mut out) = (Decoder::default(), Vec::new());
            let cut = cut.min(data.len());
            d.push(&data.as_bytes()[..cut], &mut out);
            d.push(&data.as_bytes()[cut..], &mut out);
            d.finish(&mut out);
            prop_assert_eq!(out, whole);
        }
    }
}
