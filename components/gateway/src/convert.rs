//! Between the imported types and the plain ones. Nothing is judged here.

use relevo_mailkit::model;
use relevo_mailkit::policy::HeaderField;

use crate::guest::bindings::relevo::mail::{dkim, template, track, types, validate};

fn span(span: types::Span) -> model::Span {
    model::Span { offset: span.offset, length: span.length }
}

fn to_span(span: model::Span) -> types::Span {
    types::Span { offset: span.offset, length: span.length }
}

fn edit(edit: types::Edit) -> model::Edit {
    let piece = |piece| match piece {
        types::Piece::Literal(octets) => model::Piece::Literal(octets),
        types::Piece::Source(at) => model::Piece::Source(span(at)),
        types::Piece::Click(link) => model::Piece::Click(link),
        types::Piece::Open => model::Piece::Open,
    };
    model::Edit {
        at: span(edit.at),
        encoding: match edit.encoding {
            types::Encoding::Identity => model::Encoding::Identity,
            types::Encoding::QuotedPrintable => model::Encoding::QuotedPrintable,
            types::Encoding::Base64 => model::Encoding::Base64,
        },
        pieces: edit.pieces.into_iter().map(piece).collect(),
        part: edit.part,
    }
}

fn note(note: types::Note) -> model::Note {
    model::Note { name: note.name, detail: note.detail }
}

fn part(part: types::Part) -> model::Part {
    model::Part {
        parent: part.parent,
        header: span(part.header),
        body: span(part.body),
        media_type: part.media_type,
        charset: part.charset,
        declared: match part.declared {
            types::DeclaredEncoding::SevenBit => model::DeclaredEncoding::SevenBit,
            types::DeclaredEncoding::EightBit => model::DeclaredEncoding::EightBit,
            types::DeclaredEncoding::Binary => model::DeclaredEncoding::Binary,
            types::DeclaredEncoding::QuotedPrintable => model::DeclaredEncoding::QuotedPrintable,
            types::DeclaredEncoding::Base64 => model::DeclaredEncoding::Base64,
            types::DeclaredEncoding::Other => model::DeclaredEncoding::Other,
        },
        encoding_field: part.encoding_field.map(span),
        attachment: part.attachment,
        sealed: part.sealed,
        has_eight_bit: part.has_eight_bit,
        has_long_line: part.has_long_line,
    }
}

pub(crate) fn to_part(part: &model::Part) -> types::Part {
    types::Part {
        parent: part.parent,
        header: to_span(part.header),
        body: to_span(part.body),
        media_type: part.media_type.clone(),
        charset: part.charset.clone(),
        declared: match part.declared {
            model::DeclaredEncoding::SevenBit => types::DeclaredEncoding::SevenBit,
            model::DeclaredEncoding::EightBit => types::DeclaredEncoding::EightBit,
            model::DeclaredEncoding::Binary => types::DeclaredEncoding::Binary,
            model::DeclaredEncoding::QuotedPrintable => types::DeclaredEncoding::QuotedPrintable,
            model::DeclaredEncoding::Base64 => types::DeclaredEncoding::Base64,
            model::DeclaredEncoding::Other => types::DeclaredEncoding::Other,
        },
        encoding_field: part.encoding_field.map(to_span),
        attachment: part.attachment,
        sealed: part.sealed,
        has_eight_bit: part.has_eight_bit,
        has_long_line: part.has_long_line,
    }
}

pub(crate) fn to_validate_options(options: model::ValidateOptions) -> validate::Options {
    validate::Options {
        max_size: options.max_size,
        max_received: options.max_received,
        max_depth: options.max_depth,
        max_parts: options.max_parts,
        smtputf8: options.smtputf8,
        hostname: options.hostname,
        now: options.now,
        message_id_left: options.message_id_left,
        downgrade: options.downgrade,
        list_fields: options.list_fields,
        strict_headers: options.strict_headers,
    }
}

pub(crate) fn report(report: validate::Report) -> model::Report {
    let author = |author: validate::Author| model::Author {
        role: match author.role {
            validate::AuthorRole::From => model::AuthorRole::From,
            validate::AuthorRole::Sender => model::AuthorRole::Sender,
            validate::AuthorRole::ResentFrom => model::AuthorRole::ResentFrom,
            validate::AuthorRole::ResentSender => model::AuthorRole::ResentSender,
        },
        address: author.address,
        domain: author.domain,
    };
    model::Report {
        authors: report.authors.into_iter().map(author).collect(),
        additions: report.additions,
        edits: report.edits.into_iter().map(edit).collect(),
        parts: report.parts.into_iter().map(part).collect(),
        fixes: report.fixes.into_iter().map(note).collect(),
        eight_bit: report.eight_bit,
        utf8_header: report.utf8_header,
        signed: report.signed,
        message_id: report.message_id,
        from_field: report.from_field,
        subject: report.subject,
        received: report.received,
        fields: report.fields.into_iter().map(|f| HeaderField { name: f.name, value: f.value }).collect(),
        fields_left_out: report.fields_left_out,
    }
}

pub(crate) fn to_track_options(options: model::TrackOptions) -> track::Options {
    track::Options {
        clicks: options.clicks,
        opens: options.opens,
        text_links: options.text_links,
        url_overhead: options.url_overhead,
        max_html: options.max_html,
        max_links: options.max_links,
        max_link_length: options.max_link_length,
        reencode: options.reencode,
    }
}

pub(crate) fn rewrite(rewrite: track::Rewrite) -> model::Rewrite {
    model::Rewrite {
        edits: rewrite.edits.into_iter().map(edit).collect(),
        links: rewrite.links,
        notes: rewrite.notes.into_iter().map(note).collect(),
    }
}

pub(crate) fn to_request(request: model::SignatureRequest) -> dkim::Request {
    let canonicalization = |c| match c {
        model::Canonicalization::Relaxed => dkim::Canonicalization::Relaxed,
        model::Canonicalization::Simple => dkim::Canonicalization::Simple,
    };
    dkim::Request {
        domain: request.domain,
        selector: request.selector,
        algorithm: match request.algorithm {
            model::Algorithm::RsaSha256 => dkim::Algorithm::RsaSha256,
            model::Algorithm::Ed25519Sha256 => dkim::Algorithm::Ed25519Sha256,
        },
        header_canonicalization: canonicalization(request.header_canonicalization),
        body_canonicalization: canonicalization(request.body_canonicalization),
        timestamp: request.timestamp,
        expiration: request.expiration,
    }
}

pub(crate) fn to_envelope(envelope: model::MessageEnvelope) -> template::Envelope {
    let mailbox =
        |mailbox: model::Mailbox| template::Mailbox { name: mailbox.name, address: mailbox.address };
    let mailboxes = |list: Vec<model::Mailbox>| list.into_iter().map(mailbox).collect();
    let attachment = |file: model::Attachment| template::Attachment {
        file_name: file.file_name,
        media_type: file.media_type,
        content_id: file.content_id,
        content: file.content,
    };
    template::Envelope {
        from: mailbox(envelope.from),
        sender: envelope.sender.map(mailbox),
        to: mailboxes(envelope.to),
        cc: mailboxes(envelope.cc),
        reply_to: mailboxes(envelope.reply_to),
        fields: envelope
            .fields
            .into_iter()
            .map(|field| template::ExtraField { name: field.name, value: field.value })
            .collect(),
        attachments: envelope.attachments.into_iter().map(attachment).collect(),
        date: envelope.date,
        message_id: envelope.message_id,
        boundary_seed: envelope.boundary_seed,
    }
}
