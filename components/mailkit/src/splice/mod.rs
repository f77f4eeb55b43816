//! A message with edits applied, as a [`Source`]: nothing of it is written out before it is read.
//!
//! # How replacements meet the lines around them
//!
//! A replacement is encoded as a whole, and stands between octets that are already encoded. So that
//! the encoding stays right and lines stay short, the splice looks at the octets of the submitted
//! message on both sides of an edit:
//!
//! - *quoted-printable*: unless the edit starts at the beginning of a line (offset 0, or the octet
//!   before is LF; a body always starts so) the replacement begins with a soft break `=CRLF`; in a
//!   line that is 998 octets long already, the last character before it is moved behind the break,
//!   so that there is room for the `=`. Unless it ends at the end of a line (the next octet is CR,
//!   or there is none) it ends with a soft break, if it is not at the beginning of a line by
//!   itself. Its segments are decoded text.
//! - *base64*: the edit starts at a multiple of four characters and reaches to the end of the part.
//!   Unless it starts at the beginning of a line, the replacement begins with CRLF, which decoders
//!   skip. Its segments are decoded octets.
//! - *identity*: nothing is added.
//!
//! # Memory
//!
//! Literals and minted URLs are held; [`Segment::Source`] spans are read through a window of at
//! most 64 KiB, and a quoted-printable replacement keeps one mark (16 octets) for every 8 KiB of
//! its output, so that a read anywhere starts near by.

mod base64;
mod quoted_printable;
mod segments;

use std::io;
use std::sync::Arc;

use crate::model::{Edit, Encoding, Segment, Span};
use crate::recheck::MAX_LINE;
use crate::source::Source;
use base64::Base64Run;
use quoted_printable::{QuotedRun, SOFT_BREAK};
use segments::{Octets, Segments};

/// The tracking URLs of one recipient's copy. Each segment asks once, while the splice
/// is made.
pub trait TrackingUrls {
    /// The click URL of this index of the link table.
    fn click(&self, link: u32) -> String;
    /// The URL of the open pixel.
    fn open(&self) -> String;
    /// The URL by which the recipient unsubscribes.
    fn unsubscribe(&self) -> String;
}

/// For edits without URLs. A segment that stands for one becomes empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLinks;

impl TrackingUrls for NoLinks {
    fn click(&self, _link: u32) -> String {
        String::new()
    }

    fn open(&self) -> String {
        String::new()
    }

    fn unsubscribe(&self) -> String {
        String::new()
    }
}

/// Why edits cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpliceError {
    /// Two edits start at the same offset, overlap, or are not in order.
    Unsorted,
    /// An edit reaches past the end of the message.
    EditOutOfRange,
    /// A source segment reaches past the end of the message.
    SegmentOutOfRange,
}

impl std::fmt::Display for SpliceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unsorted => "edits are not in order or overlap",
            Self::EditOutOfRange => "an edit reaches past the end of the message",
            Self::SegmentOutOfRange => "a source segment reaches past the end of the message",
        })
    }
}

impl std::error::Error for SpliceError {}

/// Header fields on top, then a source with edits applied.
pub struct Splice {
    source: Arc<dyn Source>,
    /// Each with the offset at which it starts, ascending; none is empty.
    runs: Vec<(u64, Run)>,
    size: u64,
}

enum Run {
    Octets(Octets),
    QuotedPrintable(QuotedRun),
    Base64(Base64Run),
}

impl std::fmt::Debug for Splice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Splice")
            .field("size", &self.size)
            .field("runs", &self.runs.len())
            .finish_non_exhaustive()
    }
}

impl Splice {
    /// `prefix` is put before the first octet of `source`. Reads once through what is re-encoded as
    /// quoted-printable, to know its length.
    ///
    /// # Errors
    /// `InvalidInput` with a [`SpliceError`] for edits that do not fit; the source's own.
    pub fn new(
        prefix: Vec<u8>,
        source: Arc<dyn Source>,
        edits: Vec<Edit>,
        urls: &dyn TrackingUrls,
    ) -> io::Result<Self> {
        Self::validate(&edits, source.size()).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let mut splice = Self { source, runs: Vec::with_capacity(edits.len() * 2 + 2), size: 0 };
        splice.octets(Octets::Memory(prefix));
        let mut at = 0;
        for edit in edits {
            splice.octets(Octets::Source(Span { offset: at, length: edit.at.offset - at }));
            at = edit.at.end();
            splice.edit(edit, urls)?;
        }
        let end = splice.source.size();
        splice.octets(Octets::Source(Span { offset: at, length: end - at }));
        Ok(splice)
    }

    /// Whether edits can be applied to a message of `size` octets. What they insert is checked by
    /// [`crate::recheck::edits`].
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn validate(edits: &[Edit], size: u64) -> Result<(), SpliceError> {
        let within = |s: &Span| s.offset.checked_add(s.length).is_some_and(|end| end <= size);
        let mut last: Option<Span> = None;
        for edit in edits {
            if !within(&edit.at) {
                return Err(SpliceError::EditOutOfRange);
            }
            if last.is_some_and(|l| edit.at.offset < l.end() || edit.at.offset == l.offset) {
                return Err(SpliceError::Unsorted);
            }
            last = Some(edit.at);
            if edit.segments.iter().any(|p| matches!(p, Segment::Source(s) if !within(s))) {
                return Err(SpliceError::SegmentOutOfRange);
            }
        }
        Ok(())
    }

