//! The MIME structure, line by line (RFC 2046 section 5.1).
//!
//! Two readers must not see two structures: where the standards leave room, the message is refused.
//! A message that is only carried (inside message/rfc822) is indexed but not judged, so that
//! bounces with a truncated original pass; nothing inside is ever changed.

use relevo_mailkit::model::{
    DeclaredEncoding, Edit, Encoding, Note, Part, Refusal, Segment, Span, ValidateOptions,
};

use crate::cuts::{Cuts, MAX_CUTS};
use crate::encode;
use crate::entity::{self, Container, Entity};
use crate::head::{self, Head};
use crate::header::{Block, MAX_HEADER, MAX_LINE};
use crate::rules::{self, Checked};

/// A line without its CRLF, as far as it is kept.
pub(crate) struct Line<'a> {
    pub(crate) offset: u64,
    /// From 1.
    pub(crate) number: u64,
    /// At least the first [`PREFIX`] octets, if there are so many.
    pub(crate) prefix: &'a [u8],
    pub(crate) length: u64,
    /// Octets without the blanks at the end.
    pub(crate) text_length: u64,
    pub(crate) eight_bit: bool,
    /// Valid UTF-8.
    pub(crate) utf8: bool,
}

/// Two hyphens, a boundary of 70, two hyphens.
pub(crate) const PREFIX: usize = 74;

/// What the current line is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The header of the last entity.
    Header,
    /// The body of the last entity.
    Leaf,
    /// Before the first or after the last part of the innermost multipart.
    Outside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Parts,
    Epilogue,
}

/// A multipart, or a message/rfc822 (without boundary), that is not over.
#[derive(Debug)]
struct Open {
    entity: usize,
    boundary: Option<Vec<u8>>,
    state: State,
}

/// Reads lines, finds entities.
pub(crate) struct Structure {
    pub(crate) options: ValidateOptions,
    pub(crate) entities: Vec<Entity>,
    pub(crate) head: Head,
    pub(crate) utf8_header: bool,
    /// What was raw UTF-8 in headers of parts, encoded.
    pub(crate) header_edits: Vec<Edit>,
    pub(crate) header_notes: Vec<Note>,
    open: Vec<Open>,
    place: Place,
    header: Vec<u8>,
    cuts: Cuts,
    cut_count: usize,
}

impl Structure {
    pub(crate) fn new(options: ValidateOptions) -> Self {
        Self {
            options,
            entities: vec![Entity::new(None, 0, false, false)],
            head: Head::default(),
            utf8_header: false,
            header_edits: Vec::new(),
            header_notes: Vec::new(),
            open: Vec::new(),
            place: Place::Header,
            header: Vec::with_capacity(2048),
            cuts: Cuts::default(),
            cut_count: 0,
        }
    }

    /// How many octets of the header are still allowed.
    pub(crate) fn room(&self) -> Option<usize> {
        (self.place == Place::Header).then(|| MAX_HEADER.saturating_sub(self.header.len() + 2))
    }

    /// Octets that lines cannot have. Binary content may (RFC 2045 section 6.2): it is encoded.
    ///
    /// # Errors
    /// The refusal: this is no binary content, or it must not be changed.
    pub(crate) fn no_line(&mut self, refusal: impl FnOnce() -> Refusal) -> Checked<()> {
        match self.entities.last_mut() {
            Some(leaf) if self.place == Place::Leaf && leaf.may_be_binary() => {
                leaf.binary = true;
                Ok(())
            }
            _ => Err(refusal()),
        }
    }

    /// The message is one part, the last line of which need not end in CRLF if it is binary.
    pub(crate) fn is_one_part(&self) -> bool {
        self.entities.len() == 1
    }

    /// The next octets of the current line.
    pub(crate) fn text(&mut self, offset: u64, piece: &[u8]) {
        match (self.place, self.entities.last()) {
            (Place::Header, _) => self.header.extend_from_slice(piece),
            (Place::Leaf, Some(leaf)) if leaf.can_cut() => self.cuts.feed(offset, piece),
            _ => {}
        }
    }

    /// The end of the current line, all of which went through [`Self::text`].
    pub(crate) fn line(&mut self, line: &Line<'_>) -> Checked<()> {
        let next = line.offset + line.length + 2;
        if let Some((index, closing)) = self.delimiter(line)? {
            self.cuts.take();
            return self.divide(line, next, index, closing);
        }
        match self.place {
            Place::Header => {
                self.header.extend_from_slice(b"\r\n");
                if line.length == 0 { self.end_header(next) } else { Ok(()) }
            }
            Place::Leaf => self.leaf_line(line),
            Place::Outside => self.outside_line(line),
        }
    }

    /// The end of the message.
    pub(crate) fn finish(&mut self, end: u64) -> Checked<()> {
        if self.place == Place::Header && self.entities.len() == 1 {
            self.end_header(end)?;
        }
        self.end_entity(end)?;
        while let Some(open) = self.open.pop() {
            self.end_open(&open, end)?;
        }
        Ok(())
    }

