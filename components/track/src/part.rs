//! Which parts are looked at.

use relevo_mailkit::model::{DeclaredEncoding, Note, Part, TrackOptions};

/// What a wanted part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Html,
    Text,
}

/// Charsets in which an octet below 128 is always the ASCII character. Not so, because such an octet can be the second half of
/// another character or the text is not in octets at all: shift_jis, gb18030, gbk, big5, euc-kr, iso-2022-*, utf-7, utf-16, utf-32.
const SINGLE_BYTE: [&str; 12] = [
    "koi8-r",
    "koi8-u",
    "koi8-ru",
    "macintosh",
    "x-mac-cyrillic",
    "cp1250",
    "cp1251",
    "cp1252",
    "ibm866",
    "cp866",
    "tis-620",
    "euc-jp",
];

/// UTF-8, or nothing that says otherwise.
pub(crate) fn is_utf8(part: &Part) -> bool {
    part.charset
        .as_deref()
        .is_none_or(|charset| matches!(charset, "" | "utf-8" | "utf8" | "us-ascii" | "ascii"))
}

fn is_ascii_compatible(part: &Part) -> bool {
    let charset = part.charset.as_deref().unwrap_or_default();
    is_utf8(part)
        || SINGLE_BYTE.contains(&charset)
        || charset.starts_with("iso-8859-")
        || charset.starts_with("windows-125")
        || charset == "windows-874"
}

/// Whether and as what a part is to be pushed; a note when its author might expect that it is and it is not.
pub(crate) fn kind(index: usize, part: &Part, options: &TrackOptions, notes: &mut Vec<Note>) -> Option<Kind> {
    let kind = match part.media_type.as_str() {
        "text/html" if options.clicks || options.opens => Kind::Html,
        "text/plain" if options.clicks && options.text_links => Kind::Text,
        _ => return None,
    };
    if part.attachment || part.sealed || part.body.length == 0 {
        return None;
    }
    let problem = if part.body.length > options.max_html {
        if kind == Kind::Html { "html-too-large" } else { "text-too-large" }
    } else if part.declared == DeclaredEncoding::Other {
        "transfer-encoding-unknown"
    } else if !is_ascii_compatible(part) {
        "charset-not-ascii-compatible"
    } else {
        return Some(kind);
    };
    let charset = part.charset.as_deref().unwrap_or("none");
    let detail = format!("part {index}, {} octets, charset {charset}", part.body.length);
    notes.push(Note { name: problem.to_owned(), detail });
    None
}
