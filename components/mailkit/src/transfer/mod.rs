//! Content transfer encodings (RFC 2045 section 6) and the folding of header fields.
//!
//! Everything works on chunks: nothing here needs a whole part in memory.

pub mod base64;
pub mod fold;
pub mod quoted_printable;

/// Decoded text of a complete body in base64. What is not in the alphabet is skipped.
#[must_use]
pub fn decode_base64(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len() / 4 * 3 + 3);
    let mut decoder = base64::Decoder::default();
    decoder.push(input, &mut out);
    out
}

/// A complete body in base64: lines of 76, each ended by CRLF.
#[must_use]
pub fn encode_base64(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    base64::encode_lines(input, &mut out);
    out
}

/// Decoded text of a complete body in quoted-printable.
#[must_use]
pub fn decode_quoted_printable(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    let mut decoder = quoted_printable::Decoder::default();
    decoder.push(input, &mut out);
    decoder.finish(&mut out);
    out
}

/// A complete text body in quoted-printable: CRLF is a line break, lines have at most 76
/// characters.
#[must_use]
pub fn encode_quoted_printable(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len() + input.len() / 8);
    let mut rest = input;
    while !rest.is_empty() {
        let n = quoted_printable::encode_line(rest, quoted_printable::After::LineEnd, &mut out);
        rest = &rest[n..];
    }
    out
}
