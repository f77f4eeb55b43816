//! The places of the unsubscribe URL.
//!
//! A place is the placeholder as a whole: nothing that would go on with the URL stands behind it.
//! In HTML each slash may be written as a character reference, because template engines write it
//! so. A place that another change covers is left alone: it is part of another URL, or of an
//! attribute that is taken out.

use crate::edits::Change;
use relevo_mailkit::model::Segment;
use relevo_mailkit::unsubscribe::PLACEHOLDER_HOST;
use std::ops::Range;

/// The spellings of a slash in HTML.
const SLASHES: [&[u8]; 4] = [b"/", b"&#x2f;", b"&#x2F;", b"&#47;"];

/// Adds a change for each place. `changes` are in order, and stay so.
pub(crate) fn add(text: &[u8], html: bool, changes: &mut Vec<Change>) {
    let places: Vec<Range<usize>> = memchr::memmem::find_iter(text, PLACEHOLDER_HOST.as_bytes())
        .filter_map(|host| place(text, host, html))
        .filter(|at| changes.iter().all(|change| is_apart(&change.at, at)))
        .collect();
    if !places.is_empty() {
        let change = |at| Change { at, segments: vec![Segment::Unsubscribe] };
        changes.extend(places.into_iter().map(change));
        changes.sort_by_key(|change| change.at.start);
    }
}

/// The whole URL round the host at `host`.
fn place(text: &[u8], host: usize, html: bool) -> Option<Range<usize>> {
    let slashes = if html { &SLASHES[..] } else { &SLASHES[..1] };
    let before =
        |end: usize| slashes.iter().find(|slash| text[..end].ends_with(slash)).map(|s| end - s.len());
    let start = before(before(host)?)?.checked_sub(b"https:".len())?;
    if !text[start..].starts_with(b"https:") {
        return None;
    }
    let end = host + PLACEHOLDER_HOST.len();
    let end = end + slashes.iter().find(|slash| text[end..].starts_with(slash))?.len();
    let goes_on =
        |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'/' | b'?' | b'#' | b'%' | b'_');
    let next = text.get(end);
    (!next.is_some_and(goes_on)).then_some(start..end)
}

/// No octet in common, and not the same start.
fn is_apart(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start != other.start && (one.end <= other.start || other.end <= one.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str, html: bool) -> String {
        let mut changes = Vec::new();
        add(text.as_bytes(), html, &mut changes);
        let mut out = text.to_owned();
        for change in changes.into_iter().rev() {
            out.replace_range(change.at, "URL");
        }
        out
    }

    #[test]
    fn whole_urls_are_places() {
        for (text, expected) in [
            ("https://unsubscribe.invalid/", "URL"),
            ("(https://unsubscribe.invalid/).", "(URL)."),
            ("x https://unsubscribe.invalid/\r\nhttps://unsubscribe.invalid/", "x URL\r\nURL"),
        ] {
            assert_eq!(replaced(text, false), expected);
            assert_eq!(replaced(text, true), expected);
        }
        for text in [
            "http://unsubscribe.invalid/",
            "unsubscribe.invalid",
            "https://unsubscribe.invalid",
            "https://unsubscribe.invalid/x",
            "https://unsubscribe.invalid/?a",
            "https://unsubscribe.invalid.example/",
            "https://a.unsubscribe.invalid/",
        ] {
            assert_eq!(replaced(text, false), text);
            assert_eq!(replaced(text, true), text);
        }
    }

    #[test]
    fn slashes_of_html_may_be_references() {
        let escaped = "<a href=\"https:&#x2f;&#x2f;unsubscribe.invalid&#x2f;\">https:&#47;/unsubscribe.invalid&#x2F;</a>";
        assert_eq!(replaced(escaped, true), "<a href=\"URL\">URL</a>");
        assert_eq!(replaced(escaped, false), escaped);
    }

    #[test]
    fn other_changes_stand() {
        let text = b"https://a.example/?u=https://unsubscribe.invalid/";
        let mut changes = vec![Change { at: 0..text.len(), segments: vec![Segment::Click(0)] }];
        add(text, false, &mut changes);
        assert_eq!(changes.len(), 1);
    }
}
