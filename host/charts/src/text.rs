//! Text of callers and of strangers: one line, bounded, measured, cut and escaped.

use relevo_mailkit::text::one_line;

/// Octets of a name, a label or a title that are looked at.
pub(crate) const MAX_NAME: usize = 300;
/// Octets of a description.
pub(crate) const MAX_DESCRIPTION: usize = 2_000;

const ELLIPSIS: char = '…';

/// Text on one line that XML allows, at most `max` octets. Characters that control or reorder text
/// become `?`.
pub(crate) fn clean(text: &str, max: usize) -> String {
    // XML allows neither of the two, not even as a reference.
    one_line(text, max).replace(['\u{fffe}', '\u{ffff}'], "?")
}

/// Escapes text for element content and quoted attribute values of XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Width of a text in pixels, for a sans-serif font that is not known: an estimate that is rather
/// too wide than too narrow.
pub(crate) fn width(text: &str, font_size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * font_size
}

/// Advance width in em. The classes are those of Arial, DejaVu Sans and Segoe UI, the widest of
/// the three.
fn advance(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '\'' | '|' | '.' | ',' | ':' | ';' | '!' | ' ' | '\u{a0}' => 0.34,
        'f' | 't' | 'r' | 'I' | '(' | ')' | '[' | ']' | '/' | '\\' | '-' | '"' => 0.42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | ELLIPSIS => 1.0,
        'A'..='Z' => 0.72,
        c if c.is_ascii() => 0.62,
        // Scripts with full-width characters, and pictures.
        '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' => 1.05,
        '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ff60}' | '\u{1f000}'.. => 1.25,
        c if c.is_uppercase() => 0.8,
        _ => 0.66,
    }
}

/// Cuts a text to a width in pixels. What is cut ends with an ellipsis.
pub(crate) fn cut(text: &str, font_size: f64, max: f64) -> String {
    if width(text, font_size) <= max {
        return text.to_owned();
    }
    let room = max - advance(ELLIPSIS) * font_size;
    let mut used = 0.0;
    let mut out = String::new();
    for c in text.chars() {
        used += advance(c) * font_size;
        if used > room {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end_matches(['.', ',', '-', ' ']).len());
    out.push(ELLIPSIS);
    out
}

/// The start of element ids: ASCII letters, digits, `-` and `_`, at most 64.
pub(crate) fn id(text: &str) -> String {
    let id: String =
        text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(64).collect();
    if id.is_empty() { "chart".to_owned() } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_text_is_shown_as_a_question_mark() {
        assert_eq!(clean("a\u{202e}b\u{0}c\u{fffe}d\ne", 100), "a?b?c?d e");
        assert_eq!(clean(&"é".repeat(10_000), MAX_NAME).chars().count(), 150);
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("</text><script>\"'&"), "&lt;/text&gt;&lt;script&gt;&quot;&#39;&amp;");
    }

    #[test]
    fn a_text_is_cut_to_its_room() {
        assert_eq!(cut("gmail.com", 12.0, 200.0), "gmail.com");
        let short = cut("a very long name of a provider", 12.0, 80.0);
        assert!(short.ends_with('…') && short.starts_with("a very"), "{short}");
        assert!(width(&short, 12.0) <= 80.0);
        assert_eq!(cut("name", 12.0, 0.0), "…");
    }

    #[test]
    fn an_id_needs_no_escape() {
        assert_eq!(id("sent-7\"><b>"), "sent-7b");
        assert_eq!(id("<>"), "chart");
    }
}
