//! A replacement in base64: every output offset is computed, so a read anywhere costs only what it
//! returns.

use std::io;

use super::segments::Segments;
use crate::source::Source;
use crate::transfer::base64::{LINE, OCTETS, encode_lines, encoded_len};

/// With CRLF.
const FULL_LINE: usize = LINE + 2;

/// Lines encoded at a time: about 64 KiB.
const LINES: usize = 840;

pub(super) struct Base64Run {
    segments: Segments,
    /// CRLF first: the edit starts within a line.
    lead: &'static [u8],
}

impl Base64Run {
    pub(super) fn new(segments: Segments, starts_line: bool) -> Self {
        let lead: &[u8] = if starts_line || segments.size() == 0 { b"" } else { b"\r\n" };
        Self { segments, lead }
    }

    pub(super) fn size(&self) -> u64 {
        self.lead.len() as u64 + encoded_len(self.segments.size())
    }

    pub(super) fn read_at(&self, source: &dyn Source, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = self.lead.read_at(offset, buf)?;
        while filled < buf.len() {
            let at = offset + filled as u64 - self.lead.len() as u64;
            let (line, column) = (at / FULL_LINE as u64, at % FULL_LINE as u64);
            let lines = ((buf.len() - filled) / FULL_LINE + 2).min(LINES);
            let mut octets = vec![0; lines * OCTETS];
            let n = self.segments.read_at(source, line * OCTETS as u64, &mut octets)?;
            let mut text = Vec::new();
            encode_lines(&octets[..n], &mut text);
            let copied = text.read_at(column, &mut buf[filled..])?;
            if copied == 0 {
                break;
            }
            filled += copied;
        }
        Ok(filled)
    }
}
