//! Which parts are looked at.

use encoding_rs::{EUC_JP, Encoding, UTF_8};
use relevo_mailkit::model::{DeclaredEncoding, Note, Part, TrackOptions};

/// The content of a part that is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Html,
    Text,
}

/// UTF-8, or nothing that says otherwise.
pub(crate) fn is_utf8(part: &Part) -> bool {
    part.charset.as_deref().is_none_or(|charset| {
        matches!(charset, "" | "us-ascii" | "ascii") || Encoding::for_label(charset.as_bytes()) == Some(UTF_8)
    })
}

/// An octet below 128 is always the ASCII character, by the label's entry in the WHATWG Encoding
/// Standard. It is not in big5, euc-kr, gb18030, gbk (gb2312) and shift_jis, where it can be the
/// second half of another character, nor in iso-2022-jp and utf-16.
fn is_ascii_compatible(part: &Part) -> bool {
    let encoding = part.charset.as_deref().and_then(|charset| Encoding::for_label(charset.as_bytes()));
    is_utf8(part) || encoding.is_some_and(|e| e.is_single_byte() || e == EUC_JP)
}

/// Whether and as what a part is to be pushed; a note when its author might expect that it is and
/// it is not.
pub(crate) fn kind(index: usize, part: &Part, options: &TrackOptions, notes: &mut Vec<Note>) -> Option<Kind> {
    let unsubscribes = options.unsubscribe_length > 0;
    let kind = match part.media_type.as_str() {
        "text/html" if options.clicks || options.opens || unsubscribes => Kind::Html,
        "text/plain" if (options.clicks && options.text_links) || unsubscribes => Kind::Text,
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

#[cfg(test)]
mod tests {
    use relevo_mailkit::model::Span;

    use super::*;

    fn noted(charset: &str) -> Vec<String> {
        let part = Part {
            parent: None,
            header: Span { offset: 0, length: 0 },
            body: Span { offset: 0, length: 1 },
            media_type: "text/html".into(),
            charset: Some(charset.into()),
            declared: DeclaredEncoding::EightBit,
            encoding_field: None,
            attachment: false,
            sealed: false,
            has_eight_bit: true,
            has_long_line: false,
        };
        let options = TrackOptions {
            clicks: true,
            opens: true,
            text_links: false,
            url_overhead: 0,
            max_html: 10,
            max_links: 1,
            max_link_length: 1,
            reencode: Vec::new(),
            exclude_domains: Vec::new(),
            unsubscribe_length: 0,
        };
        let mut notes = Vec::new();
        let _ = kind(0, &part, &options, &mut notes);
        notes.into_iter().map(|note| note.name).collect()
    }

    #[test]
    fn labels_are_those_of_the_web() {
        for tracked in [
            "latin1",
            "l2",
            "cp1252",
            "iso8859-15",
            "iso_8859-2",
            "windows-1251",
            "koi8-r",
            "ascii",
            "utf8",
            "x-cp1250",
            "euc-jp",
        ] {
            assert_eq!(noted(tracked), [] as [&str; 0], "{tracked}");
        }
        for left in [
            "gb2312",
            "gbk",
            "gb18030",
            "big5",
            "shift_jis",
            "sjis",
            "euc-kr",
            "iso-2022-jp",
            "utf-16",
            "utf-7",
            "nonsense",
        ] {
            assert_eq!(noted(left), ["charset-not-ascii-compatible"], "{left}");
        }
    }
}
