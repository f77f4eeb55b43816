//! Base64 in lines (RFC 2045 section 6.8).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Characters of a full line.
pub const LINE: usize = 76;

/// Octets that make a full line.
pub const OCTETS: usize = 57;

/// Appends `input` in lines of [`LINE`] characters, each ended by CRLF, the last one too. Output of
/// consecutive calls may be joined when every input but the last is a multiple of [`OCTETS`].
pub fn encode_lines(input: &[u8], out: &mut Vec<u8>) {
    out.reserve(encoded_len(input.len() as u64).try_into().unwrap_or(0));
    let mut line = [0; LINE];
    for chunk in input.chunks(OCTETS) {
        // 57 octets are 76 characters: the slice is never too small.
        if let Ok(n) = STANDARD.encode_slice(chunk, &mut line) {
            out.extend_from_slice(&line[..n]);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The length of what [`encode_lines`] makes of `octets`.
#[must_use]
pub fn encoded_len(octets: u64) -> u64 {
    octets.div_ceil(3) * 4 + octets.div_ceil(OCTETS as u64) * 2
}

/// Decodes in chunks. Characters outside the alphabet (line ends among them) are skipped, padding
/// ends a quantum, and what is left incomplete at the end is dropped (RFC 2045 section 6.8).
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    bits: u32,
    sextets: u8,
}

impl Decoder {
    /// Appends what `input` decodes to.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for &c in input {
            if c == b'=' {
                (self.bits, self.sextets) = (0, 0);
                continue;
            }
            let Some(value) = sextet(c) else { continue };
            self.bits = (self.bits << 6 | u32::from(value)) & 0x00ff_ffff;
            self.sextets += 1;
            // An octet is complete after the second, third and fourth character.
            match self.sextets {
                2 => out.push(low_octet(self.bits >> 4)),
                3 => out.push(low_octet(self.bits >> 2)),
                4 => {
                    out.push(low_octet(self.bits));
                    self.sextets = 0;
                }
                _ => {}
            }
        }
    }

    /// Whether everything so far was made of whole quanta.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.sextets == 0
    }
}

fn low_octet(bits: u32) -> u8 {
    bits.to_le_bytes()[0]
}

/// The value of a character of the alphabet.
#[must_use]
pub fn sextet(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(input: &[u8]) -> Vec<u8> {
        crate::transfer::decode_base64(input)
    }

    #[test]
    fn vectors_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let line = if coded.is_empty() { String::new() } else { format!("{coded}\r\n") };
            assert_eq!(crate::transfer::encode_base64(plain.as_bytes()), line.as_bytes());
            assert_eq!(decode(coded.as_bytes()), plain.as_bytes());
        }
    }

    #[test]
    fn padding_in_the_middle_starts_a_new_quantum() {
        assert_eq!(decode(b"Zg==Zg=="), b"ff");
        assert_eq!(decode(b"Zm 8=\r\n!"), b"fo");
    }

    #[test]
    fn an_incomplete_quantum_is_noticed() {
        let (mut d, mut out) = (Decoder::default(), Vec::new());
        d.push(b"Zm9v\r\nZ", &mut out);
        assert!(!d.is_complete());
        assert_eq!(out, b"foo");
    }

    proptest! {
        #[test]
        fn round_trip_in_any_chunks(data: Vec<u8>, cut in 0..100usize) {
            let coded = crate::transfer::encode_base64(&data);
            prop_assert_eq!(coded.len() as u64, encoded_len(data.len() as u64));
            prop_assert!(coded.split(|c| *c == b'\n').all(|l| l.len() <= LINE + 1));
            let cut = cut.min(coded.len());
            let (mut d, mut out) = (Decoder::default(), Vec::new());
            d.push(&coded[..cut], &mut out);
            d.push(&coded[cut..], &mut out);
            prop_assert_eq!(out, data);
        }

        #[test]
        fn never_panics(data: Vec<u8>) {
            decode(&data);
        }
    }
}
