//! The Subject for people: listings, events, bounces. No decision depends on it.

use crate::words;

/// Characters that are kept.
const MOST: usize = 200;

/// The value of an unfolded field with its encoded words decoded (RFC 2047) where they are UTF-8,
/// US-ASCII or ISO 8859-1; others stay as they are. Control characters are removed.
pub(crate) fn readable(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(words::value(field));
    let spaced: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    // A character has four octets at most.
    words::decoded(&spaced.join(" "), MOST * 4).chars().filter(|c| !c.is_control()).take(MOST).collect()
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
