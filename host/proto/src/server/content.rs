//! The content of DATA: dot-unstuffing, the one sequence that ends it, and lines that end in LF
//! alone.

use memchr::memchr2;

/// What becomes of a line of a message that ends in LF alone (RFC 5321 section 2.3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareNewlines {
    /// The message is refused and the connection closed.
    #[default]
    Refuse,
    /// The line is ended by CRLF before anything judges the message. Only CRLF.CRLF ends the
    /// message all the same.
    Normalize,
}

/// Ends lines that end in LF alone by CRLF. Takes what [`Content::scan`] leaves, which ends in
/// CRLF, in pieces of any size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Normalizer {
    after_cr: bool,
    /// A dot that began a line after an LF alone. A client that ends lines so also stuffs dots so.
    held_dot: bool,
    after_bare_lf: bool,
    /// The content came by BDAT, where no dot is stuffed.
    unstuffed: bool,
}

impl Normalizer {
    /// For content in which no dots are stuffed (RFC 3030).
    pub(crate) fn unstuffed() -> Self {
        Self { unstuffed: true, ..Self::default() }
    }

    /// Appends `content` to `out`.
    pub(crate) fn push(&mut self, mut content: &[u8], out: &mut Vec<u8>) {
        while let Some(&first) = content.first() {
            if std::mem::take(&mut self.held_dot) && matches!(first, b'\r' | b'\n') {
                // A line of a dot alone: no end, and nothing was stuffed.
                out.push(b'.');
            }
            if std::mem::take(&mut self.after_bare_lf) && first == b'.' {
                self.held_dot = true;
                content = &content[1..];
                continue;
            }
            let Some(at) = memchr::memchr(b'\n', content) else {
                self.after_cr = content.last() == Some(&b'\r');
                out.extend_from_slice(content);
                return;
            };
            let (line, rest) = content.split_at(at);
            let terminated = if line.is_empty() { self.after_cr } else { line.last() == Some(&b'\r') };
            out.extend_from_slice(line);
            out.extend_from_slice(if terminated { b"\n" } else { b"\r\n" });
            self.after_cr = false;
            self.after_bare_lf = !terminated && !self.unstuffed;
            content = &rest[1..];
        }
    }
}

/// Where the scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScanPosition {
    /// After CRLF, or at the very beginning: a dot here is special (RFC 5321 section 4.5.2).
    LineStart,
    /// The first octet of the line was a dot, which is held back.
    Dot,
    /// A dot and a CR since the line began.
    DotCr,
    /// Within a line.
    Middle,
    /// After a CR within a line.
    Cr,
}

/// Finds CRLF.CRLF and nothing else, removes stuffed dots, and notices every CR or LF that stands
/// alone. Works on segments of any size.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    at: ScanPosition,
    bare_cr: bool,
    bare_lf: bool,
}

/// What a scan did to its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScanResult {
    /// Octets that were read.
    pub(crate) consumed: usize,
    /// Octets of content, now at the front of the buffer.
    pub(crate) content: usize,
    /// The final dot was read; the octets after `consumed` are commands.
    pub(crate) ended: bool,
}

impl Content {
    pub(crate) fn new() -> Self {
        Self { at: ScanPosition::LineStart, bare_cr: false, bare_lf: false }
    }

    /// A CR without LF or an LF without CR has been seen, as far as `newlines` minds. Somebody else
    /// may have taken that for the end of a line, and so of the message: it must not be accepted in
    /// any form.
    pub(crate) fn is_ambiguous(&self, newlines: BareNewlines) -> bool {
        self.bare_cr || (self.bare_lf && newlines == BareNewlines::Refuse)
    }

    /// Reads `buf` up to its end or the end of the message. Content is moved together in place.
    pub(crate) fn scan(&mut self, buf: &mut [u8]) -> ScanResult {
        let (mut read, mut write) = (0, 0);
        while let Some(&octet) = buf.get(read) {
            match (self.at, octet) {
                (ScanPosition::Dot, b'\r') => {
                    self.at = ScanPosition::DotCr;
                    read += 1;
                }
                (ScanPosition::DotCr, b'\n') => {
                    return ScanResult { consumed: read + 1, content: write, ended: true };
                }
                (ScanPosition::LineStart, b'.') => {
                    self.at = ScanPosition::Dot;
                    read += 1;
                }
                // The dot was stuffed: dropped, and the line goes on.
                (ScanPosition::Dot, _) => self.at = ScanPosition::Middle,
                // A lone CR. The message is refused, so it does not matter that this CR was not
                // passed on.
                (ScanPosition::DotCr, _) => {
                    self.bare_cr = true;
                    self.at = ScanPosition::Cr;
                }
                (ScanPosition::LineStart | ScanPosition::Middle | ScanPosition::Cr, _) => {
                    let n = self.run(&buf[read..]);
                    if read != write {
                        buf.copy_within(read..read + n, write);
                    }
                    read += n;
                    write += n;
                }
            }
        }
        ScanResult { consumed: read, content: write, ended: false }
    }

