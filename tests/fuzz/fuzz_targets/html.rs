//! The HTML rewriting path: one document in several transfer encodings, and octets that only claim
//! to be encoded.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use relevo_fuzz::{has_bare, longest_line, octet, pieces, read_all, seeded_bug, with_crlf};
use relevo_mailkit::model::{DeclaredEncoding, Edit, Encoding, Part, Segment, Rewrite, Span, TrackOptions};
use relevo_mailkit::splice::{TrackingUrls, Splice};
use relevo_mailkit::{recheck, transfer};
use relevo_track::Rewriter;

const HEADER: &str = "From: a@example.com\r\n";
const OVERHEAD: u32 = 40;

struct Urls;

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

/// A message that is one HTML part.
struct Message {
    octets: Vec<u8>,
    part: Part,
}

impl Message {
    fn new(declared: DeclaredEncoding, body: &[u8]) -> Self {
        let name = match declared {
            DeclaredEncoding::QuotedPrintable => "quoted-printable",
            DeclaredEncoding::Base64 => "base64",
            _ => "binary",
        };
        let field = format!("Content-Transfer-Encoding: {name}\r\n");
        let header = format!("{HEADER}{field}\r\n");
        let span = |offset: usize, length: usize| Span { offset: offset as u64, length: length as u64 };
        let part = Part {
            parent: None,
            header: span(0, header.len()),
            body: span(header.len(), body.len()),
            media_type: "text/html".to_owned(),
            charset: None,
            declared,
            encoding_field: Some(span(HEADER.len(), field.len())),
            attachment: false,
            sealed: false,
            has_eight_bit: !body.is_ascii(),
            has_long_line: false,
        };
        Self { octets: [header.as_bytes(), body].concat(), part }
    }

    fn body(&self) -> &[u8] {
        &self.octets[self.octets.len() - usize::try_from(self.part.body.length).expect("small")..]
    }

    fn rewrite_in(&self, options: &TrackOptions, chunks: &[&[u8]]) -> Rewrite {
        let mut rewriter = Rewriter::new(options.clone(), vec![self.part.clone()]);
        for part in rewriter.parts_needed() {
            rewriter.begin(part);
            chunks.iter().for_each(|chunk| rewriter.push(chunk));
            rewriter.end();
        }
        rewriter.finish()
    }

    /// The seeded bug: the first link keeps the last octet of its old URL.
    fn rewrite(&self, options: &TrackOptions, seed: u8) -> Rewrite {
        let mut rewrite = self.rewrite_in(options, &[self.body()]);
        let cut = self.rewrite_in(options, &pieces(self.body(), seed));
        assert_eq!(cut, rewrite, "cut differently (seed {seed})");
        recheck::edits(&rewrite.edits, self.octets.len() as u64, rewrite.links.len()).expect("edits");
        let is_click = |edit: &&mut Edit| matches!(edit.segments[..], [Segment::Click(_)]);
        if seeded_bug()
            && let Some(edit) = rewrite.edits.iter_mut().find(is_click)
        {
            edit.at.length -= 1;
        }
        rewrite
    }

    fn applied(&self, rewrite: &Rewrite) -> Vec<u8> {
        let source = Arc::new(self.octets.clone());
        let splice = Splice::new(Vec::new(), source, rewrite.edits.clone(), &Urls).expect("edits that pass");
        read_all(&splice, 4096).expect("reading from memory")
    }

    /// The document with the edits applied, decoded.
    fn document(&self, rewrite: &Rewrite) -> Vec<u8> {
        let out = self.applied(rewrite);
        let at = relevo_fuzz::find(&out, b"\r\n\r\n").expect("the empty line") + 4;
        let (header, body) = (String::from_utf8_lossy(&out[..at]).into_owned(), &out[at..]);
        if header.contains("quoted-printable") {
            transfer::decode_quoted_printable(body)
        } else if header.contains("base64") {
            transfer::decode_base64(body)
        } else {
            body.to_vec()
        }
    }
}

/// Every edit of a document that is written as it is replaces a URL, strips an attribute, or
/// inserts the pixel.
fn check_edits(message: &Message, rewrite: &Rewrite) {
    for edit in &rewrite.edits {
        let at = usize::try_from(edit.at.offset).expect("in range");
        let old = &message.octets[at..][..usize::try_from(edit.at.length).expect("in range")];
        assert!(edit.at.offset >= message.part.body.offset, "an edit outside of the body");
        match &edit.segments[..] {
            [Segment::Click(link)] => {
                let old = std::str::from_utf8(old).expect("a URL is UTF-8");
                let url = htmlize::unescape_attribute(old);
                let blank = [' ', '\t', '\n', '\r', '\u{c}'];
                assert_eq!(
                    url.trim_matches(blank),
                    rewrite.links[*link as usize],
                    "another URL than in the table"
                );
            }
            [] => {
                let text = String::from_utf8_lossy(old).to_ascii_lowercase();
                let known = ["track", "notrack"].iter().any(|word| text.contains(word));
                // An unquoted value may have `<` in it, but ends at `>`.
                assert!(known && !text.contains('>') || text.contains(['"', '\'']), "stripped: {text:?}");
            }
            [Segment::Literal(_), Segment::Open, Segment::Literal(_)] => assert!(old.is_empty()),
            other => panic!("an edit of another kind: {other:?}"),
        }
    }
}

