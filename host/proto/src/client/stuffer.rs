//! Content on its way out: dots stuffed, the end marked, line ends checked a last time.

use memchr::memchr2;

/// A CR without LF, or an LF without CR: what follows could be taken for the end of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bare CR or LF at octet {offset}")]
pub struct BareLineEnd {
    /// From the start of the message.
    pub offset: u64,
}

/// Encodes content for DATA (RFC 5321 section 4.5.2), streaming.
#[derive(Debug)]
pub struct Stuffer {
    offset: u64,
    line_start: bool,
    cr: bool,
}

impl Default for Stuffer {
    fn default() -> Self {
        Self { offset: 0, line_start: true, cr: false }
    }
}

impl Stuffer {
    /// Appends the encoding of `input` to `out`.
    ///
    /// # Errors
    /// Nothing of this message may be sent any more, and the connection must be closed without the
    /// final dot.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        let mut rest = input;
        out.reserve(input.len() + 16);
        while let Some(&first) = rest.first() {
            if self.cr {
                if first != b'\n' {
                    return Err(BareLineEnd { offset: self.offset - 1 });
                }
                self.cr = false;
                self.line_start = true;
                rest = self.copy(rest, 1, out);
                continue;
            }
            if self.line_start && first == b'.' {
                out.push(b'.');
            }
            self.line_start = false;
            let Some(n) = memchr2(b'\r', b'\n', rest) else {
                self.copy(rest, rest.len(), out);
                break;
            };
            if rest[n] == b'\n' {
                return Err(BareLineEnd { offset: self.offset + n as u64 });
            }
            self.cr = true;
            rest = self.copy(rest, n + 1, out);
        }
        Ok(())
    }

    fn copy<'a>(&mut self, input: &'a [u8], n: usize, out: &mut Vec<u8>) -> &'a [u8] {
        out.extend_from_slice(&input[..n]);
        self.offset += n as u64;
        &input[n..]
    }

    /// Appends the end: a CRLF where the last line lacks one, and the final dot.
    ///
    /// # Errors
    /// The message ended in a CR.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
        if self.cr {
            return Err(BareLineEnd { offset: self.offset - 1 });
        }
        out.extend_from_slice(if self.line_start { b".\r\n" } else { b"\r\n.\r\n" });
        Ok(())
    }
}

/// Checks the line ends of content that goes as it is (BDAT, RFC 3030), streaming. The copy of a hop
/// further on may go by DATA, so what may not stand there may not stand here.
#[derive(Debug, Default)]
pub struct LineEnds {
    offset: u64,
    cr: bool,
}

impl LineEnds {
    /// Looks at the next octets.
    ///
    /// # Errors
    /// Nothing of this message may be sent any more, and the connection must be closed before all
    /// octets of the chunk are there.
    pub fn push(&mut self, input: &[u8]) -> Result<(), BareLineEnd> {
        let mut at = 0;
        if self.cr && !input.is_empty() {
            if input[0] != b'\n' {
                return Err(BareLineEnd { offset: self.offset - 1 });
            }
            self.cr = false;
            at = 1;
        }
        while let Some(n) = memchr2(b'\r', b'\n', &input[at..]) {
            at += n;
            match (input[at], input.get(at + 1)) {
                (b'\r', Some(b'\n')) => at += 2,
                (b'\r', None) => {
                    self.cr = true;
                    break;
                }
                _ => return Err(BareLineEnd { offset: self.offset + at as u64 }),
            }
        }
        self.offset += input.len() as u64;
        Ok(())
    }

    /// Looks at the end.
    ///
    /// # Errors
    /// The message ended in a CR.
    pub fn finish(self) -> Result<(), BareLineEnd> {
        if self.cr { Err(BareLineEnd { offset: self.offset - 1 }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuffed(parts: &[&[u8]]) -> Result<Vec<u8>, BareLineEnd> {
        let (mut stuffer, mut out) = (Stuffer::default(), Vec::new());
        for part in parts {
            stuffer.push(part, &mut out)?;
        }
        stuffer.finish(&mut out)?;
        Ok(out)
    }

    fn checked(parts: &[&[u8]]) -> Result<(), BareLineEnd> {
        let mut ends = LineEnds::default();
        parts.iter().try_for_each(|part| ends.push(part))?;
        ends.finish()
    }

    #[test]
    fn dots_and_the_end() {
        assert_eq!(stuffed(&[b".a\r\n..\r\nb."]).unwrap(), b"..a\r\n...\r\nb.\r\n.\r\n");
        assert_eq!(stuffed(&[]).unwrap(), b".\r\n");
        assert_eq!(stuffed(&[b"a\r", b"\n", b".", b"\r\n"]).unwrap(), b"a\r\n..\r\n.\r\n");
    }

    #[test]
    fn bare_line_ends_do_not_leave() {
        for (input, offset) in
            [("a\nb", 1), ("a\rb", 1), ("\n", 0), ("a\r\n.\n", 4), ("a\r", 1), ("\r\r\n", 0), ("a\n.\r\n", 1)]
        {
            assert_eq!(stuffed(&[input.as_bytes()]), Err(BareLineEnd { offset }), "{input:?}");
            for cut in 0..input.len() {
                let (a, b) = input.as_bytes().split_at(cut);
                assert_eq!(stuffed(&[a, b]), Err(BareLineEnd { offset }), "{input:?} cut at {cut}");
                assert_eq!(checked(&[a, b]), Err(BareLineEnd { offset }), "{input:?} cut at {cut}");
            }
        }
    }

    proptest! {
        /// Both ways of sending find the same fault.
        #[test]
        fn chunks_are_checked_as_content_is(input in "[a.\r\n]{0,12}|(a?\r\n){0,4}", cut in 0usize..12) {
            let (a, b) = input.as_bytes().split_at(cut.min(input.len()));
            prop_assert_eq!(checked(&[a, b]), stuffed(&[input.as_bytes()]).map(drop));
        }

        /// What the receiving side of this crate makes of it is the message again.
        #[test]
        fn the_server_reads_it_back(lines in prop::collection::vec("[.a]{0,4}", 0..8), cut in 0usize..40) {
            let message: String = lines.iter().map(|l| format!("{l}\r\n")).collect();
            let (a, b) = message.as_bytes().split_at(cut.min(message.len()));
            let wire = stuffed(&[a, b]).unwrap();
            let (content, left) = crate::server::unstuff(&wire);
            prop_assert_eq!(content, message.into_bytes());
            prop_assert_eq!(left, 0);
        }
    }
}
