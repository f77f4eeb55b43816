//! Text of parameters that carry any octet: xtext (RFC 3461 section 4), and the form for addresses
//! outside ASCII (RFC 6533 section 3).

use std::fmt::Write as _;

/// Encodes octets as xtext: all but printable ASCII, and `+` and `=`, as `+` and two upper case
/// digits.
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for &octet in octets {
        match octet {
            b'+' | b'=' | 0..=b' ' | 0x7f.. => {
                // Writing to a String cannot fail.
                let _ = write!(text, "+{octet:02X}");
            }
            _ => text.push(char::from(octet)),
        }
    }
    text
}

/// Decodes xtext. None: a character that must not stand there, or a `+` without two upper case
/// digits.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: Option<u8>| match octet? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        letter @ b'A'..=b'F' => Some(letter - b'A' + 10),
        _ => None,
    };
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => digit(rest.next())? << 4 | digit(rest.next())?,
            b'=' | 0..=b' ' | 0x7f.. => return None,
            plain => plain,
        });
    }
    Some(octets)
}

/// Encodes an address of type `utf-8` in ASCII: `utf-8-addr-xtext`.
#[must_use]
pub fn encode_unicode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_graphic() && !matches!(c, '+' | '=' | '\\') {
            encoded.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "\\x{{{:X}}}", u32::from(c));
        }
    }
    encoded
}

/// Decodes an address of type `utf-8` in either of its forms. None: a character that must not stand
/// there, or a backslash that begins no character.
#[must_use]
pub fn decode_unicode(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\\' {
            let (digits, after) = rest.strip_prefix("\\x{")?.split_once('}')?;
            let upper = |digit: u8| digit.is_ascii_digit() || (b'A'..=b'F').contains(&digit);
            if !(2..=6).contains(&digits.len()) || !digits.bytes().all(upper) {
                return None;
            }
            decoded.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
            rest = after;
        } else {
            if c.is_ascii() && (!c.is_ascii_graphic() || matches!(c, '+' | '=')) {
                return None;
            }
            decoded.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        assert_eq!(encode(b"a+b=c d@e\x00\xff"), "a+2Bb+3Dc+20d@e+00+FF");
        assert_eq!(decode("a+2Bb").as_deref(), Some(&b"a+b"[..]));
        for wrong in ["+", "+2", "+2b", "+G0", "a b", "a=b", "\u{7f}", "é", "a\r\n"] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
        assert_eq!(encode_unicode("grå+x@é.test"), "gr\\x{E5}\\x{2B}x@\\x{E9}.test");
        assert_eq!(decode_unicode("gr\\x{E5}@é.test").as_deref(), Some("grå@é.test"));
        for wrong in ["\\", "\\x", "\\x{}", "\\x{5}", "\\x{e5}", "\\x{D800}", "\\x{1234567}", "a+b", "a b"] {
            assert_eq!(decode_unicode(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn octets_survive_and_stay_in_a_parameter(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = encode(&octets);
            prop_assert!(text.bytes().all(|b| b.is_ascii_graphic() && b != b'='), "{}", text);
            prop_assert_eq!(decode(&text), Some(octets));
        }

        #[test]
        fn what_is_decoded_is_encoded_the_same_way_or_shorter(text in "[!-~]{0,40}") {
            if let Some(octets) = decode(&text) {
                prop_assert!(encode(&octets).len() <= text.len());
                prop_assert_eq!(decode(&encode(&octets)), Some(octets));
            }
        }

        #[test]
        fn characters_survive(text in "\\PC{0,40}") {
            let encoded = encode_unicode(&text);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_graphic() && !b"+=".contains(&b)), "{}", encoded);
            prop_assert_eq!(decode_unicode(&encoded), Some(text));
        }
    }
}
