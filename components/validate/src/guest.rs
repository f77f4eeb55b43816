//! The component: types converted, nothing else.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

use std::cell::RefCell;

use relevo_mailkit::model;

use crate::Validator;

wit_bindgen::generate!({ path: "../../wit/relevo-mail", world: "validate-stage" });

use exports::relevo::mail::validate as wit;
use relevo::mail::types;

struct Component;

export!(Component);

impl wit::Guest for Component {
    type Validator = Resource;
}

struct Resource(RefCell<Option<Validator>>);

impl wit::GuestValidator for Resource {
    fn new(options: wit::Options) -> Self {
        Self(RefCell::new(Some(Validator::new(from_options(options)))))
    }

    fn push(&self, chunk: Vec<u8>) {
        if let Some(validator) = self.0.borrow_mut().as_mut() {
            validator.push(&chunk);
        }
    }

    fn finish(&self) -> Result<wit::Report, wit::Refusal> {
        // A second call has no message to report on.
        let validator = self.0.borrow_mut().take().unwrap_or_else(|| Validator::new(crate::defaults()));
        validator.finish().map(to_report).map_err(|r| wit::Refusal {
            code: r.code,
            enhanced: r.enhanced,
            rule: r.rule,
            detail: r.detail,
        })
    }
}

fn from_options(o: wit::Options) -> model::ValidateOptions {
    model::ValidateOptions {
        max_size: o.max_size,
        max_received: o.max_received,
        max_depth: o.max_depth,
        max_parts: o.max_parts,
        smtputf8: o.smtputf8,
        hostname: o.hostname,
        now: o.now,
        message_id_left: o.message_id_left,
        downgrade: o.downgrade,
        list_fields: o.list_fields,
        strict_headers: o.strict_headers,
    }
}

fn to_report(r: model::Report) -> wit::Report {
    wit::Report {
        authors: r.authors.into_iter().map(to_author).collect(),
        additions: r.additions,
        edits: r.edits.into_iter().map(to_edit).collect(),
        parts: r.parts.into_iter().map(to_part).collect(),
        fixes: r.fixes.into_iter().map(|n| types::Note { name: n.name, detail: n.detail }).collect(),
        eight_bit: r.eight_bit,
        utf8_header: r.utf8_header,
        signed: r.signed,
        message_id: r.message_id,
        from_field: r.from_field,
        subject: r.subject,
        received: r.received,
        fields: r.fields.into_iter().map(|f| wit::HeaderField { name: f.name, value: f.value }).collect(),
        fields_left_out: r.fields_left_out,
    }
}

fn to_author(a: model::Author) -> wit::Author {
    let role = match a.role {
        model::AuthorRole::From => wit::AuthorRole::From,
        model::AuthorRole::Sender => wit::AuthorRole::Sender,
        model::AuthorRole::ResentFrom => wit::AuthorRole::ResentFrom,
        model::AuthorRole::ResentSender => wit::AuthorRole::ResentSender,
    };
    wit::Author { role, address: a.address, domain: a.domain }
}

fn to_span(s: model::Span) -> types::Span {
    types::Span { offset: s.offset, length: s.length }
}

fn to_edit(e: model::Edit) -> types::Edit {
    let encoding = match e.encoding {
        model::Encoding::Identity => types::Encoding::Identity,
        model::Encoding::QuotedPrintable => types::Encoding::QuotedPrintable,
        model::Encoding::Base64 => types::Encoding::Base64,
    };
    let pieces = e.pieces.into_iter().map(|p| match p {
        model::Piece::Literal(octets) => types::Piece::Literal(octets),
        model::Piece::Source(span) => types::Piece::Source(to_span(span)),
        model::Piece::Click(link) => types::Piece::Click(link),
        model::Piece::Open => types::Piece::Open,
    });
    types::Edit { at: to_span(e.at), encoding, pieces: pieces.collect(), part: e.part }
}

fn to_part(p: model::Part) -> types::Part {
    let declared = match p.declared {
        model::DeclaredEncoding::SevenBit => types::DeclaredEncoding::SevenBit,
        model::DeclaredEncoding::EightBit => types::DeclaredEncoding::EightBit,
        model::DeclaredEncoding::Binary => types::DeclaredEncoding::Binary,
        model::DeclaredEncoding::QuotedPrintable => types::DeclaredEncoding::QuotedPrintable,
        model::DeclaredEncoding::Base64 => types::DeclaredEncoding::Base64,
        model::DeclaredEncoding::Other => types::DeclaredEncoding::Other,
    };
    types::Part {
        parent: p.parent,
        header: to_span(p.header),
        body: to_span(p.body),
        media_type: p.media_type,
        charset: p.charset,
        declared,
        encoding_field: p.encoding_field.map(to_span),
        attachment: p.attachment,
        sealed: p.sealed,
        has_eight_bit: p.has_eight_bit,
        has_long_line: p.has_long_line,
    }
}