/// A second pass finds the minted URLs where there were links, and no other.
fn check_again(document: &[u8], rewrite: &Rewrite, options: &TrackOptions) {
    let again = Message::new(DeclaredEncoding::Binary, document).rewrite(options, 1);
    if !seeded_bug() {
        let minted: Vec<String> = (0..rewrite.links.len()).map(|i| Urls.click(i as u32)).collect();
        assert_eq!(again.links, minted);
    }
}

/// Plain text, then encoded: the result must be the same.
fn encoded(options: &TrackOptions, seed: u8, text: &[u8]) {
    let text = with_crlf(text);
    let plain = Message::new(DeclaredEncoding::Binary, &text);
    let rewrite = plain.rewrite(options, seed);
    let expected = plain.document(&rewrite);
    let as_it_is = rewrite.edits.iter().all(|e| e.encoding == Encoding::Identity);
    if as_it_is && options.reencode.is_empty() {
        check_edits(&plain, &rewrite);
    }
    if longest_line(&text) <= 998 {
        let out = plain.applied(&rewrite);
        assert!(!has_bare(&out) && longest_line(&out) <= 998, "not fit for transport");
    }
    // A link that was opted out is one like any other once its attribute is stripped, and the pixel
    // after a document that ends within a tag completes the tag.
    if as_it_is && !options.opens && !rewrite.edits.iter().any(|e| e.segments.is_empty()) {
        check_again(&expected, &rewrite, options);
    }
    let quoted = transfer::encode_quoted_printable(&text);
    let base64 = transfer::encode_base64(&text);
    for (declared, body) in [(DeclaredEncoding::QuotedPrintable, quoted), (DeclaredEncoding::Base64, base64)]
    {
        let message = Message::new(declared, &body);
        let rewrite = message.rewrite(options, seed);
        let out = message.applied(&rewrite);
        assert!(
            !has_bare(&out) && longest_line(&out) <= 78,
            "{declared:?}: a line of {}",
            longest_line(&out)
        );
        let document = message.document(&rewrite);
        assert_eq!(String::from_utf8_lossy(&document), String::from_utf8_lossy(&expected), "{declared:?}");
    }
}

/// A body of anything: what comes out decodes to what the decoded body is rewritten to.
fn claimed(declared: DeclaredEncoding, options: &TrackOptions, seed: u8, body: &[u8]) {
    let body = with_crlf(body);
    let message = Message::new(declared, &body);
    let rewrite = message.rewrite(options, seed);
    let text = match declared {
        DeclaredEncoding::QuotedPrintable => transfer::decode_quoted_printable(&body),
        _ => transfer::decode_base64(&body),
    };
    let out = message.applied(&rewrite);
    assert!(!has_bare(&out) && !out.contains(&0));
    // A line that goes on in an edit gets a soft break.
    let limit = (longest_line(&message.octets) + 1).max(78);
    assert!(longest_line(&out) <= limit, "a line became longer");
    if rewrite.edits.is_empty() {
        assert_eq!(out, message.octets);
        return;
    }
    // What is not base64 has no text to compare with: decoders differ on where it ends.
    let folded =
        |octets: &[u8]| octets.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<u8>>();
    if declared == DeclaredEncoding::Base64 && folded(&transfer::encode_base64(&text)) != folded(&body) {
        return;
    }
    // A part without octets is not looked at; one with nothing but line ends is.
    if text.is_empty() {
        return;
    }
    let plain = Message::new(DeclaredEncoding::Binary, &text);
    let expected = plain.document(&plain.rewrite(options, seed));
    let document = message.document(&rewrite);
    assert_eq!(String::from_utf8_lossy(&document), String::from_utf8_lossy(&expected), "{declared:?}");
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let (flags, seed) = (octet(&mut rest), octet(&mut rest));
    let options = TrackOptions {
        clicks: flags & 4 == 0,
        opens: flags & 8 != 0,
        text_links: false,
        url_overhead: OVERHEAD,
        max_html: 1 << 20,
        max_links: if flags & 16 == 0 { 100 } else { 2 },
        max_link_length: if flags & 32 == 0 { 2000 } else { 30 },
        reencode: if flags & 64 == 0 { Vec::new() } else { vec![0] },
        exclude_domains: Vec::new(),
        unsubscribe_length: 0,
    };
    match flags & 3 {
        2 => claimed(DeclaredEncoding::QuotedPrintable, &options, seed, rest),
        3 => claimed(DeclaredEncoding::Base64, &options, seed, rest),
        _ => encoded(&options, seed, rest),
    }
});
