//! Text that came from outside, made safe for a terminal.

use std::fmt::{self, Write};

/// Shows control characters, bidirectional overrides and line ends as `\u{..}`.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            let bidi =
                matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || bidi { write!(f, "{}", c.escape_unicode())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(Escaped("a\u{1b}[31mb\r\n\u{202e}é").to_string(), "a\\u{1b}[31mb\\u{d}\\u{a}\\u{202e}é");
    }
}