    /// Whether the line is a delimiter: of which open multipart, and whether the closing one. RFC
    /// 2046 section 5.1.2 lets readers stop comparing after the boundary, so a line that goes on is
    /// a delimiter for some only.
    fn delimiter(&self, line: &Line<'_>) -> Checked<Option<(usize, bool)>> {
        let Some(text) = line.prefix.strip_prefix(b"--") else { return Ok(None) };
        for (index, open) in self.open.iter().enumerate().rev() {
            let Some(boundary) = &open.boundary else { continue };
            let Some(rest) = text.strip_prefix(boundary.as_slice()) else { continue };
            let length = boundary.len() as u64 + 2;
            let closing = line.text_length == length + 2 && rest.starts_with(b"--");
            let foreign = self.entities[open.entity].foreign;
            if !closing && line.text_length != length {
                if foreign {
                    continue;
                }
                return Err(rules::BOUNDARY_AMBIGUOUS.at(format!("line {}", line.number)));
            }
            if open.state == State::Epilogue {
                if foreign {
                    continue;
                }
                return Err(rules::BOUNDARY_AFTER_CLOSE.at(format!("line {}", line.number)));
            }
            return Ok(Some((index, closing)));
        }
        Ok(None)
    }

    /// Takes the delimiter `line` of the open multipart `index`.
    fn divide(&mut self, line: &Line<'_>, next: u64, index: usize, closing: bool) -> Checked<()> {
        // The CRLF before a delimiter belongs to it.
        let end = line.offset.saturating_sub(2);
        self.end_entity(end)?;
        while self.open.len() > index + 1 {
            let Some(open) = self.open.pop() else { break };
            self.end_open(&open, end)?;
        }
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        let parent = open.entity;
        if closing {
            if open.state == State::Preamble && !self.entities[parent].foreign {
                return Err(rules::BOUNDARY_NEVER_OPENED.at(format!("line {}", line.number)));
            }
            open.state = State::Epilogue;
            self.place = Place::Outside;
            return Ok(());
        }
        open.state = State::Parts;
        self.begin(parent, next)
    }

    fn begin(&mut self, parent: usize, offset: u64) -> Checked<()> {
        if self.entities.len() as u64 >= u64::from(self.options.max_parts) {
            return Err(rules::TOO_MANY_PARTS.at(format!("more than {}", self.options.max_parts)));
        }
        let outer = &self.entities[parent];
        let sealed = outer.part.sealed || entity::seals(&outer.part.media_type);
        let foreign = outer.foreign || outer.container == Container::Message;
        self.entities.push(Entity::new(Some(parent), offset, sealed, foreign));
        self.place = Place::Header;
        self.header.clear();
        Ok(())
    }

    /// The end of a leaf, or of a header that has no end of its own.
    fn end_entity(&mut self, end: u64) -> Checked<()> {
        let Some(last) = self.entities.last_mut() else { return Ok(()) };
        match self.place {
            Place::Header if !last.foreign => Err(rules::PART_HEADER_UNTERMINATED.at("")),
            // Carried, and cut off before its header ended: its octets go out like any others.
            Place::Header => {
                last.edge_eight_bit = Block::read(&self.header, last.part.header.offset, true)?.eight_bit;
                last.part.header = span(last.part.header.offset, end);
                last.part.body = span(last.part.header.end(), end);
                Ok(())
            }
            Place::Leaf => {
                last.part.body = span(last.part.body.offset, end);
                Ok(())
            }
            Place::Outside => Ok(()),
        }
    }

    fn end_open(&mut self, open: &Open, end: u64) -> Checked<()> {
        let entity = &mut self.entities[open.entity];
        entity.part.body = span(entity.part.body.offset, end);
        let rule = match open.state {
            State::Preamble => rules::BOUNDARY_NEVER_OPENED,
            State::Parts => rules::BOUNDARY_UNTERMINATED,
            State::Epilogue => return Ok(()),
        };
        if open.boundary.is_none() || entity.foreign {
            return Ok(());
        }
        Err(rule.at(open.boundary.as_deref().unwrap_or_default()))
    }

    fn end_header(&mut self, end: u64) -> Checked<()> {
        let header = std::mem::take(&mut self.header);
        let result = self.read_header(&header, end);
        self.header = header;
        self.header.clear();
        result
    }

