//! Text in pages: not only without markup, but also without characters that change how what stands
//! around it reads.

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
