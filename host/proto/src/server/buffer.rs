//! What has been received and not yet understood.

use memchr::memchr;

/// A window over octets, moved to the front when space is needed.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    octets: Vec<u8>,
    start: usize,
    end: usize,
}

/// What is at the front of the buffer, seen as a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// No end of line yet.
    Partial,
    /// Ended by CRLF. The line is still in the buffer: see [`Buffer::line`].
    Complete {
        /// Octets before the CRLF.
        length: usize,
    },
    /// An LF without CR.
    Bare,
    /// Longer than it may be.
    TooLong,
}

impl Buffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Room for at least `want` more octets, to be followed by [`Self::filled`].
    pub(crate) fn space(&mut self, want: usize) -> &mut [u8] {
        if self.is_empty() {
            self.clear();
        }
        if self.octets.len() - self.end < want {
            self.octets.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.octets.len() < self.end + want {
                self.octets.resize(self.end + want, 0);
            }
        }
        &mut self.octets[self.end..]
    }

    /// The first `n` octets of the last [`Self::space`] have been written.
    pub(crate) fn filled(&mut self, n: usize) {
        self.end = self.octets.len().min(self.end + n);
    }

    /// Gives memory back when nothing is buffered and more than `keep` octets are allocated.
    pub(crate) fn shrink(&mut self, keep: usize) {
        if self.is_empty() && self.octets.len() > keep {
            self.clear();
            self.octets.truncate(keep);
            self.octets.shrink_to_fit();
        }
    }

    pub(crate) fn unread(&mut self) -> &mut [u8] {
        &mut self.octets[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.start = self.end.min(self.start + n);
    }

    /// `length` octets that were consumed `ago` octets before the present position. Valid until
    /// more space is asked for.
    pub(crate) fn consumed(&self, ago: usize, length: usize) -> &[u8] {
        let from = self.start.saturating_sub(ago);
        &self.octets[from..self.end.min(from + length)]
    }

    pub(crate) fn line(&self, length: usize) -> &[u8] {
        &self.octets[self.start..self.end.min(self.start + length)]
    }

    /// Looks for the end of a line of at most `max` octets. An LF alone is consumed with what
    /// stands before it, and so is what has arrived of a line that is too long: the rest is for
    /// [`Self::skip_line`].
    pub(crate) fn find_line(&mut self, max: usize) -> (Line, bool) {
        let unread = &self.octets[self.start..self.end];
        let Some(lf) = memchr(b'\n', unread) else {
            // One more for the CR of a line of just the permitted length.
            if unread.len() <= max + 1 {
                return (Line::Partial, false);
            }
            let cr = unread.ends_with(b"\r");
            self.clear();
            return (Line::TooLong, cr);
        };
        let ended = lf > 0 && unread[lf - 1] == b'\r';
        let length = if ended { lf - 1 } else { lf };
        match (ended, length > max) {
            (true, false) => (Line::Complete { length }, false),
            // The whole of it is here, with its end still to be skipped.
            (true, true) => {
                self.consume(length);
                (Line::TooLong, false)
            }
            (false, long) => {
                self.consume(lf + 1);
                (if long { Line::TooLong } else { Line::Bare }, false)
            }
        }
    }

    /// Drops octets up to and including the next CRLF. `cr`: the octet before was a CR. True when
    /// the CRLF was found.
    pub(crate) fn skip_line(&mut self, cr: &mut bool) -> bool {
        loop {
            let unread = &self.octets[self.start..self.end];
            let Some(lf) = memchr(b'\n', unread) else {
                *cr = unread.last().map_or(*cr, |&b| b == b'\r');
                self.clear();
                return false;
            };
            let ended = if lf == 0 { *cr } else { unread[lf - 1] == b'\r' };
            *cr = false;
            self.consume(lf + 1);
            if ended {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(octets: &[u8]) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.space(octets.len())[..octets.len()].copy_from_slice(octets);
        buffer.filled(octets.len());
        buffer
    }

    #[test]
    fn lines() {
        assert_eq!(of(b"NOOP").find_line(4).0, Line::Partial);
        assert_eq!(of(b"NOOP\r").find_line(4).0, Line::Partial);
        assert_eq!(of(b"NOOP\r\n").find_line(4).0, Line::Complete { length: 4 });
        assert_eq!(of(b"NOOPX\r").find_line(4).0, Line::TooLong);
        assert_eq!(of(b"NOOPX\r\n").find_line(4).0, Line::TooLong);
        assert_eq!(of(b"NO\n").find_line(4).0, Line::Bare);
        assert_eq!(of(b"\n").find_line(4).0, Line::Bare);
    }

    #[test]
    fn skipping() {
        let mut buffer = of(b"xx\nyy\r\nQUIT\r\n");
        let mut cr = false;
        assert!(buffer.skip_line(&mut cr));
        assert_eq!(buffer.unread(), b"QUIT\r\n");
        let mut cr = true;
        assert!(of(b"\n").skip_line(&mut cr));
        let mut cr = false;
        assert!(!of(b"x\r").skip_line(&mut cr));
        assert!(cr);
    }

    #[test]
    fn space_moves_and_grows() {
        let mut buffer = of(b"abcdef");
        buffer.consume(4);
        assert!(buffer.space(8).len() >= 8);
        assert_eq!(buffer.unread(), b"ef");
        buffer.consume(2);
        buffer.shrink(4);
        assert!(buffer.is_empty());
        assert_eq!(buffer.octets.len(), 4);
    }
}
