//! Replies of a server that need not mean well.

use memchr::memchr;

use super::types::RemoteReply;
use crate::EnhancedCode;

/// Lines that are kept.
const MAX_LINES: usize = 100;
/// Octets of text that are kept.
const MAX_TEXT: usize = 4096;
/// Octets of one reply, kept or not.
const MAX_REPLY: usize = 64 * 1024;

/// The server said something that is no reply (RFC 5321 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedReply {
    /// No three digits from 200 to 599, or something else than space or hyphen after them.
    #[error("malformed reply line")]
    Line,
    /// The lines of one reply carry different codes.
    #[error("reply with differing codes")]
    Codes,
    /// No end in sight.
    #[error("reply without end")]
    TooLong,
}

/// Collects replies from octets in any segmentation. Bounded memory.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// The line under way, cut to what may be kept of it.
    line: Vec<u8>,
    code: Option<u16>,
    lines: usize,
    text: Vec<u8>,
    octets: usize,
}

impl ReplyParser {
    /// Reads up to the end of one reply. Returns the octets read and the reply, if it is complete.
    ///
    /// # Errors
    /// After an error the connection is of no use.
    pub fn push(&mut self, input: &[u8]) -> Result<(usize, Option<RemoteReply>), MalformedReply> {
        let mut read = 0;
        while let Some(n) = memchr(b'\n', &input[read..]) {
            self.keep(&input[read..read + n])?;
            read += n + 1;
            if let Some(reply) = self.end_line()? {
                return Ok((read, Some(reply)));
            }
        }
        self.keep(&input[read..])?;
        Ok((input.len(), None))
    }

    /// A reply has begun and not ended.
    #[must_use]
    pub fn is_within_reply(&self) -> bool {
        self.octets > 0
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), MalformedReply> {
        self.octets = self.octets.saturating_add(part.len() + 1);
        if self.octets > MAX_REPLY {
            return Err(MalformedReply::TooLong);
        }
        let room = (MAX_TEXT + 8).saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<RemoteReply>, MalformedReply> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let (digits, rest) = line.split_at_checked(3).ok_or(MalformedReply::Line)?;
        let code = code(digits).ok_or(MalformedReply::Line)?;
        let (last, text) = match rest.split_first() {
            None => (true, rest),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(MalformedReply::Line),
        };
        if *self.code.get_or_insert(code) != code {
            return Err(MalformedReply::Codes);
        }
        if self.lines < MAX_LINES {
            if self.lines > 0 && self.text.len() < MAX_TEXT {
                self.text.push(b'\n');
            }
            let room = MAX_TEXT.saturating_sub(self.text.len());
            self.text.extend_from_slice(&text[..text.len().min(room)]);
        }
        self.lines += 1;
        Ok(last.then(|| self.finish(code)))
    }

    fn finish(&mut self, code: u16) -> RemoteReply {
        let done = std::mem::take(self);
        let text = String::from_utf8_lossy(&done.text).into_owned();
        RemoteReply { code, enhanced: enhanced(code, &text), text }
    }
}

fn code(digits: &[u8]) -> Option<u16> {
    let valid = matches!(digits, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']);
    valid.then(|| digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0')))
}

/// RFC 2034 section 4: the text begins with a status code of the same class.
fn enhanced(code: u16, text: &str) -> Option<EnhancedCode> {
    EnhancedCode::leading(text).filter(|status| status.fits(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(input: &[u8]) -> Result<(usize, Option<RemoteReply>), MalformedReply> {
        ReplyParser::default().push(input)
    }

    fn reply(code: u16, enhanced: Option<(u8, u16, u16)>, text: &str) -> RemoteReply {
        RemoteReply { code, enhanced: enhanced.map(Into::into), text: text.into() }
    }

    #[test]
    fn replies() {
        assert_eq!(one(b"250 ok\r\n250 next"), Ok((8, Some(reply(250, None, "ok")))));
        assert_eq!(one(b"250\r\n").unwrap().1, Some(reply(250, None, "")));
        assert_eq!(one(b"250-a\r\n250-\r\n250 b\n").unwrap().1, Some(reply(250, None, "a\n\nb")));
        assert_eq!(one(b"550 5.1.1 no\r\n").unwrap().1, Some(reply(550, Some((5, 1, 1)), "5.1.1 no")));
        assert_eq!(one(b"550 5.7.509 no\r\n").unwrap().1, Some(reply(550, Some((5, 7, 509)), "5.7.509 no")));
        assert_eq!(one(b"550 4.1.1 no\r\n").unwrap().1, Some(reply(550, None, "4.1.1 no")));
        assert_eq!(one(b"550 5.1.1.1 no\r\n").unwrap().1.unwrap().enhanced, None);
        assert_eq!(one(b"550 \xff\r\n").unwrap().1, Some(reply(550, None, "\u{fffd}")));
        assert_eq!(one(b"250-half\r\n"), Ok((10, None)));
    }

    #[test]
    fn no_replies() {
        for input in
            [&b"hello\r\n"[..], b"25\r\n", b"\r\n", b"600 x\r\n", b"199 x\r\n", b"2500\r\n", b"+OK\r\n"]
        {
            assert_eq!(one(input), Err(MalformedReply::Line), "{input:?}");
        }
        assert_eq!(one(b"250-a\r\n251 b\r\n"), Err(MalformedReply::Codes));
    }

    #[test]
    fn bounds() {
        let many = "250-x\r\n".repeat(500) + "250 end\r\n";
        let kept = one(many.as_bytes()).unwrap().1.unwrap();
        assert_eq!(kept.text.lines().count(), MAX_LINES);
        let long = format!("550 {}\r\n", "y".repeat(30_000));
        assert_eq!(one(long.as_bytes()).unwrap().1.unwrap().text.len(), MAX_TEXT);
        assert_eq!(one("250-x\r\n".repeat(20_000).as_bytes()), Err(MalformedReply::TooLong));
        assert_eq!(one(&vec![b'2'; 100_000]), Err(MalformedReply::TooLong));
    }

    proptest! {
        #[test]
        fn segmentation_does_not_matter(input in "(2[25]0[- ]?[a-z.0-9]{0,4}\r?\n?){0,6}", cut in 0usize..40) {
            let input = input.as_bytes();
            let whole = one(input);
            let mut parser = ReplyParser::default();
            let cut = cut.min(input.len());
            let split = match parser.push(&input[..cut]) {
                Ok((n, None)) => parser.push(&input[cut..]).map(|(m, r)| (n + m, r)),
                other => other,
            };
            prop_assert_eq!(whole, split);
        }
    }
}
