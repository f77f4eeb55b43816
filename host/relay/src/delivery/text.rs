//! Taming of what remotes say before it reaches a log, a terminal, an event or a bounce.

/// The most that is kept of a remote's words.
pub(crate) const MAX_REMOTE_TEXT: usize = 1024;

/// `text` on one line: line ends become spaces, other control characters and those that reorder or hide text become `?`;
/// at most [`MAX_REMOTE_TEXT`] octets, cut at a character.
#[must_use]
pub fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_REMOTE_TEXT));
    for c in text.trim_matches(|c: char| c.is_ascii_whitespace()).chars() {
        let c = match c {
            '\n' | '\t' => ' ',
            '\r' => continue,
            c if c.is_control() || is_invisible(c) => '?',
            c => c,
        };
        if out.len() + c.len_utf8() > MAX_REMOTE_TEXT {
            break;
        }
        out.push(c);
    }
    out
}

/// Line and paragraph separators, bidirectional controls, zero-width characters, the byte order mark, tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_do_not_reach_a_terminal() {
        assert_eq!(tame("no\u{1b}[2J such\r\nuser\u{202e}\u{7}\u{85}"), "no?[2J such user???");
    }

    #[test]
    fn is_cut_at_a_character() {
        let long = "é".repeat(2000);
        let tamed = tame(&long);
        assert_eq!(tamed.len(), MAX_REMOTE_TEXT);
        assert!(tamed.chars().all(|c| c == 'é'));
        let odd = format!("x{long}");
        assert_eq!(tame(&odd).len(), MAX_REMOTE_TEXT - 1);
    }
}
