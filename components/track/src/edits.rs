//! From changes to decoded text to edits of the message.
//!
//! - 7bit, 8bit, binary: an edit for each change, as it is.
//! - quoted-printable: an edit for each change, over the raw octets that stand for it.
//! - base64: one edit, from the beginning of the line that the first change is in to the end of the
//!   part.
//! - a part that somebody else re-encodes, or one in which a line could grow over 998 octets: one
//!   edit over the whole body, and one of its Content-Transfer-Encoding field where the encoding
//!   changes.

use crate::decode;
use crate::links::Links;
use relevo_mailkit::model::{DeclaredEncoding, Edit, Encoding, Part, Segment, Span, TrackOptions};
use std::ops::Range;

/// Octets of a line without CRLF (RFC 5322 section 2.1.1).
const MAX_LINE: usize = 998;

/// Replaces octets of the decoded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: Range<usize>,
    pub(crate) segments: Vec<Segment>,
}

/// A part with its content.
pub(crate) struct Content<'a> {
    pub(crate) index: u32,
    pub(crate) part: &'a Part,
    pub(crate) raw: &'a [u8],
    pub(crate) decoded: &'a [u8],
    /// Somebody else re-encodes it.
    pub(crate) reencode: bool,
}

impl Content<'_> {
    /// The edits that make `changes`, which are in order and do not overlap.
    pub(crate) fn edits(&self, changes: Vec<Change>, links: &Links, options: &TrackOptions) -> Vec<Edit> {
        if changes.is_empty() {
            return Vec::new();
        }
        match self.part.declared {
            DeclaredEncoding::Base64 => vec![self.base64(changes)],
            DeclaredEncoding::QuotedPrintable if self.reencode => {
                vec![self.whole(Encoding::QuotedPrintable, self.literals(0, changes))]
            }
            DeclaredEncoding::QuotedPrintable => self.quoted_printable(changes),
            _ if self.reencode || longest_line(self.decoded, &changes, links, options) > MAX_LINE => {
                self.reencoded(changes)
            }
            _ => self.identity(changes),
        }
    }

    fn identity(&self, changes: Vec<Change>) -> Vec<Edit> {
        let edit = |change: Change| self.edit(change.at, Encoding::Identity, change.segments);
        changes.into_iter().map(edit).collect()
    }

    fn quoted_printable(&self, changes: Vec<Change>) -> Vec<Edit> {
        let decoded: Vec<usize> =
            changes.iter().flat_map(|change| [change.at.start, change.at.end]).collect();
        let offsets = decode::quoted_printable_offsets(self.raw, &decoded);
        offsets
            .chunks_exact(2)
            .zip(changes)
            .map(|(at, change)| self.edit(at[0]..at[1], Encoding::QuotedPrintable, change.segments))
            .collect()
    }

    fn base64(&self, changes: Vec<Change>) -> Edit {
        let first = changes.first().map_or(0, |change| change.at.start);
        let from =
            if self.reencode { decode::Quantum::default() } else { decode::base64_quantum(self.raw, first) };
        self.edit(from.raw..self.raw.len(), Encoding::Base64, self.literals(from.decoded, changes))
    }

    /// An identity body in another encoding: unchanged stretches are read from the message.
    fn reencoded(&self, changes: Vec<Change>) -> Vec<Edit> {
        let (encoding, name) = self.best_encoding();
        let source = |at: Range<usize>| Segment::Source(self.span(at));
        let body = self.whole(encoding, stretches(0, self.decoded.len(), changes, source));
        let field = format!("Content-Transfer-Encoding: {name}\r\n").into_bytes();
        // Without a field of its own: before the empty line that ends the header.
        let end = Span { offset: self.part.header.end().saturating_sub(2), length: 0 };
        let at = self.part.encoding_field.unwrap_or(end);
        let segments = vec![Segment::Literal(field)];
        vec![Edit { at, encoding: Encoding::Identity, segments, part: Some(self.index) }, body]
    }

    /// Quoted-printable while most octets stand for themselves, and are lines.
    fn best_encoding(&self) -> (Encoding, &'static str) {
        let text = self.decoded;
        let escaped = text.iter().filter(|b| **b > 126 || **b == b'=').count();
        let is_binary = self.part.declared == DeclaredEncoding::Binary;
        if is_binary || escaped > text.len() / 4 {
            (Encoding::Base64, "base64")
        } else {
            (Encoding::QuotedPrintable, "quoted-printable")
        }
    }

    fn whole(&self, encoding: Encoding, segments: Vec<Segment>) -> Edit {
        self.edit(0..self.raw.len(), encoding, segments)
    }

    fn literals(&self, from: usize, changes: Vec<Change>) -> Vec<Segment> {
        stretches(from, self.decoded.len(), changes, |at| Segment::Literal(self.decoded[at].to_vec()))
    }

    fn edit(&self, at: Range<usize>, encoding: Encoding, segments: Vec<Segment>) -> Edit {
        Edit { at: self.span(at), encoding, segments, part: Some(self.index) }
    }

    /// In the message.
    fn span(&self, at: Range<usize>) -> Span {
        Span { offset: self.part.body.offset + at.start as u64, length: (at.end - at.start) as u64 }
    }
}

/// The text from `from` to `to` with the changes made; `unchanged` gives the segment for a stretch
/// between them.
fn stretches(
    from: usize,
    to: usize,
    changes: Vec<Change>,
    unchanged: impl Fn(Range<usize>) -> Segment,
) -> Vec<Segment> {
    let mut segments = Vec::with_capacity(changes.len() * 2 + 1);
    let mut at = from;
    for change in changes {
        if at < change.at.start {
            segments.push(unchanged(at..change.at.start));
        }
        at = change.at.end;
        segments.extend(change.segments);
    }
    if at < to {
        segments.push(unchanged(at..to));
    }
    segments
}

/// The longest line that the changes can make.
fn longest_line(text: &[u8], changes: &[Change], links: &Links, options: &TrackOptions) -> usize {
    let mut line = Line::default();
    let mut at = 0;
    for change in changes {
        line.push(&text[at..change.at.start]);
        for segment in &change.segments {
            match segment {
                Segment::Literal(octets) => line.push(octets),
                Segment::Click(link) => line.extend(links.minted_length(Some(*link), options)),
                Segment::Open => line.extend(links.minted_length(None, options)),
                Segment::Unsubscribe => {
                    line.extend(usize::try_from(options.unsubscribe_length).unwrap_or(usize::MAX));
                }
                Segment::Source(_) => {}
            }
        }
        at = change.at.end;
    }
    line.push(&text[at..]);
    line.longest
}

#[derive(Default)]
struct Line {
    length: usize,
    longest: usize,
}

impl Line {
    fn push(&mut self, octets: &[u8]) {
        let mut from = 0;
        for lf in memchr::memchr_iter(b'\n', octets) {
            self.extend(lf - from);
            // Its CR is not counted.
            self.longest = self.longest.max(self.length.saturating_sub(1));
            self.length = 0;
            from = lf + 1;
        }
        self.extend(octets.len() - from);
        self.longest = self.longest.max(self.length);
    }

    fn extend(&mut self, octets: usize) {
        self.length = self.length.saturating_add(octets);
    }
}
