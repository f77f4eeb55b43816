//! Finds what names somebody in a text of any shape: addresses, quoted or not, and domain names.

/// Octets of a quoted string that is looked at: a local part has 64 at most, and looking on would take the square of the time.
const MAX_QUOTED: usize = 320;

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// With an `@` in it; the local part may be missing or in quotes.
    Address(&'t [u8]),
    /// A run of letters, digits and what may stand in a local part.
    Word(&'t [u8]),
    /// What parts words.
    Other(&'t [u8]),
}

/// All of `text`, in order.
pub(crate) fn pieces(text: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (piece, length) = match quoted_local(rest) {
            Some(quoted) => {
                let length = quoted + run(&rest[quoted..]);
                (Piece::Address(&rest[..length]), length)
            }
            None => match run(rest) {
                0 => (Piece::Other(&rest[..1]), 1),
                length => {
                    let word = &rest[..length];
                    (if word.contains(&b'@') { Piece::Address(word) } else { Piece::Word(word) }, length)
                }
            },
        };
        pieces.push(piece);
        at += length;
    }
    pieces
}

/// Octets up to and with the `@` after a quoted string (RFC 5321 section 4.1.2).
pub(super) fn quoted_local(text: &[u8]) -> Option<usize> {
    let mut octets = text.strip_prefix(b"\"")?.iter().take(MAX_QUOTED).enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' => drop(octets.next()),
            b'"' => return (text.get(at + 2) == Some(&b'@')).then_some(at + 2),
            _ => {}
        }
    }
    None
}

/// Octets of the word that a text begins with; a full stop at its end belongs to the sentence.
fn run(text: &[u8]) -> usize {
    let length = text.iter().position(|octet| !of_a_word(*octet)).unwrap_or(text.len());
    let word = &text[..length];
    let stops = word.iter().rev().take_while(|octet| **octet == b'.').count();
    if stops == length { length } else { length - stops }
}

/// `atext` (RFC 5322 section 3.2.3), what is beyond ASCII, `.` and `@`.
pub(super) fn of_a_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || !octet.is_ascii() || b"!#$%&'*+-/=?^_`{|}~.@".contains(&octet)
}

/// Whether a word reads as a domain name of two labels or more.
pub(crate) fn is_domain(word: &str) -> bool {
    let mut labels = word.split('.').rev();
    let top = labels.next().unwrap_or_default();
    let mut below = labels.peekable();
    let fits =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    below.peek().is_some()
        && top.chars().count() >= 2
        && top.chars().all(|c| c.is_alphabetic() || top.starts_with("xn--"))
        && below.all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<String> {
        let found = pieces(text.as_bytes()).into_iter().filter_map(|piece| match piece {
            Piece::Address(address) => Some(String::from_utf8_lossy(address).into_owned()),
            _ => None,
        });
        found.collect()
    }

    #[test]
    fn addresses_are_found_wherever_they_stand() {
        assert_eq!(addresses("Ada <ada+x@reader.test>, eve@x.test."), ["ada+x@reader.test", "eve@x.test"]);
        assert_eq!(addresses("address:ada@reader.test"), ["ada@reader.test"]);
        assert_eq!(addresses("\"ada l\\\"o\"@x.test \"no address\""), ["\"ada l\\\"o\"@x.test"]);
        assert_eq!(addresses("grün@straße.test"), ["grün@straße.test"]);
        assert_eq!(addresses("\"open@x.test"), ["open@x.test"]);
        assert_eq!(addresses("none here... \""), [] as [&str; 0]);
    }

    #[test]
    fn nothing_of_the_text_is_lost() {
        for text in ["a.b@c. \"q\"@x,..", "\"\\", "@", "", "\"\"@", "a\u{e4}\u{0}b"] {
            let all: Vec<u8> = pieces(text.as_bytes())
                .into_iter()
                .flat_map(|piece| match piece {
                    Piece::Address(p) | Piece::Word(p) | Piece::Other(p) => p.to_vec(),
                })
                .collect();
            assert_eq!(all, text.as_bytes());
        }
    }

    #[test]
    fn domains_have_two_labels_and_a_name_at_the_top() {
        for yes in ["reader.test", "mail.reader.co.uk", "x.xn--p1ai"] {
            assert!(is_domain(yes), "{yes}");
        }
        for no in ["reader", "1.5", "192.0.2.1", ".test", "a..test", "x.y", "a=b.test"] {
            assert!(!is_domain(no), "{no}");
        }
    }
}
