//! URLs in plain text.

use crate::edits::Change;
use crate::links::{Links, is_trackable, strip_scheme};
use crate::unsubscribe;
use relevo_mailkit::model::{Segment, TrackOptions};

/// The changes to a plain text, in order: links and the unsubscribe URL.
pub(crate) fn changes(text: &[u8], utf8: bool, links: &mut Links, options: &TrackOptions) -> Vec<Change> {
    let mut changes = match options.clicks && options.text_links {
        true => clicks(text, utf8, links, options),
        false => Vec::new(),
    };
    if options.unsubscribe_length > 0 {
        unsubscribe::add(text, false, &mut changes);
    }
    changes
}

/// Each whole http or https URL.
///
/// A URL begins where no letter or digit stands before it, and goes on to whitespace, `<`, `>`, a
/// quote or a control character; punctuation at its end belongs to the sentence, and so does a
/// closing bracket that it did not open. In `format=flowed` a space at the end of a line may mean
/// that the URL goes on in the next (RFC 3676, DelSp): such a URL is left alone.
fn clicks(text: &[u8], utf8: bool, links: &mut Links, options: &TrackOptions) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&text[at..], b"://").map(|found| at + found) {
        at = found + 3;
        let Some(start) = scheme_start(text, found) else { continue };
        let stop =
            text[at..].iter().position(|octet| ends_url(*octet)).map_or(text.len(), |length| at + length);
        let next = &text[stop..];
        let Ok(url) = std::str::from_utf8(&text[start..stop]) else { continue };
        at = stop;
        if next.starts_with(b" \r\n") || next.starts_with(b" \n") || (!utf8 && !url.is_ascii()) {
            continue;
        }
        let url = without_punctuation(url);
        if is_trackable(url)
            && let Some(index) = links.index(url, options)
        {
            changes.push(Change { at: start..start + url.len(), segments: vec![Segment::Click(index)] });
        }
    }
    changes
}

/// Where `http` or `https` before the colon begins.
fn scheme_start(text: &[u8], colon: usize) -> Option<usize> {
    let letters =
        text[..colon].iter().rev().take_while(|octet| octet.is_ascii_alphanumeric()).take(6).count();
    let start = colon - letters;
    let whole = text.get(start..colon + 3).and_then(|scheme| std::str::from_utf8(scheme).ok())?;
    strip_scheme(whole).map(|_| start)
}

fn ends_url(octet: u8) -> bool {
    octet <= b' ' || matches!(octet, b'<' | b'>' | b'"' | b'`' | 0x7f)
}

fn without_punctuation(mut url: &str) -> &str {
    loop {
        let Some(last) = url.chars().next_back() else { return url };
        let opening = match last {
            ')' => Some('('),
            ']' => Some('['),
            '}' => Some('{'),
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '~' | '|' | '\u{2019}' | '\u{201d}'
            | '\u{bb}' | '\u{2026}' => None,
            _ => return url,
        };
        if let Some(opening) = opening
            && url.matches(opening).count() >= url.matches(last).count()
        {
            return url;
        }
        url = &url[..url.len() - last.len_utf8()];
    }
}
