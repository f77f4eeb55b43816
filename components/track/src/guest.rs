//! The component: converts types between WIT and the library, nothing else.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

use relevo_mailkit::model;
use std::cell::RefCell;

wit_bindgen::generate!({
    path: "../../wit/relevo-mail",
    world: "track-stage",
});

use exports::relevo::mail::track;
use relevo::mail::types;

struct Component;

export!(Component);

impl track::Guest for Component {
    type Rewriter = Rewriter;
}

/// Empty after `finish`: what is called then has no effect.
struct Rewriter(RefCell<Option<crate::Rewriter>>);

impl track::GuestRewriter for Rewriter {
    fn new(options: track::Options, parts: Vec<types::Part>) -> Self {
        let parts = parts.into_iter().map(part).collect();
        Self(RefCell::new(Some(crate::Rewriter::new(self::options(options), parts))))
    }

    fn wanted(&self) -> Vec<u32> {
        self.0.borrow().as_ref().map(crate::Rewriter::wanted).unwrap_or_default()
    }

    fn begin(&self, part: u32) {
        if let Some(rewriter) = self.0.borrow_mut().as_mut() {
            rewriter.begin(part);
        }
    }

    fn push(&self, chunk: Vec<u8>) {
        if let Some(rewriter) = self.0.borrow_mut().as_mut() {
            rewriter.push(&chunk);
        }
    }

    fn end(&self) {
        if let Some(rewriter) = self.0.borrow_mut().as_mut() {
            rewriter.end();
        }
    }

    fn finish(&self) -> track::Rewrite {
        let empty = || model::Rewrite { edits: Vec::new(), links: Vec::new(), notes: Vec::new() };
        let rewrite = self.0.take().map_or_else(empty, crate::Rewriter::finish);
        track::Rewrite {
            edits: rewrite.edits.into_iter().map(edit).collect(),
            links: rewrite.links,
            notes: rewrite
                .notes
                .into_iter()
                .map(|n| types::Note { name: n.name, detail: n.detail })
                .collect(),
        }
    }
}

fn options(o: track::Options) -> model::TrackOptions {
    model::TrackOptions {
        clicks: o.clicks,
        opens: o.opens,
        text_links: o.text_links,
        url_overhead: o.url_overhead,
        max_html: o.max_html,
        max_links: o.max_links,
        max_link_length: o.max_link_length,
        reencode: o.reencode,
    }
}

fn part(p: types::Part) -> model::Part {
    model::Part {
        parent: p.parent,
        header: span_in(p.header),
        body: span_in(p.body),
        media_type: p.media_type,
        charset: p.charset,
        declared: match p.declared {
            types::DeclaredEncoding::SevenBit => model::DeclaredEncoding::SevenBit,
            types::DeclaredEncoding::EightBit => model::DeclaredEncoding::EightBit,
            types::DeclaredEncoding::Binary => model::DeclaredEncoding::Binary,
            types::DeclaredEncoding::QuotedPrintable => model::DeclaredEncoding::QuotedPrintable,
            types::DeclaredEncoding::Base64 => model::DeclaredEncoding::Base64,
            types::DeclaredEncoding::Other => model::DeclaredEncoding::Other,
        },
        encoding_field: p.encoding_field.map(span_in),
        attachment: p.attachment,
        sealed: p.sealed,
        has_eight_bit: p.has_eight_bit,
        has_long_line: p.has_long_line,
    }
}

fn span_in(s: types::Span) -> model::Span {
    model::Span { offset: s.offset, length: s.length }
}

fn span_out(s: model::Span) -> types::Span {
    types::Span { offset: s.offset, length: s.length }
}

fn edit(e: model::Edit) -> types::Edit {
    types::Edit {
        at: span_out(e.at),
        encoding: match e.encoding {
            model::Encoding::Identity => types::Encoding::Identity,
            model::Encoding::QuotedPrintable => types::Encoding::QuotedPrintable,
            model::Encoding::Base64 => types::Encoding::Base64,
        },
        pieces: e.pieces.into_iter().map(piece).collect(),
        part: e.part,
    }
}

fn piece(p: model::Piece) -> types::Piece {
    match p {
        model::Piece::Literal(octets) => types::Piece::Literal(octets),
        model::Piece::Source(span) => types::Piece::Source(span_out(span)),
        model::Piece::Click(link) => types::Piece::Click(link),
        model::Piece::Open => types::Piece::Open,
    }
}
