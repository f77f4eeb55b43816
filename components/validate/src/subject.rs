//! The Subject for people: listings, events, bounces. No decision depends on it.

use relevo_mailkit::transfer::{decode_base64, decode_quoted_printable};

/// Characters that are kept.
const MOST: usize = 200;

/// The value of an unfolded field with its encoded words decoded (RFC 2047) where they are UTF-8,
/// US-ASCII or ISO 8859-1; others stay as they are. Control characters are removed.
pub(crate) fn readable(field: &[u8]) -> String {
    let value = field.iter().position(|b| *b == b':').map_or(field, |colon| &field[colon + 1..]);
    let text = String::from_utf8_lossy(value);
    let mut out = String::new();
    let mut after_encoded = false;
    let mut space = "";
    for word in text.split_inclusive([' ', '\t']) {
        let bare = word.trim_end_matches([' ', '\t']);
        if bare.is_empty() {
            space = " ";
            continue;
        }
        let decoded = decode(bare);
        // White space between encoded words belongs to neither (RFC 2047 section 6.2).
        let joined = after_encoded && decoded.is_some();
        if !joined && !out.is_empty() {
            out.push_str(space);
        }
        after_encoded = decoded.is_some();
        out.push_str(decoded.as_deref().unwrap_or(bare));
        space = if bare.len() < word.len() { " " } else { "" };
        if out.chars().count() > MOST {
            break;
        }
    }
    out.chars().filter(|c| !c.is_control()).take(MOST).collect()
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
    use super::readable;

    #[test]
    fn decodes_what_it_knows() {
        for (field, expected) in [
            ("Subject: plain  text", "plain text"),
            ("Subject: Hello =?utf-8?b?4pyT?= 0", "Hello ✓ 0"),
            ("Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe_aus?= =?UTF-8*de?q?_Z=C3=BCrich?=", "Grüße aus Zürich"),
            ("Subject: =?iso-8859-1?q?caf=E9?= noir", "café noir"),
            ("Subject: =?koi8-r?q?=C1?=", "=?koi8-r?q?=C1?="),
            ("Subject: =?utf-8?b?/w==?=", "=?utf-8?b?/w==?="),
            ("Subject: =?utf-8?q?a=0D=0ABcc:_x?=", "aBcc: x"),
            ("Subject:", ""),
        ] {
            assert_eq!(readable(field.as_bytes()), expected, "{field}");
        }
    }

    #[test]
    fn is_bounded() {
        assert_eq!(readable(format!("Subject: {}", "é ".repeat(5_000)).as_bytes()).chars().count(), 200);
    }
}
