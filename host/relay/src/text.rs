//! Foreign text made harmless for replies, logs and events.

/// `text` as printable ASCII of at most `max` characters: what is not becomes `?`, runs of white space become one space.
#[must_use]
pub fn printable(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        if out.len() >= max {
            break;
        }
        match c {
            ' '..='~' if c != ' ' => out.push(c),
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

/// `text` for JSON that people read: control characters and what turns the direction of text are escaped as `\u{..}`; at most
/// `max` octets.
#[must_use]
pub fn escaped(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        let piece = if c.is_control() || turns { c.escape_unicode().to_string() } else { c.to_string() };
        if out.len() + piece.len() > max {
            break;
        }
        out.push_str(&piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_is_one_line_of_ascii() {
        assert_eq!(printable("a\r\nb\tc  d\u{1b}[31mé", 100), "a b c d?[31m?");
        assert_eq!(printable("  x  ", 100), "x");
        assert_eq!(printable("abcdef", 3), "abc");
    }

    #[test]
    fn escaped_keeps_letters_and_shows_controls() {
        assert_eq!(escaped("grün\u{1b}[0m\u{202e}x", 100), "grün\\u{1b}[0m\\u{202e}x");
        assert_eq!(escaped("éé", 3), "é");
    }
}
