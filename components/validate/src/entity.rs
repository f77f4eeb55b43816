//! One entity of the MIME structure: its fields, and what is found in its body.

use relevo_mailkit::model::{DeclaredEncoding, Part, Span};

use crate::header::{Block, Field, Name};
use crate::media::{self, Boundary, ContentType};
use crate::rules::{self, Checked};

/// Whether an entity holds others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    None,
    Multipart,
    Message,
}

/// A part, and what is needed to mend it.
#[derive(Debug)]
pub(crate) struct Entity {
    pub(crate) part: Part,
    pub(crate) container: Container,
    /// Inside message/rfc822: carried, not judged.
    pub(crate) foreign: bool,
    /// The octets above 127 of a leaf are UTF-8.
    pub(crate) utf8: bool,
    /// Octets above 127 before the first or after the last part, or in the header of a carried
    /// message.
    pub(crate) edge_eight_bit: bool,
    /// It has octets that are no lines: a bare CR or LF, NUL, no CRLF at the end.
    pub(crate) binary: bool,
    /// Where over-long lines of an encoded leaf can be broken.
    pub(crate) cuts: Vec<u64>,
    pub(crate) content_type: bool,
    /// Where a parameter can be added to the Content-Type.
    pub(crate) parameter_at: Option<u64>,
}

impl Entity {
    pub(crate) fn new(parent: Option<usize>, offset: u64, sealed: bool, foreign: bool) -> Self {
        let nothing = Span { offset, length: 0 };
        let part = Part {
            parent: parent.and_then(|p| u32::try_from(p).ok()),
            header: nothing,
            body: nothing,
            media_type: "text/plain".into(),
            charset: None,
            declared: DeclaredEncoding::SevenBit,
            encoding_field: None,
            attachment: false,
            sealed,
            has_eight_bit: false,
            has_long_line: false,
        };
        Self {
            part,
            container: Container::None,
            foreign,
            utf8: true,
            edge_eight_bit: false,
            binary: false,
            cuts: Vec::new(),
            content_type: false,
            parameter_at: None,
        }
    }

    /// Reads the Content fields of the header. Gives the boundary of a multipart.
    pub(crate) fn describe(&mut self, block: &Block<'_>, in_digest: bool) -> Checked<Option<Vec<u8>>> {
        let fields = Fields::find(block, self.foreign)?;
        // RFC 2046 section 5.1.5.
        let default = if in_digest { "message/rfc822" } else { "text/plain" };
        let mut found = ContentType { media_type: default.into(), ..ContentType::default() };
        if let Some(field) = fields.content_type {
            match media::content_type(block.value(&field)) {
                Ok(read) => found = read,
                Err(_) if self.foreign => found.media_type = "application/octet-stream".into(),
                Err(_) => return Err(rules::CONTENT_TYPE_SYNTAX.at(trimmed(block, &field))),
            }
            self.content_type = true;
            self.parameter_at = found.appendable.then(|| block.span(&field).end() - 2);
        }
        if let Some(field) = fields.encoding {
            self.part.encoding_field = Some(block.span(&field));
            self.part.declared = match media::transfer_encoding(block.value(&field)) {
                Ok(declared) => declared,
                Err(_) if self.foreign => DeclaredEncoding::Other,
                Err(_) => return Err(rules::ENCODING_SYNTAX.at(trimmed(block, &field))),
            };
        }
        let (attachment, named) =
            fields.disposition.map_or((false, false), |f| media::disposition(block.value(&f)));
        self.part.attachment =
            attachment || ((named || found.named) && !found.media_type.starts_with("text/"));
        self.part.charset = found.charset;
        self.part.media_type = found.media_type;
        self.contain(found.boundary)
    }

    /// Decides whether the entity is a container.
    fn contain(&mut self, boundary: Boundary) -> Checked<Option<Vec<u8>>> {
        let identity = self.is_identity();
        let kind = self.part.media_type.as_str();
        if kind.starts_with("multipart/") {
            let given = match boundary {
                _ if !identity => Err(rules::MULTIPART_ENCODED),
                Boundary::Given(boundary) => Ok(boundary),
                Boundary::None => Err(rules::BOUNDARY_MISSING),
                Boundary::Unusable => Err(rules::BOUNDARY_SYNTAX),
            };
            return match given {
                Ok(boundary) => {
                    self.container = Container::Multipart;
                    Ok(Some(boundary))
                }
                // A carried message stays a lump.
                Err(_) if self.foreign => Ok(None),
                Err(rule) => Err(rule.at(kind)),
            };
        }
        if matches!(kind, "message/rfc822" | "message/global") && identity {
            self.container = Container::Message;
        } else if seals(kind) {
            self.part.sealed = true;
        }
        Ok(None)
    }

    /// The body is written as it is.
    pub(crate) fn is_identity(&self) -> bool {
        matches!(
            self.part.declared,
            DeclaredEncoding::SevenBit | DeclaredEncoding::EightBit | DeclaredEncoding::Binary
        )
    }

    /// The body may have any octets, and can be encoded.
    pub(crate) fn may_be_binary(&self) -> bool {
        self.part.declared == DeclaredEncoding::Binary && !self.is_untouchable()
    }

    /// Over-long lines can be broken where they are.
    pub(crate) fn can_cut(&self) -> bool {
        !self.is_untouchable()
            && matches!(self.part.declared, DeclaredEncoding::QuotedPrintable | DeclaredEncoding::Base64)
    }

    /// The body cannot be written in another way: sealed, in an encoding we do not know, or a kind
    /// of message, which has to be readable without decoding (RFC 2046 section 5.2).
    pub(crate) fn is_untouchable(&self) -> bool {
        self.part.sealed
            || self.part.declared == DeclaredEncoding::Other
            || self.part.media_type.starts_with("message/")
    }
}

/// Types whose content must not change: it is signed, encrypted, or somebody else's message.
pub(crate) fn seals(media_type: &str) -> bool {
    matches!(
        media_type,
        "multipart/signed"
            | "multipart/encrypted"
            | "application/pkcs7-mime"
            | "application/x-pkcs7-mime"
            | "message/rfc822"
            | "message/global"
    )
}

fn trimmed<'a>(block: &Block<'a>, field: &Field) -> &'a [u8] {
    block.value(field).trim_ascii()
}

#[derive(Default)]
struct Fields {
    content_type: Option<Field>,
    encoding: Option<Field>,
    disposition: Option<Field>,
}

impl Fields {
    /// Two of a kind would let two readers see two messages.
    fn find(block: &Block<'_>, foreign: bool) -> Checked<Self> {
        let mut fields = Self::default();
        for field in &block.fields {
            let slot = match field.name {
                Name::ContentType => &mut fields.content_type,
                Name::ContentTransferEncoding => &mut fields.encoding,
                Name::ContentDisposition => &mut fields.disposition,
                _ => continue,
            };
            if slot.is_some() && !foreign {
                return Err(rules::DUPLICATE_FIELD.at(block.name(field)));
            }
            slot.get_or_insert(*field);
        }
        Ok(fields)
    }
}
