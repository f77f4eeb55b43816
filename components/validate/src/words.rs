//! Encoded words (RFC 2047) as text.

use relevo_mailkit::transfer::{decode_base64, decode_quoted_printable};

/// The value of an unfolded field.
pub(crate) fn value(field: &[u8]) -> &[u8] {
    field.iter().position(|b| *b == b':').map_or(field, |colon| &field[colon + 1..])
}

/// The text with its encoded words decoded where they are UTF-8, US-ASCII or ISO 8859-1; others
/// stay as they are, and so does white space but tabs, which folding may have made of spaces.
/// Reading ends after about `most` octets.
pub(crate) fn decoded(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut after_encoded = false;
    let mut blanks = 0;
    for word in text.split_inclusive([' ', '\t']) {
        let bare = word.trim_end_matches([' ', '\t']);
        if !bare.is_empty() {
            let decoded = decode(bare);
            // White space between encoded words belongs to neither (RFC 2047 section 6.2).
            if !(after_encoded && decoded.is_some()) {
                out.extend(std::iter::repeat_n(' ', blanks));
            }
            blanks = 0;
            after_encoded = decoded.is_some();
            out.push_str(decoded.as_deref().unwrap_or(bare));
        }
        blanks += word.len() - bare.len();
        if out.len() > most {
            break;
        }
    }
    out
}

/// An encoded word: `=?charset?B|Q?text?=`.
fn decode(word: &str) -> Option<String> {
    let inner = word.strip_prefix("=?")?.strip_suffix("?=")?;
    let mut fields = inner.splitn(3, '?');
    let (charset, encoding, text) = (fields.next()?, fields.next()?, fields.next()?);
    let octets = match encoding {
        "B" | "b" => decode_base64(text.as_bytes()),
        "Q" | "q" => decode_quoted_printable(text.replace('_', " ").as_bytes()),
        _ => return None,
    };
    // A language may follow the charset (RFC 2231 section 5).
    match charset.split('*').next()?.to_ascii_lowercase().as_str() {
        "utf-8" | "us-ascii" => String::from_utf8(octets).ok(),
        "iso-8859-1" => Some(octets.into_iter().map(char::from).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn json_comes_out_as_it_was_written() {
        for (field, expected) in [
            (r#"{"a":  "b	c"}"#, r#"{"a":  "b c"}"#),
            ("=?utf-8?q?=7B=22a=22=3A_=22caf=C3=A9?= =?utf-8?q?_noir=22=7D?=", r#"{"a": "café noir"}"#),
            (r#"{"a": =?utf-8*fr?b?ImPDqSI=?=	}"#, r#"{"a": "cé" }"#),
            ("=?koi8-r?q?=C1?= x", "=?koi8-r?q?=C1?= x"),
            (" x ", " x"),
            ("", ""),
        ] {
            assert_eq!(decoded(field, usize::MAX), expected, "{field}");
        }
    }
}
