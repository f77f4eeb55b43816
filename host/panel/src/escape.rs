//! Text in pages: not only without markup, but also without characters that change how what stands
//! around it reads.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Escapes everything that a template writes. The templates name it by their extension
/// (`askama.toml`).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Harmless;

impl askama::filters::Escaper for Harmless {
    fn write_escaped_str<W: Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        let isolated = text.chars().map(|c| if is_direction(c) { '\u{fffd}' } else { c });
        dest.write_str(&relevo_pages::html::escape(&isolated.collect::<String>()))
    }
}

/// Embeddings, overrides and isolates (Unicode UAX 9): a subject with one would turn round what
/// follows it.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The beginning of a text, of so many octets at most. What is cut is told by an ellipsis.
pub(crate) fn shortened(text: &str, octets: usize) -> Cow<'_, str> {
    if text.len() <= octets {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(octets);
    Cow::Owned(format!("{}\u{2026}", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_at_a_character() {
        assert_eq!(shortened("a\u{f1}o", 4), "a\u{f1}o");
        assert_eq!(shortened("a\u{f1}os", 2), "a\u{2026}");
    }
}
