//! What the inbox shows of a message, cut out along the spans that the `validate` component
//! returned.

use std::collections::HashSet;

use relevo_mailkit::model::{DeclaredEncoding, Part};
use relevo_mailkit::transfer;

/// The readable sides of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) subject: String,
    pub(crate) html: Option<String>,
    pub(crate) text: Option<String>,
    /// URLs of links, each once.
    pub(crate) links: Vec<String>,
}

pub(crate) fn shown(raw: &[u8], subject: String, parts: &[Part], links: Vec<String>) -> Shown {
    let first = |media_type: &str| {
        let part = parts.iter().find(|p| p.media_type == media_type && !p.attachment)?;
        Some(decode(raw, part))
    };
    let (html, text) = (first("text/html"), first("text/plain"));
    Shown { subject, html, text, links: unique(links) }
}

fn unique(links: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    links.into_iter().filter(|link| seen.insert(link.clone())).collect()
}

fn decode(raw: &[u8], part: &Part) -> String {
    let span = |offset: u64, end: u64| {
        let range = usize::try_from(offset).ok()?..usize::try_from(end).ok()?;
        raw.get(range)
    };
    let body = span(part.body.offset, part.body.end()).unwrap_or_default();
    let octets = match part.declared {
        DeclaredEncoding::Base64 => transfer::decode_base64(body),
        DeclaredEncoding::QuotedPrintable => transfer::decode_quoted_printable(body),
        _ => body.to_vec(),
    };
    match part.charset.as_deref() {
        // ISO 8859-1: octets are code points.
        Some("iso-8859-1" | "latin1") => octets.iter().map(|b| char::from(*b)).collect(),
        _ => String::from_utf8_lossy(&octets).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relevo_mailkit::model::Span;

    #[test]
    fn decodes_along_the_spans() {
        let raw = b"Subject: x\r\n\r\nPGI+aGk8L2I+\r\n";
        let part = Part {
            parent: None,
            header: Span { offset: 0, length: 54 },
            body: Span { offset: 56, length: 14 },
            media_type: "text/html".into(),
            charset: None,
            declared: DeclaredEncoding::Base64,
            encoding_field: None,
            attachment: false,
            sealed: false,
            has_eight_bit: false,
            has_long_line: false,
        };
        let at = u64::try_from(raw.len()).unwrap() - 14;
        let part = Part { body: Span { offset: at, length: 14 }, ..part };
        let link = "https://example.com/".to_owned();
        let shown = shown(raw, "x".into(), &[part], vec![link.clone(), link.clone()]);
        assert_eq!(shown.links, [link]);
        assert_eq!(shown.html.as_deref(), Some("<b>hi</b>"));
        assert_eq!(shown.text, None);
    }
}