    fn read_header(&mut self, bytes: &[u8], end: u64) -> Checked<()> {
        let index = self.entities.len() - 1;
        let digest = self.entities[index]
            .part
            .parent
            .and_then(|p| self.entities.get(p as usize))
            .is_some_and(|p| p.part.media_type == "multipart/digest");
        let (offset, foreign) = (self.entities[index].part.header.offset, self.entities[index].foreign);
        let block = Block::read(bytes, offset, foreign)?;
        if foreign {
            self.entities[index].edge_eight_bit = block.eight_bit;
        } else if index == 0 {
            self.head = head::read(&block, &self.options)?;
            self.utf8_header |= self.head.eight_bit;
        } else {
            self.part_header(index, &block)?;
        }
        let entity = &mut self.entities[index];
        entity.part.header = span(entity.part.header.offset, end);
        entity.part.body = span(end, end);
        let boundary = entity.describe(&block, digest)?;
        let container = entity.container;
        match container {
            Container::None => {
                self.place = Place::Leaf;
                Ok(())
            }
            Container::Multipart => self.enter(index, boundary),
            Container::Message => {
                self.enter(index, None)?;
                self.begin(index, end)
            }
        }
    }

    /// The octets above 127 of a part's header: declared by SMTPUTF8, or encoded where nobody
    /// signed them.
    fn part_header(&mut self, index: usize, block: &Block<'_>) -> Checked<()> {
        let raw = block.eight_bit && !self.options.smtputf8 && !self.options.downgrade;
        if !raw || self.head.signed || self.entities[index].part.sealed {
            head::check_octets(block, &self.options)?;
            self.utf8_header |= block.eight_bit;
            return Ok(());
        }
        head::check_utf8(block)?;
        for field in block.fields.iter().filter(|f| !block.value(f).is_ascii()) {
            let Some(encoded) = encode::field(block, field) else {
                return Err(rules::HEADER_EIGHT_BIT.at(block.name(field)));
            };
            let part = u32::try_from(index).ok();
            self.header_edits.extend(encoded.into_iter().map(|(at, octets)| Edit {
                at,
                encoding: Encoding::Identity,
                segments: vec![Segment::Literal(octets)],
                part,
            }));
            let detail = format!("part {index}, {}", String::from_utf8_lossy(block.name(field)));
            self.header_notes.push(Note { name: "part-header-encoded".into(), detail });
        }
        Ok(())
    }

    fn enter(&mut self, entity: usize, boundary: Option<Vec<u8>>) -> Checked<()> {
        if self.open.len() as u64 >= u64::from(self.options.max_depth) {
            return Err(rules::TOO_DEEP.at(format!("more than {}", self.options.max_depth)));
        }
        if let Some(new) = &boundary {
            let clashes = |old: &Vec<u8>| new.starts_with(old) || old.starts_with(new);
            if self.open.iter().filter_map(|o| o.boundary.as_ref()).any(clashes) {
                return Err(rules::BOUNDARY_PREFIX.at(new));
            }
        }
        self.open.push(Open { entity, boundary, state: State::Preamble });
        self.place = Place::Outside;
        Ok(())
    }

    fn leaf_line(&mut self, line: &Line<'_>) -> Checked<()> {
        let Some(leaf) = self.entities.last_mut() else { return Ok(()) };
        if line.eight_bit {
            leaf.part.has_eight_bit = true;
            leaf.utf8 &= line.utf8;
            let encoded =
                matches!(leaf.part.declared, DeclaredEncoding::QuotedPrintable | DeclaredEncoding::Base64);
            if encoded && !leaf.part.sealed {
                return Err(rules::ENCODED_EIGHT_BIT.at(format!("line {}", line.number)));
            }
        }
        let long = line.length > MAX_LINE as u64;
        if long {
            leaf.part.has_long_line = true;
            if leaf.is_untouchable() {
                return Err(rules::LONG_LINE_SEALED.at(format!("line {}", line.number)));
            }
        }
        if leaf.can_cut() {
            let cuts = self.cuts.take();
            if long {
                self.cut_count += cuts.len();
                if self.cut_count > MAX_CUTS {
                    return Err(rules::LONG_LINE_ENCODED.at(format!("line {}", line.number)));
                }
                leaf.cuts.extend(cuts);
            }
        }
        Ok(())
    }

    fn outside_line(&mut self, line: &Line<'_>) -> Checked<()> {
        let Some(index) = self.open.last().map(|o| o.entity) else { return Ok(()) };
        let entity = &mut self.entities[index];
        entity.edge_eight_bit |= line.eight_bit;
        if line.length > MAX_LINE as u64 {
            let sealed = entity.part.sealed || entity::seals(&entity.part.media_type);
            let rule = if sealed { rules::LONG_LINE_SEALED } else { rules::LONG_LINE_OUTSIDE };
            return Err(rule.at(format!("line {}", line.number)));
        }
        Ok(())
    }

    /// The part index.
    pub(crate) fn parts(&mut self) -> Vec<Part> {
        std::mem::take(&mut self.entities).into_iter().map(|e| e.part).collect()
    }
}

/// From `start` to `end`; empty where the end lies before the start, as for a body between an empty
/// line and the delimiter that follows it at once.
fn span(start: u64, end: u64) -> Span {
    Span { offset: start, length: end.saturating_sub(start) }
}
