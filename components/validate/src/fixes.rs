//! Edits that make a message fit for transport (RFC 6409 section 8, RFC 2045 section 6, RFC 6152).

use relevo_mailkit::model::{DeclaredEncoding, Edit, Encoding, Note, Segment, Span};

use crate::entity::{Container, Entity};
use crate::head::Head;
use crate::rules::{self, Checked};

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Fixes {
    pub(crate) edits: Vec<Edit>,
    pub(crate) notes: Vec<Note>,
    /// Fields for the top of the message.
    pub(crate) added_headers: Vec<u8>,
    /// Octets above 127 in a body afterwards.
    pub(crate) eight_bit: bool,
    mime: bool,
}

/// At intake: declares what is 8-bit, re-encodes over-long lines.
pub(crate) fn submission(entities: &[Entity], head: &Head) -> Fixes {
    let mut fixes = Fixes::default();
    // A container is 8-bit when something in it is (RFC 2045 section 6.4): children come after
    // their parents.
    let mut eight_bit = vec![false; entities.len()];
    for (index, entity) in entities.iter().enumerate().rev() {
        let inside = eight_bit[index] || entity.edge_eight_bit;
        eight_bit[index] = match entity.container {
            Container::None => fixes.leaf(index, entity) || inside,
            Container::Multipart | Container::Message => {
                fixes.declare(index, entity, inside, false);
                inside
            }
        };
        let inside = eight_bit[index];
        if let Some(parent) = entity.part.parent.and_then(|p| eight_bit.get_mut(p as usize)) {
            *parent |= inside;
        }
    }
    fixes.notes.reverse();
    fixes.eight_bit = eight_bit.first().copied().unwrap_or_default();
    fixes.finish(head)
}

/// For a next hop without 8BITMIME: no octet above 127 remains.
///
/// # Errors
/// Something 8-bit that must not be changed.
pub(crate) fn downgrade(entities: &[Entity], head: &Head) -> Checked<Fixes> {
    let mut fixes = Fixes::default();
    let eight_bit = |e: &Entity| e.part.has_eight_bit || e.edge_eight_bit || e.binary;
    if !entities.iter().any(eight_bit) {
        return Ok(fixes);
    }
    if head.signed {
        return Err(rules::CANNOT_DOWNGRADE.at("DKIM-Signature"));
    }
    for (index, entity) in entities.iter().enumerate() {
        if eight_bit(entity) {
            let fixed =
                entity.container != Container::None || entity.is_untouchable() || !entity.is_identity();
            if fixed || entity.edge_eight_bit {
                return Err(rules::CANNOT_DOWNGRADE.at(&entity.part.media_type));
            }
            fixes.reencode(index, entity, "downgraded");
        } else if !entity.part.sealed
            && matches!(entity.part.declared, DeclaredEncoding::EightBit | DeclaredEncoding::Binary)
        {
            fixes.set_encoding(index, entity, "7bit", false);
        }
    }
    Ok(fixes.finish(head))
}

impl Fixes {
    /// Mends a leaf; whether it is 8-bit afterwards.
    fn leaf(&mut self, index: usize, entity: &Entity) -> bool {
        let part = &entity.part;
        if part.sealed || !entity.is_identity() {
            self.cut(index, entity);
            return part.has_eight_bit;
        }
        if entity.binary || part.has_long_line {
            let note = if entity.binary { "binary-encoded" } else { "lines-reencoded" };
            self.reencode(index, entity, note);
            return false;
        }
        self.declare(index, entity, part.has_eight_bit, part.has_eight_bit && self.needs_charset(entity));
        part.has_eight_bit
    }

    fn cut(&mut self, index: usize, entity: &Entity) {
        let literal: &[u8] = match entity.part.declared {
            DeclaredEncoding::QuotedPrintable => b"=\r\n",
            _ => b"\r\n",
        };
        for &offset in &entity.cuts {
            self.edit(index, Span { offset, length: 0 }, literal.to_vec());
        }
        if !entity.cuts.is_empty() {
            self.note("lines-folded", index, entity);
        }
    }

