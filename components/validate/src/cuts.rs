//! Where an over-long line of a quoted-printable or base64 part can be broken without a change of
//! its meaning: a soft line break (RFC 2045 section 6.7), or a line break that decoders ignore
//! (section 6.8).

/// Octets after which a break is due.
const DUE: usize = 980;
/// Octets after which it is made even where the part is malformed.
const LATEST: usize = 990;
/// Breaks in one message. More of them would cost more memory than the message is worth.
pub(crate) const MAX_CUTS: usize = 10_000;

/// Breaks of the line being read.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    since: usize,
    tail: [u8; 2],
    pending: Vec<u64>,
}

impl Cuts {
    /// The next octets of the line, which begin at `offset` of the message.
    pub(crate) fn feed(&mut self, offset: u64, piece: &[u8]) {
        if self.since + piece.len() <= DUE {
            self.since += piece.len();
            for &byte in &piece[piece.len().saturating_sub(2)..] {
                self.tail = [self.tail[1], byte];
            }
            return;
        }
        for (at, &byte) in (offset..).zip(piece) {
            // Not between the octets of `=XX`.
            let whole = !self.tail.contains(&b'=');
            if (self.since >= DUE && whole) || self.since >= LATEST {
                // One more than allowed is enough to see that there are too many.
                if self.pending.len() <= MAX_CUTS {
                    self.pending.push(at);
                }
                self.since = 0;
            }
            self.since += 1;
            self.tail = [self.tail[1], byte];
        }
    }

    /// At the end of the line.
    pub(crate) fn take(&mut self) -> std::vec::Drain<'_, u64> {
        self.since = 0;
        self.tail = [0; 2];
        self.pending.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_stand_between_escapes_for_any_chunking() {
        let line = b"=C3=A9".repeat(1000);
        let mut whole = Cuts::default();
        whole.feed(0, &line);
        let whole: Vec<_> = whole.take().collect();
        assert!(whole.len() >= 6);
        let mut last = 0;
        for &at in &whole {
            let at = usize::try_from(at).unwrap();
            assert!(at - last <= 998);
            assert_eq!(at % 3, 0, "inside an escape");
            last = at;
        }
        for size in [1, 2, 7, 64, 981] {
            let mut pieces = Cuts::default();
            for (i, piece) in line.chunks(size).enumerate() {
                pieces.feed((i * size) as u64, piece);
            }
            assert_eq!(pieces.take().collect::<Vec<_>>(), whole, "{size}");
        }
    }
}
