//! Folding of header fields: no line of 78 or more characters where white space allows it (RFC 5322
//! section 2.2.3).

/// Characters of a line without CRLF.
pub const LINE: usize = 77;

/// Appends base64 (or anything that may be broken anywhere) to a field whose last line has `column`
/// characters, with `CRLF SP` in between so that no line has more than [`LINE`] characters. Returns
/// the new column.
pub fn push_base64(base64: &str, mut column: usize, out: &mut Vec<u8>) -> usize {
    for &c in base64.as_bytes() {
        if column >= LINE {
            out.extend_from_slice(b"\r\n ");
            column = 1;
        }
        out.push(c);
        column += 1;
    }
    column
}

/// What separates words.
const WHITE: [char; 4] = [' ', '\t', '\r', '\n'];

/// `name: value`, folded at its white space, with its final CRLF. White space between words stays as it
/// is: it means something in a quoted local part. Where it has CR or LF it becomes one space, and so
/// does more of it than a line holds. A word too long for a line stays whole.
#[must_use]
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 16);
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let mut column = name.len() + 1;
    let mut rest = value.trim_matches(WHITE);
    // The first word stays beside the name: a first line of nothing but white space is not allowed to
    // exist.
    let mut gap = " ";
    while !rest.is_empty() {
        let word = &rest[..rest.find(WHITE).unwrap_or(rest.len())];
        if column + gap.len() + word.len() > LINE && column > name.len() + 1 {
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
        out.extend_from_slice(gap.as_bytes());
        out.extend_from_slice(word.as_bytes());
        column += gap.len() + word.len();
        rest = &rest[word.len()..];
        let white = &rest[..rest.find(|c| !WHITE.contains(&c)).unwrap_or(rest.len())];
        gap = if white.contains(['\r', '\n']) || white.len() > LINE { " " } else { white };
        rest = &rest[white.len()..];
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The length of the last line of a field that is being written.
#[must_use]
pub fn column(field: &[u8]) -> usize {
    field.iter().rev().take_while(|c| **c != b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_signature_is_folded_below_78() {
        let mut out = b"DKIM-Signature: v=1;\r\n b=".to_vec();
        let column = column(&out);
        assert_eq!(column, 3);
        push_base64(&"A".repeat(344), column, &mut out);
        assert!(out.split(|c| *c == b'\n').all(|l| l.len() <= LINE + 1));
        assert_eq!(out.iter().filter(|c| **c == b'A').count(), 344);
    }

    proptest! {
        #[test]
        fn a_folded_field_is_a_field(value in "[ -~\r\n]{0,400}") {
            let f = field("Subject", &value);
            prop_assert_eq!(crate::recheck::header_fields(&f), Ok(()));
            let unfolded = String::from_utf8_lossy(&f).replace("\r\n", "");
            prop_assert_eq!(
                unfolded.split_whitespace().skip(1).collect::<Vec<_>>(),
                value.split_whitespace().collect::<Vec<_>>()
            );
        }

        #[test]
        fn white_space_between_words_stays(value in "[a-z]{1,30}([ \t]{1,9}[a-z\"]{1,30}){0,20}") {
            let unfolded = String::from_utf8_lossy(&field("X", &value)).replace("\r\n", "");
            prop_assert_eq!(unfolded, format!("X: {value}"));
        }
    }
}
