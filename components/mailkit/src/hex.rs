//! Hexadecimal text.

/// Encodes octets as lower case digits.
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(2 * octets.len());
    for octet in octets {
        text.extend([octet >> 4, octet & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
    }
    text
}

/// Decodes digits of either case. None: an odd number of characters, or one that is no digit.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// Decodes exactly `N` octets.
#[must_use]
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_survive() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(encode(&[0x00, 0x9f, 0xf0]), "009ff0");
        assert_eq!(decode(&encode(&all)), Some(all.clone()));
        assert_eq!(decode(&encode(&all).to_uppercase()), Some(all));
        assert_eq!(decode(""), Some(Vec::new()));
    }

    #[test]
    fn only_pairs_of_digits_are_read() {
        for bad in ["0", "0g", "+f", " 0", "0x", "é"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert_eq!(decode_array("0102"), Some([1, 2]));
        assert_eq!(decode_array::<3>("0102"), None);
    }
}
