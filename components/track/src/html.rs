//! Links and the end of the body in an HTML document.

mod end;

use crate::edits::Change;
use crate::links::{Links, is_trackable};
use crate::{optout, unsubscribe};
use lol_html::html_content::{Attribute, Element};
use lol_html::{EndTagHandler, HtmlRewriter, MemorySettings, Settings, element};
use relevo_mailkit::model::{Segment, TrackOptions};
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

/// What `lol_html` may use: mostly its stack of open elements, which a hostile document makes as
/// deep as it is long.
const MAX_TOKENIZER_MEMORY: usize = 16 * 1024 * 1024;

/// How a document is to be read.
pub(crate) struct Html<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) options: &'a TrackOptions,
    /// The charset is UTF-8 or nothing that says otherwise, so octets above 127 in a URL can be
    /// understood.
    pub(crate) utf8: bool,
    /// Insert the open pixel.
    pub(crate) pixel: bool,
}

impl Html<'_> {
    /// The changes to the document, in order.
    ///
    /// # Errors
    /// The document is too complex for the tokenizer's memory.
    pub(crate) fn changes(&self, links: &mut Links) -> Result<Vec<Change>, String> {
        let changes = RefCell::new(Vec::new());
        let links = RefCell::new(links);
        let body_end: Rc<Cell<Option<usize>>> = Rc::default();
        let mut settings = settings();
        if self.options.clicks {
            settings = settings.append_element_content_handler(element!("a, area", |el| {
                self.link(el, &mut links.borrow_mut(), &mut changes.borrow_mut());
                Ok(())
            }));
        }
        if self.pixel {
            settings = settings.append_element_content_handler(element!("body", |el| {
                let body_end = Rc::clone(&body_end);
                let handler: EndTagHandler<'static> = Box::new(move |end| {
                    body_end.set(Some(end.source_location().bytes().start));
                    Ok(())
                });
                el.on_end_tag(handler)
            }));
        }
        let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
        rewriter.write(self.text).and_then(|()| rewriter.end()).map_err(|e| e.to_string())?;
        let mut changes = changes.into_inner();
        if self.pixel {
            let at = match body_end.get() {
                Some(at) => at,
                None => end::of_document(self.text)?,
            };
            changes.push(Change { at: at..at, segments: pixel() });
        }
        changes.sort_by_key(|change| change.at.start);
        if self.options.unsubscribe_length > 0 {
            unsubscribe::add(self.text, true, &mut changes);
        }
        Ok(changes)
    }

    fn link(&self, el: &Element<'_, '_>, links: &mut Links, changes: &mut Vec<Change>) {
        let attributes = el.attributes();
        let opted_out: Vec<_> =
            attributes.iter().filter(|a| optout::opts_out(&a.name(), &a.value())).collect();
        if !opted_out.is_empty() {
            for attribute in opted_out {
                self.strip(attribute, changes);
            }
            return;
        }
        // Of several attributes with one name the first counts (HTML, 13.2.5.33).
        let Some(href) = attributes.iter().find(|a| a.name() == "href") else { return };
        let Some(at) = href.value_source_location().map(|location| location.bytes()) else { return };
        let Some(url) = self.text.get(at.clone()).and_then(|value| self.destination(value)) else { return };
        if let Some(index) = links.index(&url, self.options) {
            changes.push(Change { at, segments: vec![Segment::Click(index)] });
        }
    }

    /// The URL in an attribute value, if it is one to be rewritten.
    fn destination(&self, value: &[u8]) -> Option<String> {
        let value = std::str::from_utf8(value).ok().filter(|value| self.utf8 || value.is_ascii())?;
        let decoded = htmlize::unescape_attribute(value);
        let url = decoded.trim_matches([' ', '\t', '\n', '\r', '\u{c}']);
        is_trackable(url).then(|| url.to_owned())
    }

    /// Takes an attribute out, with the whitespace before it unless that keeps its neighbours
    /// apart.
    fn strip(&self, attribute: &Attribute<'_>, changes: &mut Vec<Change>) {
        let Some(name) = attribute.name_source_location().map(|location| location.bytes()) else { return };
        let end = self.attribute_end(&name, attribute);
        let mut start = name.start;
        if self.text.get(end).is_none_or(|next| is_blank(*next) || *next == b'>') {
            start -= self.text[..start].iter().rev().take_while(|octet| is_blank(**octet)).count();
        }
        match changes.last_mut() {
            // Two in a row.
            Some(last) if last.at.end == start && last.segments.is_empty() => last.at.end = end,
            _ => changes.push(Change { at: start..end, segments: Vec::new() }),
        }
    }

    /// After the value and its quote; of an attribute without one, after the `=` that may be there
    /// all the same.
    fn attribute_end(&self, name: &Range<usize>, attribute: &Attribute<'_>) -> usize {
        let Some(value) = attribute.value_source_location().map(|location| location.bytes()) else {
            let blanks = self.text[name.end..].iter().take_while(|octet| is_blank(**octet)).count();
            let equals = name.end + blanks;
            return if self.text.get(equals) == Some(&b'=') { equals + 1 } else { name.end };
        };
        let before = value.start.checked_sub(1).and_then(|at| self.text.get(at));
        let quoted = matches!(before, Some(b'"' | b'\'')) && self.text.get(value.end) == before;
        value.end + usize::from(quoted)
    }
}

/// A tokenizer that takes any document, within bounds.
fn settings<'h>() -> Settings<'h, 'static> {
    Settings::new()
        .with_strict(false)
        .with_memory_settings(MemorySettings::new().with_max_allowed_memory_usage(MAX_TOKENIZER_MEMORY))
}

/// Whitespace between attributes.
fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
}

fn pixel() -> Vec<Segment> {
    vec![
        Segment::Literal(b"<img src=\"".to_vec()),
        Segment::Open,
        Segment::Literal(b"\" width=\"1\" height=\"1\" alt=\"\">".to_vec()),
    ]
}
