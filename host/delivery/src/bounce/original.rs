//! The header of the message that a bounce is about.

use relevo_mailkit::model::{Edit, Segment};
use relevo_mailkit::source::Source;
use relevo_mailkit::splice::{NoLinks, Splice};
use relevo_queue::{ItemId, ItemMeta};
use relevo_submission::Recipe;

use crate::shared::DeliveryContext;

/// The most that is returned of it.
const MAX_HEADER: usize = 32 * 1024;

/// The header as it was sent, without signatures: what intake added is in it and what it took out
/// (Bcc) is not. Empty when it cannot be read: a bounce without it is better than none.
pub(super) async fn header(shared: &DeliveryContext, item: ItemId, meta: &ItemMeta) -> Vec<u8> {
    let body = match shared.queue.body(item).await {
        Ok(Some(body)) => body,
        Ok(None) => return Vec::new(),
        Err(error) => {
            tracing::warn!(target: "relevo::bounce", id = %item, %error, "the original cannot be read");
            return Vec::new();
        }
    };
    let Ok(recipe) = Recipe::decode(&meta.recipe) else { return Vec::new() };
    let edits = recipe.edits.into_iter().filter(is_of_the_header).collect();
    let read = tokio::task::spawn_blocking(move || {
        let spliced = Splice::new(recipe.prepend, body, edits, &NoLinks)?;
        Ok::<_, std::io::Error>(cut(&read_start(&spliced)?))
    });
    match read.await {
        Ok(Ok(header)) => header,
        _ => Vec::new(),
    }
}

fn is_of_the_header(edit: &Edit) -> bool {
    edit.part.is_none() && !edit.segments.iter().any(Segment::is_url)
}

fn read_start(source: &dyn Source) -> std::io::Result<Vec<u8>> {
    let mut start = vec![0; MAX_HEADER];
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
    fn ends_at_the_empty_line_or_at_a_whole_line() {
        assert_eq!(cut(b"A: b\r\n c\r\n\r\nbody\r\n"), b"A: b\r\n c\r\n");
        assert_eq!(cut(b"A: b\r\nB: cut off he"), b"A: b\r\n");
        assert_eq!(cut(b"A: b\r\nB: \rx\r\n"), b"A: b\r\n");
        assert_eq!(cut(b""), b"");
    }
}
