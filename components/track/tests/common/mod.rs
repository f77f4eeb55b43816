//! Messages of one or more parts, the pass over them, and the result of the edits.
#![allow(
    dead_code,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "shared by several test programs"
)]

use relevo_mailkit::model::{DeclaredEncoding, Part, Rewrite, Span, TrackOptions};
use relevo_mailkit::recheck;
use relevo_mailkit::source::Source;
use relevo_mailkit::splice::{Splice, TrackingUrls};
use relevo_mailkit::transfer;
use relevo_track::Rewriter;
use std::sync::Arc;

pub fn options() -> TrackOptions {
    TrackOptions {
        clicks: true,
        opens: false,
        text_links: false,
        url_overhead: 100,
        max_html: 1 << 20,
        max_links: 100,
        max_link_length: 2000,
        reencode: Vec::new(),
        exclude_domains: Vec::new(),
        unsubscribe_length: 0,
    }
}

/// A message with one part.
pub struct Message {
    pub octets: Vec<u8>,
    pub part: Part,
}

pub fn message(media_type: &str, declared: DeclaredEncoding, body: &[u8]) -> Message {
    let field = match declared {
        DeclaredEncoding::SevenBit => "",
        DeclaredEncoding::EightBit => "Content-Transfer-Encoding: 8bit\r\n",
        DeclaredEncoding::Binary => "Content-Transfer-Encoding: binary\r\n",
        DeclaredEncoding::QuotedPrintable => "Content-Transfer-Encoding: quoted-printable\r\n",
        DeclaredEncoding::Base64 => "Content-Transfer-Encoding: base64\r\n",
        DeclaredEncoding::Other => "Content-Transfer-Encoding: x-uuencode\r\n",
    };
    let start = "From: a@example.com\r\n";
    let header = format!("{start}{field}\r\n");
    let span = |offset: usize, length: usize| Span { offset: offset as u64, length: length as u64 };
    let part = Part {
        parent: None,
        header: span(0, header.len()),
        body: span(header.len(), body.len()),
        media_type: media_type.to_owned(),
        charset: None,
        declared,
        encoding_field: (!field.is_empty()).then(|| span(start.len(), field.len())),
        attachment: false,
        sealed: false,
        has_eight_bit: !body.is_ascii(),
        has_long_line: false,
    };
    Message { octets: [header.as_bytes(), body].concat(), part }
}

pub fn html(body: &str) -> Message {
    message("text/html", DeclaredEncoding::EightBit, body.as_bytes())
}

impl Message {
    pub fn rewrite(&self, options: &TrackOptions) -> Rewrite {
        self.rewrite_in_chunks(options, usize::MAX)
    }

    pub fn rewrite_in_chunks(&self, options: &TrackOptions, size: usize) -> Rewrite {
        let mut rewriter = Rewriter::new(options.clone(), vec![self.part.clone()]);
        for part in rewriter.parts_needed() {
            rewriter.begin(part);
            let body = &self.octets[usize::try_from(self.part.body.offset).unwrap()..];
            body.chunks(size.min(1 << 16)).for_each(|chunk| rewriter.push(chunk));
            rewriter.end();
        }
        let rewrite = rewriter.finish();
        recheck::edits(&rewrite.edits, self.octets.len() as u64, rewrite.links.len()).unwrap();
        rewrite
    }

    /// The message with the edits applied.
    pub fn applied(&self, rewrite: &Rewrite) -> Vec<u8> {
        let source = Arc::new(self.octets.clone());
        let splice = Splice::new(Vec::new(), source, rewrite.edits.clone(), &Urls).unwrap();
        let mut out = vec![0; usize::try_from(splice.size()).unwrap()];
        let mut at = 0;
        while at < out.len() {
            at += splice.read_at(at as u64, &mut out[at..]).unwrap();
        }
        let mut lines = recheck::LineEnds::default();
        lines.push(&out).and_then(|()| lines.finish()).unwrap();
        assert!(out.split(|b| *b == b'\n').all(|line| line.len() <= 999), "a line over 998 octets");
        out
    }

    /// Its text with the edits applied and decoded.
    pub fn text(&self, rewrite: &Rewrite) -> String {
        let out = self.applied(rewrite);
        let at = out.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let header = String::from_utf8(out[..at].to_vec()).unwrap();
        let body = &out[at + 4..];
        let decoded = if header.contains("quoted-printable") {
            transfer::decode_quoted_printable(body)
        } else if header.contains("base64") {
            transfer::decode_base64(body)
        } else {
            body.to_vec()
        };
        String::from_utf8(decoded).unwrap()
    }
}

pub struct Urls;

impl TrackingUrls for Urls {
    fn click(&self, link: u32) -> String {
        format!("https://t.example/c/{link}")
    }

    fn open(&self) -> String {
        "https://t.example/o/0".to_owned()
    }

    fn unsubscribe(&self) -> String {
        "https://t.example/u/0".to_owned()
    }
}

/// The document after rewriting, and its links.
pub fn rewritten(body: &str) -> (String, Vec<String>) {
    let message = html(body);
    let rewrite = message.rewrite(&options());
    (message.text(&rewrite), rewrite.links)
}