    fn edit(&mut self, edit: Edit, urls: &dyn TrackingUrls) -> io::Result<()> {
        let segments = edit.segments.into_iter().map(|segment| match segment {
            Segment::Literal(octets) => Octets::Memory(octets),
            Segment::Source(span) => Octets::Source(span),
            Segment::Click(link) => Octets::Memory(urls.click(link).into_bytes()),
            Segment::Open => Octets::Memory(urls.open().into_bytes()),
            Segment::Unsubscribe => Octets::Memory(urls.unsubscribe().into_bytes()),
        });
        match edit.encoding {
            Encoding::Identity => segments.for_each(|p| self.octets(p)),
            Encoding::QuotedPrintable => {
                let (lead, ends) = (self.lead(edit.at.offset)?, self.ends_line(edit.at.end())?);
                let run = QuotedRun::new(Segments::new(segments), lead, ends, &*self.source)?;
                self.push(run.size(), Run::QuotedPrintable(run));
            }
            Encoding::Base64 => {
                let run = Base64Run::new(Segments::new(segments), self.starts_line(edit.at.offset)?);
                self.push(run.size(), Run::Base64(run));
            }
        }
        Ok(())
    }

    fn octets(&mut self, octets: Octets) {
        self.push(octets.size(), Run::Octets(octets));
    }

    fn push(&mut self, size: u64, run: Run) {
        if size > 0 {
            self.runs.push((self.size, run));
            self.size += size;
        }
    }

    /// What stands between the line that a quoted-printable edit starts in and its replacement.
    fn lead(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        if self.starts_line(offset)? {
            return Ok(Vec::new());
        }
        // Only where a line of the greatest length ends is there no room for the soft break.
        if !self.ends_line(offset)? || self.column()? < MAX_LINE {
            return Ok(SOFT_BREAK.to_vec());
        }
        Ok([SOFT_BREAK, &self.take_back(offset)?, SOFT_BREAK].concat())
    }

    /// Octets of the line so far, as far as it matters.
    fn column(&self) -> io::Result<usize> {
        let from = self.size.saturating_sub(MAX_LINE as u64);
        let mut line = vec![0; MAX_LINE];
        let n = self.read_at(from, &mut line)?;
        Ok(line[..n].iter().rev().take_while(|c| **c != b'\n').count())
    }

    /// Takes the last encoded character before `offset` off what was put together so far: a
    /// character, or `=XX`.
    fn take_back(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        let Some((start, Run::Octets(Octets::Source(span)))) = self.runs.last_mut() else {
            return Ok(Vec::new());
        };
        let mut tail = vec![0; usize::try_from(span.length.min(3)).unwrap_or(0)];
        let n = self.source.read_at(offset - tail.len() as u64, &mut tail)?;
        tail.truncate(n);
        let of_escape = tail.iter().rposition(|c| *c == b'=');
        let tail = tail.split_off(of_escape.unwrap_or(tail.len().saturating_sub(1)));
        span.length -= tail.len() as u64;
        self.size = *start + span.length;
        if span.length == 0 {
            self.runs.pop();
        }
        Ok(tail)
    }

    fn starts_line(&self, offset: u64) -> io::Result<bool> {
        let Some(before) = offset.checked_sub(1) else { return Ok(true) };
        let mut octet = [0];
        Ok(self.source.read_at(before, &mut octet)? == 1 && octet[0] == b'\n')
    }

    fn ends_line(&self, offset: u64) -> io::Result<bool> {
        let mut octet = [0];
        Ok(self.source.read_at(offset, &mut octet)? == 0 || octet[0] == b'\r')
    }
}

impl Source for Splice {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if offset >= self.size {
            return Ok(0);
        }
        let mut filled = 0;
        // The run that `offset` is in: the first starts at 0.
        let first = self.runs.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        for (start, run) in &self.runs[first.min(self.runs.len())..] {
            let at = offset + filled as u64 - start;
            let rest = &mut buf[filled..];
            filled += match run {
                Run::Octets(octets) => octets.read_at(&*self.source, at, rest)?,
                Run::QuotedPrintable(quoted) => quoted.read_at(&*self.source, at, rest)?,
                Run::Base64(coded) => coded.read_at(&*self.source, at, rest)?,
            };
            if filled == buf.len() {
                break;
            }
        }
        Ok(filled)
    }

    fn is_in_memory(&self) -> bool {
        self.source.is_in_memory()
    }
}

/// Joins the edits of two stages over the same message. Where `over` touches a part, the edits of
/// `base` for that part are left out: a stage that edits a part that another one re-encodes
/// replaces all of it (see `track.options.reencode`).
#[must_use]
pub fn merge(base: &[Edit], over: &[Edit]) -> Vec<Edit> {
    let touched = |part: Option<u32>| part.is_some() && over.iter().any(|e| e.part == part);
    let mut edits: Vec<Edit> = base.iter().filter(|e| !touched(e.part)).chain(over).cloned().collect();
    edits.sort_by_key(|e| e.at.offset);
    edits
}

#[cfg(test)]
mod tests;
