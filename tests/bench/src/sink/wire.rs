//! What the sink reads of SMTP.

/// The end of the content, with the line end before it (RFC 5321 section 4.1.1.4).
pub(super) const END: &[u8] = b"\r\n.\r\n";

/// Where [`END`] begins.
pub(super) fn find_end(input: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(dot) = input.get(from..)?.iter().position(|b| *b == b'.') {
        let dot = from + dot;
        if dot >= 2 && input.get(dot - 2..dot + 3) == Some(END) {
            return Some(dot - 2);
        }
        from = dot + 1;
    }
    None
}

/// What is between the brackets.
pub(super) fn path(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let inner = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or(String::new(), |(path, _)| path.to_owned())
}

/// The part of an address after the last at sign.
pub(super) fn domain(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_a_dot_on_a_line_of_its_own() {
        assert_eq!(find_end(b"a.b\r\n..c\r\n.\r\nQUIT"), Some(8));
        assert_eq!(find_end(b"a\r\n.\r"), None);
        assert_eq!(find_end(b"."), None);
        assert_eq!(find_end(b""), None);
    }

    #[test]
    fn reads_the_path() {
        assert_eq!(path(b"RCPT TO:<r0042@c7.test>\r\n"), "r0042@c7.test");
        assert_eq!(path(b"MAIL FROM:<> SIZE=10\r\n"), "");
        assert_eq!(domain("r1@C7.test"), "C7.test");
    }
}