    /// Passes over content up to the next dot at the start of a line; returns the octets passed.
    fn run(&mut self, buf: &[u8]) -> usize {
        let mut i = 0;
        while i < buf.len() {
            match self.at {
                ScanPosition::LineStart if buf[i] == b'.' => return i,
                ScanPosition::Cr if buf[i] == b'\n' => {
                    self.at = ScanPosition::LineStart;
                    i += 1;
                }
                _ => {
                    self.bare_cr |= self.at == ScanPosition::Cr;
                    self.at = ScanPosition::Middle;
                    let Some(n) = memchr2(b'\r', b'\n', &buf[i..]) else { return buf.len() };
                    i += n;
                    if buf[i] == b'\r' {
                        self.at = ScanPosition::Cr;
                    } else {
                        // RFC 5321 section 4.1.1.4: LF alone is not the end of a line.
                        self.bare_lf = true;
                    }
                    i += 1;
                }
            }
        }
        i
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Content, whether ended, whether ambiguous, octets left over.
    fn scan_all(input: &[u8], cuts: &[usize]) -> (Vec<u8>, bool, bool, usize) {
        let mut content = Content::new();
        let mut out = Vec::new();
        let mut at = 0;
        for &cut in cuts.iter().chain([&input.len()]) {
            let cut = cut.clamp(at, input.len());
            let mut segment = input[at..cut].to_vec();
            let scan = content.scan(&mut segment);
            out.extend_from_slice(&segment[..scan.content]);
            if scan.ended {
                return (
                    out,
                    true,
                    content.is_ambiguous(BareNewlines::Refuse),
                    input.len() - at - scan.consumed,
                );
            }
            assert_eq!(scan.consumed, segment.len());
            at = cut;
        }
        (out, false, content.is_ambiguous(BareNewlines::Refuse), 0)
    }

    /// The definition, octet by octet over the whole input: the reference for the fast path.
    fn reference(input: &[u8]) -> (bool, bool, usize) {
        let terminated =
            |i: usize| input[i..].starts_with(b".\r\n") && (i == 0 || input[..i].ends_with(b"\r\n"));
        let end = (0..input.len()).find(|&i| terminated(i));
        let body = &input[..end.unwrap_or(input.len())];
        let bare = (0..body.len()).any(|i| match body[i] {
            b'\r' => body.get(i + 1).is_some_and(|&b| b != b'\n'),
            b'\n' => i == 0 || body[i - 1] != b'\r',
            _ => false,
        });
        (end.is_some(), bare, end.map_or(0, |e| input.len() - e - 3))
    }

    #[test]
    fn stuffing_is_removed() {
        let (out, ended, bare, left) = scan_all(b"..a\r\n.b\r\n\r\n...\r\n.\r\nQUIT\r\n", &[]);
        assert_eq!((out.as_slice(), ended, bare, left), (&b".a\r\nb\r\n\r\n..\r\n"[..], true, false, 6));
        assert_eq!(scan_all(b".\r\n", &[]), (vec![], true, false, 0));
    }

    #[test]
    fn only_crlf_dot_crlf_ends() {
        for middle in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r.\r\n",
            "\r\n.\r",
            "\r\n.\r\r\n",
            "\r\r\n.\n",
            "\n\r.\r\n",
            "\r\n\0.\r\nx\n",
        ] {
            let input = format!("a{middle}MAIL FROM:<x@y>\r\n.\r\n");
            for cut in 0..input.len() {
                let (_, ended, bare, left) = scan_all(input.as_bytes(), &[cut]);
                assert_eq!((ended, bare, left), (true, true, 0), "{middle:?} cut at {cut}");
            }
        }
    }

    fn normalized(input: &[u8], cuts: &[usize]) -> Vec<u8> {
        let (mut normalizer, mut out, mut at) = (Normalizer::default(), Vec::new(), 0);
        for &cut in cuts.iter().chain([&input.len()]) {
            let cut = cut.clamp(at, input.len());
            normalizer.push(&input[at..cut], &mut out);
            at = cut;
        }
        out
    }

    #[test]
    fn lines_are_ended_by_crlf() {
        for (input, expected) in [
            (&b"a\nb\r\nc\n"[..], &b"a\r\nb\r\nc\r\n"[..]),
            (b"\n\n", b"\r\n\r\n"),
            (b"a\n..b\n.c\n.\n..\n", b"a\r\n.b\r\nc\r\n.\r\n.\r\n"),
            // After CRLF dots were removed already.
            (b"a\r\n..b\r\n.", b"a\r\n..b\r\n."),
            (b"", b""),
        ] {
            for cut in 0..=input.len() {
                assert_eq!(normalized(input, &[cut]), expected, "{input:?} cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_lf_stands_alone_afterwards(input in "[\r\n.a]{0,40}", cuts in prop::collection::vec(0usize..40, 0..6)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let out = normalized(input.as_bytes(), &cuts);
            prop_assert_eq!(&out, &normalized(input.as_bytes(), &[]));
            prop_assert!((0..out.len()).all(|i| out[i] != b'\n' || (i > 0 && out[i - 1] == b'\r')));
            if !input.replace("\r\n", "").contains('\n') {
                prop_assert_eq!(out.as_slice(), input.as_bytes());
            }
        }

        #[test]
        fn agrees_with_the_reference(input in "[\r\n.a]{0,40}", cuts in prop::collection::vec(0usize..40, 0..6)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let whole = scan_all(input.as_bytes(), &[]);
            let (ended, bare, left) = reference(input.as_bytes());
            prop_assert_eq!((whole.1, whole.3), (ended, left));
            prop_assert_eq!(whole.2, bare);
            let split = scan_all(input.as_bytes(), &cuts);
            prop_assert_eq!((split.1, split.2, split.3), (ended, bare, left));
            if !bare {
                prop_assert_eq!(whole.0, split.0);
            }
        }
    }
}
