//! Ties an answer to its call. The content of an answer is checked once, by its user, with
//! [`relevo_mailkit::recheck`]; a built message, which nobody looks at again, is checked here.

use relevo_mailkit::model::{Part, Rewrite, Span};
use relevo_mailkit::recheck::LineEnds;

/// The part index of a report about a message of `size` octets.
pub(crate) fn parts(parts: &[Part], size: u64) -> Result<(), String> {
    for (index, part) in parts.iter().enumerate() {
        let spans = [Some(part.header), Some(part.body), part.encoding_field];
        if spans.into_iter().flatten().any(|span| !within(span, size)) {
            return Err(format!("part {index} reaches past the end of the message"));
        }
        // The root comes first and has no parent; every other one names an earlier part.
        let parent = part.parent.map(|parent| usize::try_from(parent).unwrap_or(usize::MAX));
        if parent.is_none() != (index == 0) || parent.is_some_and(|parent| parent >= index) {
            return Err(format!("part {index} is out of order"));
        }
    }
    if parts.is_empty() { Err("no parts".into()) } else { Ok(()) }
}

fn within(span: Span, size: u64) -> bool {
    span.offset.checked_add(span.length).is_some_and(|end| end <= size)
}

/// The parts that `track` asks for must be there and ascending.
pub(crate) fn parts_needed(needed: &[u32], parts: &[Part]) -> Result<(), String> {
    let ascending = needed.windows(2).all(|pair| pair[0] < pair[1]);
    let known = needed.last().is_none_or(|last| usize::try_from(*last).is_ok_and(|last| last < parts.len()));
    if ascending && known { Ok(()) } else { Err("needs parts that are not there".into()) }
}

/// A rewrite has edits in none but the `needed` parts.
pub(crate) fn rewrite(rewrite: &Rewrite, needed: &[u32]) -> Result<(), String> {
    if rewrite.edits.iter().any(|edit| edit.part.is_none_or(|part| !needed.contains(&part))) {
        return Err("an edit in a part that was not given".into());
    }
    Ok(())
}

/// A message made by `template`: CRLF only, no NUL.
pub(crate) fn message(message: &[u8]) -> Result<(), String> {
    let mut ends = LineEnds::default();
    ends.push(message).and_then(|()| ends.finish()).map_err(|error| format!("a built message: {error:?}"))
}
