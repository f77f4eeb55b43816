//! The tags of a document, found without building a tree: how deep it nests has to be known before
//! anything recurses, or takes time that grows with the square of the depth.

/// Elements that have no end tag in HTML.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr",
];
/// Elements whose end tag may be left out: the next one ends them.
const IMPLIED: [&str; 14] =
    ["p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option", "optgroup", "rt", "rp"];
/// Elements whose content is not markup.
const RAW: [&str; 4] = ["script", "style", "textarea", "title"];

struct Tag<'a> {
    start: usize,
    name: &'a str,
    closing: bool,
    empty: bool,
}

/// Where elements of an XML-like document nest deeper than `limit`. Only an end tag that fits the
/// last start tag counts, so that the result is never too small.
pub(crate) fn strictly_deeper_than(source: &str, limit: u32) -> Option<usize> {
    let mut open: Vec<&str> = Vec::new();
    let mut at = 0;
    while let Some(tag) = next_tag(source, &mut at) {
        if tag.closing {
            open.pop_if(|last| *last == tag.name);
        } else if !tag.empty && !VOID.contains(&tag.name) {
            open.push(tag.name);
            if open.len() as u64 > u64::from(limit) {
                return Some(tag.start);
            }
        }
    }
    None
}

/// Where an HTML document surely nests deeper than `limit`. An estimate: browsers forgive much.
pub(crate) fn loosely_deeper_than(html: &str, limit: u32) -> Option<usize> {
    let mut open: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(tag) = next_tag(html, &mut at) {
        let name = tag.name.to_ascii_lowercase();
        if tag.closing {
            if let Some(index) = open.iter().rposition(|n| *n == name) {
                open.truncate(index);
            }
        } else if RAW.contains(&name.as_str()) {
            at = end_of_raw(html, at, &name);
        } else if !VOID.contains(&name.as_str()) && !IMPLIED.contains(&name.as_str()) {
            open.push(name);
            if open.len() as u64 > u64::from(limit) {
                return Some(tag.start);
            }
        }
    }
    None
}

/// The next tag from `at`, which moves behind it. Comments are skipped.
fn next_tag<'a>(source: &'a str, at: &mut usize) -> Option<Tag<'a>> {
    loop {
        let start = *at + source.get(*at..)?.find('<')?;
        let rest = &source[start + 1..];
        if rest.starts_with("!--") {
            *at = rest.find("-->").map_or(source.len(), |i| start + 1 + i + 3);
            continue;
        }
        let closing = rest.starts_with('/');
        let name = rest[usize::from(closing)..]
            .split(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>' | '<'))
            .next()
            .unwrap_or_default();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            *at = start + 1;
            continue;
        }
        let end = tag_end(rest);
        *at = start + 1 + end;
        return Some(Tag { start, name, closing, empty: rest[..end].ends_with('/') });
    }
}

/// Where the tag that starts at `rest` ends: its `>` outside quotes.
fn tag_end(rest: &str) -> usize {
    let mut quote = None;
    for (offset, byte) in rest.bytes().enumerate() {
        match (byte, quote) {
            (b'>', None) => return offset,
            (b'"' | b'\'', None) => quote = Some(byte),
            (byte, Some(open)) if byte == open => quote = None,
            _ => {}
        }
    }
    rest.len()
}

fn end_of_raw(html: &str, at: usize, name: &str) -> usize {
    let rest = html.as_bytes().get(at..).unwrap_or_default();
    let end = rest.windows(name.len() + 2).position(|w| {
        w.starts_with(b"</") && w.get(2..).is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()))
    });
    end.map_or(html.len(), |i| at + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_depth() {
        assert_eq!(strictly_deeper_than("<a><b x='>'/><br><c></c></a>", 2), None);
        assert_eq!(strictly_deeper_than("<a><b x='/'><c></c></b></a>", 2), Some(12));
        assert_eq!(strictly_deeper_than("<a></x></x><b>", 1), Some(11));
        assert_eq!(strictly_deeper_than("<!-- <a><b> --><a></a>", 1), None);
    }

    #[test]
    fn loose_depth() {
        assert_eq!(loosely_deeper_than(&"<p>x<li>y<br><DIV><b></div>".repeat(100), 3), None);
        assert_eq!(loosely_deeper_than("<script>if (a<b) '<div><div>'</SCRIPT><div>1 < 2</div>", 1), None);
        assert!(loosely_deeper_than(&"<div>".repeat(4), 3).is_some());
        assert!(loosely_deeper_than("<style><a>", 3).is_none());
    }
}
