//! What a bounce returns of the message that it is about.

use std::collections::HashSet;

use relevo_mailkit::dsn::Ret;
use relevo_mailkit::model::{Edit, Segment};
use relevo_mailkit::recheck::LineEnds;
use relevo_mailkit::source::Source;
use relevo_mailkit::splice::{NoLinks, Splice};
use relevo_queue::{ItemId, ItemMeta};
use relevo_submission::Recipe;

use crate::shared::DeliveryContext;

/// The most that is returned of a header.
const MAX_HEADER: usize = 32 * 1024;
/// The largest message that is returned whole.
const MAX_WHOLE: u64 = 1024 * 1024;

/// As it was sent, without signatures: what intake added is in it and what it took out (Bcc) is not.
/// Links are those of the sender.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Original {
    /// The header, each line ended by CRLF.
    Header(Vec<u8>),
    /// All of it.
    Whole(Vec<u8>),
}

/// A report of failure returns the whole message if the sender asked for that (RFC 3461 section 4.3)
/// and it is not too large. Mail that requires TLS is not returned: the way back may be in clear
/// (RFC 8689 section 5). All other reports return the header. It is empty when it cannot be read: a
/// bounce without it is better than none.
pub(super) async fn returned(
    shared: &DeliveryContext,
    item: ItemId,
    meta: &ItemMeta,
    has_failed: bool,
) -> Original {
    let nothing = Original::Header(Vec::new());
    let body = match shared.queue.body(item).await {
        Ok(Some(body)) => body,
        Ok(None) => return nothing,
        Err(error) => {
            tracing::warn!(target: "relevo::bounce", id = %item, %error, "the original cannot be read");
            return nothing;
        }
    };
    let Ok(recipe) = Recipe::decode(&meta.recipe) else { return nothing };
    let edits = as_sent(recipe.edits);
    let options = &meta.options;
    let is_whole = has_failed && options.dsn.ret == Some(Ret::Full) && !options.require_tls;
    let read = tokio::task::spawn_blocking(move || {
        let spliced = Splice::new(recipe.prepend, body, edits, &NoLinks)?;
        Ok::<_, std::io::Error>(match whole_size(&spliced).filter(|_| is_whole) {
            Some(size) => whole(read_start(&spliced, size)?),
            None => Original::Header(cut(&read_start(&spliced, MAX_HEADER)?)),
        })
    });
    match read.await {
        Ok(Ok(original)) => original,
        _ => nothing,
    }
}

/// The size of a message that is small enough to be returned whole.
fn whole_size(source: &dyn Source) -> Option<usize> {
    usize::try_from(source.size()).ok().filter(|_| source.size() <= MAX_WHOLE)
}

/// What intake changed, but for parts in which links were rewritten: these stay as they came.
fn as_sent(edits: Vec<Edit>) -> Vec<Edit> {
    let has_url = |edit: &Edit| edit.segments.iter().any(Segment::is_url);
    let tracked: HashSet<u32> =
        edits.iter().filter(|edit| has_url(edit)).filter_map(|edit| edit.part).collect();
    let is_kept = |edit: &Edit| !has_url(edit) && edit.part.is_none_or(|part| !tracked.contains(&part));
    edits.into_iter().filter(is_kept).collect()
}

/// All of a message, if it is lines: binary content in which links were rewritten is none (RFC 3030).
fn whole(octets: Vec<u8>) -> Original {
    let mut lines = LineEnds::default();
    match lines.push(&octets).and_then(|()| lines.finish()) {
        Ok(()) => Original::Whole(octets),
        Err(_) => Original::Header(cut(&octets)),
    }
}

fn read_start(source: &dyn Source, most: usize) -> std::io::Result<Vec<u8>> {
    let mut start = vec![0; most];
    let mut filled = 0;
    while filled < start.len() {
        match source.read_at(filled as u64, &mut start[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    start.truncate(filled);
    Ok(start)
}

/// Up to the empty line, else whole lines only; NUL and bare CR and LF do not get through.
fn cut(start: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(start.len());
    for line in start.split_inclusive(|c| *c == b'\n') {
        let Some(content) = line.strip_suffix(b"\r\n") else { break };
        if content.is_empty() || content.len() > 998 || content.contains(&b'\r') || content.contains(&0) {
            break;
        }
        header.extend_from_slice(line);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_a_mebibyte_is_not_returned_whole() {
        let of_size = |size: usize| whole_size(&vec![b'x'; size]);
        assert_eq!([of_size(1_048_576), of_size(1_048_577)], [Some(1_048_576), None]);
    }

    #[test]
    fn parts_are_returned_as_they_were_sent_unless_links_were_rewritten() {
        let edit = |offset, part, segment| Edit {
            at: relevo_mailkit::model::Span { offset, length: 0 },
            encoding: relevo_mailkit::model::Encoding::Identity,
            segments: vec![segment],
            part,
        };
        let literal = || Segment::Literal(b"x".to_vec());
        let edits = vec![
            edit(0, None, literal()),
            edit(1, None, Segment::Open),
            edit(2, Some(0), literal()),
            edit(3, Some(1), literal()),
            edit(4, Some(1), Segment::Click(0)),
        ];
        let kept: Vec<u64> = as_sent(edits).iter().map(|edit| edit.at.offset).collect();
        assert_eq!(kept, [0, 2]);
    }

    #[test]
    fn what_is_not_lines_is_not_returned_whole() {
        assert_eq!(whole(b"A: b\r\n\r\nx".to_vec()), Original::Whole(b"A: b\r\n\r\nx".to_vec()));
        for binary in ["A: b\r\n\r\nx\n", "A: b\r\n\r\n\0", "A: b\r\n\r\nx\r"] {
            assert_eq!(whole(binary.as_bytes().to_vec()), Original::Header(b"A: b\r\n".to_vec()));
        }
    }

    #[test]
    fn ends_at_the_empty_line_or_at_a_whole_line() {
        assert_eq!(cut(b"A: b\r\n c\r\n\r\nbody\r\n"), b"A: b\r\n c\r\n");
        assert_eq!(cut(b"A: b\r\nB: cut off he"), b"A: b\r\n");
        assert_eq!(cut(b"A: b\r\nB: \rx\r\n"), b"A: b\r\n");
        assert_eq!(cut(b""), b"");
    }
}
