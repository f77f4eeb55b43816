//! What a server says.

use std::fmt::Write as _;

/// Code, enhanced status code (RFC 3463), text. What the peer reads is bland; what the log reads is specific.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// Such as `5.7.1`; none where RFC 2034 has none.
    pub enhanced: Option<(u8, u8, u8)>,
    /// Printable ASCII, one or more lines without CR and LF.
    pub lines: Vec<String>,
}

/// Text octets of a reply line, so that the line stays under 512 octets (RFC 5321 section 4.5.3.1.5).
const MAX_TEXT: usize = 480;

impl Reply {
    /// A reply of one line with an enhanced status code.
    #[must_use]
    pub fn new(code: u16, enhanced: (u8, u8, u8), text: impl Into<String>) -> Self {
        Self { code, enhanced: Some(enhanced), lines: vec![text.into()] }
    }

    /// 2xx or 3xx.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Appends the reply as it goes over the wire. Octets that may not stand in a reply become `?`, over-long lines are
    /// cut: whatever a caller put into the text, it stays one reply.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut prefix = String::new();
        let last = self.lines.len().saturating_sub(1);
        if self.lines.is_empty() {
            self.encode_line(&mut prefix, "", true, out);
        }
        for (i, line) in self.lines.iter().enumerate() {
            self.encode_line(&mut prefix, line, i == last, out);
        }
    }

    fn encode_line(&self, prefix: &mut String, text: &str, last: bool, out: &mut Vec<u8>) {
        prefix.clear();
        // Writing to a String cannot fail.
        let _ = write!(prefix, "{:03}{}", self.code, if last { ' ' } else { '-' });
        if let Some((class, subject, detail)) = self.enhanced {
            let _ = write!(prefix, "{class}.{subject}.{detail} ");
        }
        out.extend_from_slice(prefix.as_bytes());
        out.extend(text.bytes().take(MAX_TEXT).map(|b| if (0x20..0x7f).contains(&b) { b } else { b'?' }));
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_and_several_lines() {
        assert_eq!(wire(&Reply::new(250, (2, 1, 0), "OK")), "250 2.1.0 OK\r\n");
        let reply = Reply { code: 250, enhanced: None, lines: vec!["a".into(), "SIZE 10".into()] };
        assert_eq!(wire(&reply), "250-a\r\n250 SIZE 10\r\n");
        assert_eq!(wire(&Reply { code: 220, enhanced: None, lines: vec![] }), "220 \r\n");
    }

    #[test]
    fn text_cannot_add_a_reply() {
        assert_eq!(wire(&Reply::new(550, (5, 1, 1), "x\r\n250 ok\0é")), "550 5.1.1 x??250 ok???\r\n");
        assert!(wire(&Reply::new(550, (5, 1, 1), "y".repeat(9000))).len() <= 512);
    }
}
