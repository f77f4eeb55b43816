//! The checker of what components return (law 7). Small, applied to nothing else, and fuzzed: no
//! component can smuggle a message, add a bare CR or LF, or have something signed that was not
//! granted.

mod answers;
mod dkim;
mod lines;
pub mod policy;

pub use answers::{refusal, report, rewrite};
pub use dkim::{signing_input, to_sign};
pub use lines::{LineEndError, LineEnds};

use crate::model::{Edit, Encoding, Segment};
use crate::splice::Splice;

/// Octets of a line without CRLF (RFC 5322 section 2.1.1).
pub const MAX_LINE: usize = 998;

/// A block of complete header fields, as it may be put on top of a message. An empty block is one.
///
/// Names are printable ASCII without colon; every line ends with CRLF and has at most [`MAX_LINE`]
/// octets; folded lines begin with white space and have something else too (RFC 5322 section 2.2.3:
/// a line of white space would end the header for some readers); no other CR or LF, no NUL and no
/// other control character than tab.
///
/// # Errors
/// The rule that is broken.
pub fn header_fields(block: &[u8]) -> Result<(), &'static str> {
    let mut rest = block;
    let mut first = true;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|w| w == b"\r\n").ok_or("a header line does not end with CRLF")?;
        let (line, after) = rest.split_at(end);
        rest = &after[2..];
        header_line(line, first)?;
        first = false;
    }
    Ok(())
}

fn header_line(line: &[u8], first: bool) -> Result<(), &'static str> {
    if line.len() > MAX_LINE {
        return Err("a header line has more than 998 octets");
    }
    if line.iter().any(|c| matches!(c, b'\r' | b'\n')) {
        return Err("a header line has a bare CR or LF");
    }
    if line.iter().any(|c| c.is_ascii_control() && *c != b'\t') {
        return Err("a header line has a control character");
    }
    if matches!(line.first(), Some(b' ' | b'\t')) {
        if first {
            return Err("a header block begins with a folded line");
        }
        if line.iter().all(|c| matches!(c, b' ' | b'\t')) {
            return Err("a folded header line has nothing but white space");
        }
        return Ok(());
    }
    match line.iter().position(|c| *c == b':') {
        None => Err("a header line has no colon"),
        Some(0) => Err("a header field has no name"),
        Some(n) if line[..n].iter().all(u8::is_ascii_graphic) => Ok(()),
        Some(_) => Err("a header field name is not printable ASCII"),
    }
}

/// Edits over a message of `size` octets with a table of `links` links: sorted, in range, not
/// overlapping, and nothing inserted as it is that has a bare CR or LF or a NUL. What stands at the
/// seams is seen by [`LineEnds`] on the way out.
///
/// # Errors
/// The rule that is broken.
pub fn edits(edits: &[Edit], size: u64, links: usize) -> Result<(), &'static str> {
    Splice::validate(edits, size).map_err(|_| "edits are out of order, overlap or reach past the message")?;
    for edit in edits {
        for segment in &edit.segments {
            match segment {
                Segment::Literal(octets) if edit.encoding == Encoding::Identity => literal(octets)?,
                Segment::Click(link) if usize::try_from(*link).is_ok_and(|l| l >= links) => {
                    return Err("an edit names a link that is not in the table");
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn literal(octets: &[u8]) -> Result<(), &'static str> {
    let mut lines = LineEnds::default();
    let whole = lines.push(octets).and_then(|()| lines.finish());
    whole.map_err(|_| "a literal has a bare CR or LF, or a NUL")
}

#[cfg(test)]
mod tests;
