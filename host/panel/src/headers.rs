//! The header of a message in fields.

/// Fields that are read. A message has a dozen.
const MAX_FIELDS: usize = 200;

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderField {
    /// As it stands there.
    pub name: String,
    /// Unfolded, as it stands there otherwise.
    pub value: String,
}

/// The fields of a raw header (RFC 5322 section 2.2), unfolded. A line that is none is left out.
#[must_use]
pub fn fields(header: &[u8]) -> Vec<HeaderField> {
    let text = String::from_utf8_lossy(header);
    let mut fields: Vec<HeaderField> = Vec::new();
    for line in text.lines() {
        match line.split_once(':') {
            _ if line.starts_with([' ', '\t']) => {
                if let Some(last) = fields.last_mut() {
                    last.value.push(' ');
                    last.value.push_str(line.trim());
                }
            }
            Some((name, value)) if fields.len() < MAX_FIELDS => {
                fields.push(HeaderField { name: name.trim().to_owned(), value: value.trim().to_owned() });
            }
            _ => {}
        }
    }
    fields
}

/// Header and body of a raw message with CRLF line ends.
#[must_use]
pub fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    match raw.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(at) => (&raw[..at], &raw[at + 4..]),
        None => (raw, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unfolded() {
        let found = fields(b"Subject: a\r\n b\r\nno field\r\nX-Empty:\r\n");
        let found: Vec<_> = found.iter().map(|field| (&*field.name, &*field.value)).collect();
        assert_eq!(found, [("Subject", "a b"), ("X-Empty", "")]);
        assert_eq!(split(b"A: b\r\n\r\nbody"), (&b"A: b"[..], &b"body"[..]));
        assert_eq!(split(b"A: b\r\n"), (&b"A: b\r\n"[..], &b""[..]));
    }
}
