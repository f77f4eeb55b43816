//! A replacement in quoted-printable. How long a line gets depends on what is in it, so the
//! replacement is measured once, and marks are kept at line starts.

use std::io;

use super::segments::Segments;
use crate::source::Source;
use crate::transfer::quoted_printable::{After, LOOKAHEAD, encode_line};

pub(super) const SOFT_BREAK: &[u8] = b"=\r\n";

/// Output between two marks.
const MARK_EVERY: u64 = 8 * 1024;

/// Input read at a time.
const WINDOW: u64 = 16 * 1024;

pub(super) struct QuotedRun {
    segments: Segments,
    /// What fences it off from the line that it starts in.
    lead: Vec<u8>,
    after: After,
    /// Line starts, ascending, the first at the beginning.
    marks: Vec<Mark>,
    size: u64,
}

/// A line start: how much was read and written until there, the lead not counted.
#[derive(Clone, Copy)]
struct Mark {
    input: u64,
    output: u64,
}

impl QuotedRun {
    pub(super) fn new(
        segments: Segments,
        lead: Vec<u8>,
        ends_line: bool,
        source: &dyn Source,
    ) -> io::Result<Self> {
        let after = if ends_line { After::LineEnd } else { After::Text };
        let start = Mark { input: 0, output: 0 };
        let mut run = Self { segments, lead, after, marks: vec![start], size: 0 };
        let (mut lines, mut line, mut last) = (Lines::new(&run, source, start), Vec::new(), 0);
        let mut marks = vec![start];
        while lines.next(&mut line)? {
            if lines.at.output - last >= MARK_EVERY {
                last = lines.at.output;
                marks.push(lines.at);
            }
        }
        run.size = lines.at.output + run.lead.len() as u64;
        run.marks = marks;
        Ok(run)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn read_at(&self, source: &dyn Source, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = self.lead.read_at(offset, buf)?;
        if filled == buf.len() || offset >= self.size {
            return Ok(filled);
        }
        let mut wanted = offset + filled as u64 - self.lead.len() as u64;
        let mark = self.marks.partition_point(|m| m.output <= wanted).saturating_sub(1);
        let mut lines = Lines::new(self, source, self.marks[mark]);
        let mut line = Vec::new();
        while filled < buf.len() {
            let start = lines.at.output;
            if !lines.next(&mut line)? {
                break;
            }
            if lines.at.output > wanted {
                let n = line.read_at(wanted - start, &mut buf[filled..])?;
                filled += n;
                wanted += n as u64;
            }
        }
        Ok(filled)
    }
}

/// Encodes line by line from a mark.
struct Lines<'a> {
    run: &'a QuotedRun,
    source: &'a dyn Source,
    at: Mark,
    window: Vec<u8>,
    /// How much of the window is in lines already.
    used: usize,
}

impl<'a> Lines<'a> {
    fn new(run: &'a QuotedRun, source: &'a dyn Source, at: Mark) -> Self {
        Self { run, source, at, window: Vec::new(), used: 0 }
    }

    /// The next line; false at the end.
    fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        let left = self.run.segments.size() - self.at.input;
        if left == 0 {
            return Ok(false);
        }
        if self.window.len() - self.used < LOOKAHEAD && (self.window.len() - self.used) as u64 != left {
            self.used = 0;
            self.window.resize(usize::try_from(left.min(WINDOW)).unwrap_or(LOOKAHEAD), 0);
            let n = self.run.segments.read_at(self.source, self.at.input, &mut self.window)?;
            self.window.truncate(n);
        }
        line.clear();
        let n = encode_line(&self.window[self.used..], self.run.after, line);
        if n == 0 {
            // Cannot be: a line always takes at least one octet. Better an error than a loop.
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.used += n;
        self.at.input += n as u64;
        self.at.output += line.len() as u64;
        Ok(true)
    }
}
