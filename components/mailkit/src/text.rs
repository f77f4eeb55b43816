//! Foreign text made harmless for replies, logs, terminals, events and bounces.
//!
//! Harmless text has no character of [`is_unsafe`], so it ends no line, moves no cursor, and shows
//! in the order in which it is written. Every function but [`Escaped`] bounds its result in octets
//! and cuts at a character.

use std::fmt::{self, Write as _};

/// Returns true for characters that end a line for some reader, control a terminal, are invisible,
/// or change the order in which text is shown: control characters, line separators, bidirectional
/// controls, zero-width characters, the byte order mark, interlinear annotations and tags.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Printable ASCII on one line, at most `max` octets: for the text of a reply. White space becomes
/// one space, anything else becomes `?`.
#[must_use]
pub fn printable(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        if out.len() >= max {
            break;
        }
        match c {
            '!'..='~' => out.push(c),
            c if c.is_whitespace() => {
                if !out.is_empty() && !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            _ => out.push('?'),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Text on one line, at most `max` octets, without white space around it: for what a remote server
/// said. Line ends and tabs become spaces, other unsafe characters become `?`.
#[must_use]
pub fn one_line(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.trim_matches(|c: char| c.is_ascii_whitespace()).chars() {
        let c = match c {
            '\n' | '\t' => ' ',
            '\r' => continue,
            c if is_unsafe(c) => '?',
            c => c,
        };
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}

/// Text of at most `max` octets with unsafe characters shown as `\r`, `\n`, `\t` or `\u{..}`: for
/// events and logs.
#[must_use]
pub fn escaped(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        let before = out.len();
        if is_unsafe(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        if out.len() > max {
            out.truncate(before);
            break;
        }
    }
    out
}

/// Displays text as [`escaped`] does, without a bound: for a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_unsafe(c) { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn printable_text_is_one_line_of_ascii() {
        assert_eq!(printable("a\r\nb\tc  d\u{1b}[31mé", 100), "a b c d?[31m?");
        assert_eq!(printable("  x  ", 100), "x");
        assert_eq!(printable("abcdef", 3), "abc");
    }

    #[test]
    fn one_line_keeps_letters() {
        assert_eq!(one_line("no\u{1b}[2J such\r\nusér\u{202e}\u{7}\u{85}", 100), "no?[2J such usér???");
        assert_eq!(one_line("éé", 3), "é");
    }

    #[test]
    fn escaped_text_shows_what_is_unsafe() {
        assert_eq!(escaped("grün\u{1b}[0m\u{202e}x\r\n", 100), "grün\\u{1b}[0m\\u{202e}x\\r\\n");
        assert_eq!(escaped("éé", 3), "é");
        assert_eq!(escaped("ab\r\n", 5), "ab\\r");
        assert_eq!(Escaped("a\u{1b}[31mb\r\n\u{2028}é").to_string(), "a\\u{1b}[31mb\\r\\n\\u{2028}é");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_and_nothing_too_long_passes(
            text in "[\\x00-\\x20a-zé\u{200b}-\u{2070}\u{feff}\u{e0001}\\\\]{0,40}",
            max in 0usize..60,
        ) {
            for harmless in [printable(&text, max), one_line(&text, max), escaped(&text, max)] {
                prop_assert!(!harmless.contains(is_unsafe), "{:?}", harmless);
                prop_assert!(harmless.len() <= max);
            }
            prop_assert!(printable(&text, max).bytes().all(|octet| (b' '..=b'~').contains(&octet)));
            prop_assert!(!Escaped(&text).to_string().contains(is_unsafe));
        }

        #[test]
        fn harmless_text_stays_as_it_is(text in "[a-zé世!-~]{0,40}") {
            let max = text.len();
            prop_assert_eq!(&one_line(&text, max), &text);
            prop_assert_eq!(&escaped(&text, max), &text);
        }
    }
}
