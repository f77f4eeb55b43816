//! Octets in memory or in the source, joined.

use std::io;

use crate::model::Span;
use crate::source::Source;

/// One stretch.
pub(super) enum Octets {
    Memory(Vec<u8>),
    Source(Span),
}

impl Octets {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Memory(octets) => octets.len() as u64,
            Self::Source(span) => span.length,
        }
    }

    /// Fills `buf` as far as this stretch reaches from `offset`.
    pub(super) fn read_at(&self, source: &dyn Source, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(octets) => octets.read_at(offset, buf),
            Self::Source(span) => {
                let left = span.length.saturating_sub(offset);
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
                read_full(source, span.offset + offset, &mut buf[..want])?;
                Ok(want)
            }
        }
    }
}

/// A source may give less than asked; inside a span that it promised, the end is an error.
fn read_full(source: &dyn Source, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
    while !buf.is_empty() {
        let n = source.read_at(offset, buf)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += n as u64;
        buf = &mut buf[n..];
    }
    Ok(())
}

/// The segments of one replacement, before they are encoded.
pub(super) struct Segments {
    items: Vec<(u64, Octets)>,
    size: u64,
}

impl Segments {
    pub(super) fn new(segments: impl Iterator<Item = Octets>) -> Self {
        let mut size = 0;
        let items = segments
            .filter(|p| p.size() > 0)
            .map(|p| {
                let start = size;
                size += p.size();
                (start, p)
            })
            .collect();
        Self { items, size }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buf` as far as there is something from `offset`.
    pub(super) fn read_at(&self, source: &dyn Source, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let first = self.items.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let mut filled = 0;
        for (start, segment) in &self.items[first.min(self.items.len())..] {
            if filled == buf.len() {
                break;
            }
            filled += segment.read_at(source, offset + filled as u64 - start, &mut buf[filled..])?;
        }
        Ok(filled)
    }
}