    /// Text stays legible; anything else may have octets that are not text at all.
    fn reencode(&mut self, index: usize, entity: &Entity, note: &str) {
        let text = entity.part.media_type.starts_with("text/") && !entity.binary;
        let (encoding, name) =
            if text { (Encoding::QuotedPrintable, "quoted-printable") } else { (Encoding::Base64, "base64") };
        self.set_encoding(index, entity, name, entity.part.has_eight_bit && self.needs_charset(entity));
        let at = entity.part.body;
        self.edits.push(Edit {
            at,
            encoding,
            segments: vec![Segment::Source(at)],
            part: u32::try_from(index).ok(),
        });
        self.note(note, index, entity);
    }

    /// Makes the declared encoding true for a body that is written as it is.
    fn declare(&mut self, index: usize, entity: &Entity, eight_bit: bool, charset: bool) {
        if entity.part.sealed {
            return;
        }
        match (entity.part.declared, eight_bit) {
            (DeclaredEncoding::SevenBit, true) => {
                self.set_encoding(index, entity, "8bit", charset);
                self.note("eight-bit-declared", index, entity);
            }
            // What is not lines was encoded: hops need no BINARYMIME (RFC 3030).
            (DeclaredEncoding::Binary, _) => {
                self.set_encoding(index, entity, if eight_bit { "8bit" } else { "7bit" }, charset);
                self.note("binary-relabelled", index, entity);
            }
            _ => {}
        }
    }

    fn needs_charset(&self, entity: &Entity) -> bool {
        entity.part.charset.is_none()
            && match entity.part.media_type.as_str() {
                "text/plain" => true,
                // HTML may say it itself; only UTF-8 is certain.
                kind => kind.starts_with("text/") && entity.utf8,
            }
    }

    /// Writes the Content-Transfer-Encoding, and a charset where text above 127 has none (RFC 2045
    /// section 5.2).
    fn set_encoding(&mut self, index: usize, entity: &Entity, encoding: &str, charset: bool) {
        self.mime = true;
        // RFC 1428 section 3.
        let name = if entity.utf8 { "utf-8" } else { "unknown-8bit" };
        let mut field = format!("Content-Transfer-Encoding: {encoding}\r\n");
        if charset && !entity.content_type {
            let content_type = format!("Content-Type: text/plain; charset={name}\r\n");
            if index == 0 {
                self.added_headers.extend_from_slice(content_type.as_bytes());
            } else if entity.part.encoding_field.is_none() {
                field.insert_str(0, &content_type);
            }
        } else if let (true, Some(offset)) = (charset, entity.parameter_at) {
            self.edit(index, Span { offset, length: 0 }, format!(";\r\n charset={name}").into_bytes());
        }
        let before_empty_line = Span { offset: entity.part.header.end().saturating_sub(2), length: 0 };
        self.edit(index, entity.part.encoding_field.unwrap_or(before_empty_line), field.into_bytes());
    }

    fn edit(&mut self, index: usize, at: Span, literal: Vec<u8>) {
        self.edits.push(Edit {
            at,
            encoding: Encoding::Identity,
            segments: vec![Segment::Literal(literal)],
            part: u32::try_from(index).ok(),
        });
    }

    fn note(&mut self, name: &str, index: usize, entity: &Entity) {
        self.notes
            .push(Note { name: name.into(), detail: format!("part {index}, {}", entity.part.media_type) });
    }

    fn finish(mut self, head: &Head) -> Self {
        if !head.mime_version && (self.mime || head.mime_fields) {
            self.added_headers.splice(0..0, *b"MIME-Version: 1.0\r\n");
            self.notes.push(Note { name: "mime-version-added".into(), detail: "1.0".into() });
        }
        self
    }
}
