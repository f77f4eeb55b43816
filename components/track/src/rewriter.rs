//! The pass over a message.

use crate::edits::Content;
use crate::html::Html;
use crate::links::Links;
use crate::part::{self, Kind};
use crate::{decode, text};
use relevo_mailkit::model::{DeclaredEncoding, Edit, Note, Part, Rewrite, TrackOptions};
use relevo_mailkit::transfer;
use std::borrow::Cow;

/// Finds what is to be rewritten in the parts of one message.
///
/// For each index in [`parts_needed`](Self::parts_needed): [`begin`](Self::begin),
/// [`push`](Self::push) the raw body in chunks of any size, [`end`](Self::end). A part that was not
/// asked for, or whose body is not as long as its span says, is left alone.
pub struct Rewriter {
    options: TrackOptions,
    parts: Vec<Part>,
    kinds: Vec<(u32, Kind)>,
    current: Option<(u32, Kind)>,
    raw: Vec<u8>,
    /// The first HTML part of them carries the pixel.
    pixel: Option<u32>,
    links: Links,
    edits: Vec<Edit>,
    notes: Vec<Note>,
}

impl Rewriter {
    /// For a message with these parts.
    #[must_use]
    pub fn new(options: TrackOptions, parts: Vec<Part>) -> Self {
        let mut notes = Vec::new();
        let mut kinds = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            if let (Some(kind), Ok(id)) =
                (part::kind(index, part, &options, &mut notes), u32::try_from(index))
            {
                kinds.push((id, kind));
            }
        }
        let first_html = kinds.iter().find(|(_, kind)| *kind == Kind::Html).map(|(id, _)| *id);
        let pixel = first_html.filter(|_| options.opens);
        if !options.clicks && options.unsubscribe_length == 0 {
            kinds.retain(|(id, _)| Some(*id) == pixel);
        }
        Self {
            options,
            parts,
            kinds,
            current: None,
            raw: Vec::new(),
            pixel,
            links: Links::default(),
            edits: Vec::new(),
            notes,
        }
    }

    /// The indexes of the parts to be pushed, ascending.
    #[must_use]
    pub fn parts_needed(&self) -> Vec<u32> {
        self.kinds.iter().map(|(id, _)| *id).collect()
    }

    /// The next part.
    pub fn begin(&mut self, part: u32) {
        self.current = self.kinds.iter().find(|(id, _)| *id == part).copied();
        self.raw.clear();
    }

    /// Raw octets of its body. What goes beyond its span is not kept.
    pub fn push(&mut self, chunk: &[u8]) {
        let Some(length) = self.current_part().map(|part| part.body.length) else { return };
        if (self.raw.len() + chunk.len()) as u64 > length {
            self.current = None;
            self.raw = Vec::new();
        } else {
            self.raw.extend_from_slice(chunk);
        }
    }

    /// The end of its body.
    pub fn end(&mut self) {
        let Some((index, kind)) = self.current.take() else { return };
        // Once only.
        self.kinds.retain(|(id, _)| *id != index);
        let raw = std::mem::take(&mut self.raw);
        if let Some(part) = usize::try_from(index).ok().and_then(|at| self.parts.get(at))
            && part.body.length == raw.len() as u64
        {
            let decoded = decoded(part, &raw);
            let pixel = self.pixel == Some(index);
            let changes = match kind {
                Kind::Text => {
                    Ok(text::changes(&decoded, part::is_utf8(part), &mut self.links, &self.options))
                }
                Kind::Html => {
                    Html { text: &decoded, options: &self.options, utf8: part::is_utf8(part), pixel }
                        .changes(&mut self.links)
                }
            };
            match changes {
                Ok(changes) => {
                    let reencode = self.options.reencode.contains(&index);
                    let content = Content { index, part, raw: &raw, decoded: &decoded, reencode };
                    self.edits.extend(content.edits(changes, &self.links, &self.options));
                }
                Err(e) => {
                    let detail = format!("part {index}: {e}");
                    self.notes.push(Note { name: "html-too-complex".to_owned(), detail });
                }
            }
        }
    }

    /// What is to be rewritten.
    #[must_use]
    pub fn finish(mut self) -> Rewrite {
        self.edits.sort_by_key(|edit| edit.at.offset);
        let links = self.links.finish(&mut self.notes);
        Rewrite { edits: self.edits, links, notes: self.notes }
    }

    fn current_part(&self) -> Option<&Part> {
        let (index, _) = self.current?;
        self.parts.get(usize::try_from(index).ok()?)
    }
}

fn decoded<'a>(part: &Part, raw: &'a [u8]) -> Cow<'a, [u8]> {
    match part.declared {
        DeclaredEncoding::QuotedPrintable => decode::quoted_printable(raw).into(),
        DeclaredEncoding::Base64 => transfer::decode_base64(raw).into(),
        _ => raw.into(),
    }
}
