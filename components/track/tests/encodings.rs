//! Edits in transfer-encoded parts, and the properties that hold for all of them.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Message, html, message, options};
use proptest::prelude::*;
use relevo_mailkit::model::{DeclaredEncoding, Encoding, TrackOptions};
use relevo_mailkit::transfer::{encode_base64, encode_quoted_printable};
use relevo_mailkit::unsubscribe::PLACEHOLDER;

fn encoded(declared: DeclaredEncoding, text: &str) -> Message {
    let body = match declared {
        DeclaredEncoding::QuotedPrintable => encode_quoted_printable(text.as_bytes()),
        DeclaredEncoding::Base64 => encode_base64(text.as_bytes()),
        _ => text.as_bytes().to_vec(),
    };
    message("text/html", declared, &body)
}

const ENCODINGS: [DeclaredEncoding; 5] = [
    DeclaredEncoding::SevenBit,
    DeclaredEncoding::EightBit,
    DeclaredEncoding::Binary,
    DeclaredEncoding::QuotedPrintable,
    DeclaredEncoding::Base64,
];

#[test]
fn quoted_printable_keeps_what_is_not_edited() {
    let body = b"<p>caf=C3=A9 and a line  that is wrapped=20\r\n<a href=3D\"https://a.exam=\r\nple/?a=3Db\" class=3D\"x\">go</a> =\r\nend\r\n";
    let message = message("text/html", DeclaredEncoding::QuotedPrintable, body);
    let rewrite = message.rewrite(&options());
    assert_eq!(rewrite.links, ["https://a.example/?a=b"]);
    assert_eq!(rewrite.edits.len(), 1);
    let out = String::from_utf8(message.applied(&rewrite)).unwrap();
    assert!(out.contains("<p>caf=C3=A9 and a line  that is wrapped=20\r\n<a href=3D\"=\r\n"), "{out}");
    assert!(out.ends_with("=\r\n\" class=3D\"x\">go</a> =\r\nend\r\n"), "{out}");
}

#[test]
fn base64_keeps_the_lines_before() {
    let text = format!("{}<a href=https://a.example/>x", "0123456789".repeat(20));
    let message = encoded(DeclaredEncoding::Base64, &text);
    let rewrite = message.rewrite(&options());
    assert_eq!(rewrite.edits.len(), 1);
    // Three lines of 57 octets end before the link.
    assert_eq!(rewrite.edits[0].at.offset, message.part.body.offset + 3 * 78);
    assert_eq!(rewrite.edits[0].at.end(), message.octets.len() as u64);
    assert_eq!(message.text(&rewrite), text.replace("https://a.example/", "https://t.example/c/0"));
}

#[test]
fn a_line_that_could_grow_too_long_is_reencoded() {
    let text = format!("<p>{}<a href=https://a.example/>x</a>\r\nnext", "y".repeat(860));
    let message = encoded(DeclaredEncoding::SevenBit, &text);
    let rewrite = message.rewrite(&options());
    assert_eq!(rewrite.edits.len(), 2);
    let out = String::from_utf8(message.applied(&rewrite)).unwrap();
    assert!(
        out.starts_with("From: a@example.com\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>yyy")
    );
    assert_eq!(message.text(&rewrite), text.replace("https://a.example/", "https://t.example/c/0"));
    // `<p>`, the filling, `<a href=`, the URL for 18 octets, `>x</a>`: the last overhead that fits,
    // and the first that does not.
    let fits = 998 - (3 + 860 + 8 + 24 + 6);
    for (url_overhead, edits) in [(fits, 1), (fits + 1, 2)] {
        assert_eq!(message.rewrite(&TrackOptions { url_overhead, ..options() }).edits.len(), edits);
    }
}

#[test]
fn reencoded_parts_are_covered_whole() {
    for declared in ENCODINGS {
        let message = encoded(declared, "<a href=https://a.example/>x</a>\r\n<b>y</b>");
        let rewrite = message.rewrite(&TrackOptions { reencode: vec![0], ..options() });
        let body = rewrite.edits.last().unwrap();
        assert_eq!(body.at, message.part.body, "{declared:?}");
        assert_ne!(body.encoding, Encoding::Identity);
        assert_eq!(message.text(&rewrite), "<a href=https://t.example/c/0>x</a>\r\n<b>y</b>");
        let out = String::from_utf8(message.applied(&rewrite)).unwrap();
        assert_eq!(out.matches("Content-Transfer-Encoding").count(), 1);
        assert_eq!(
            encoded(declared, "<b>y</b>").rewrite(&TrackOptions { reencode: vec![0], ..options() }).edits,
            []
        );
    }
}

#[test]
fn mostly_non_ascii_text_becomes_base64() {
    let text = format!("<a href=https://a.example/>{}</a>", "\u{65e5}\u{672c}".repeat(100));
    let message = encoded(DeclaredEncoding::EightBit, &text);
    let rewrite = message.rewrite(&TrackOptions { reencode: vec![0], ..options() });
    assert_eq!(rewrite.edits[1].encoding, Encoding::Base64);
    assert_eq!(message.text(&rewrite), text.replace("https://a.example/", "https://t.example/c/0"));
}

#[test]
fn a_body_of_another_length_is_left_alone() {
    let mut short = html("<a href=https://a.example/>");
    short.part.body.length += 1;
    assert!(short.rewrite(&options()).edits.is_empty());
    short.part.body.length -= 2;
    assert!(short.rewrite(&options()).edits.is_empty());
}

/// Documents with links in between; `\u{1}` stands for a destination.
fn document() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "<p>",
        "text ",
        "  ",
        "\r\n",
        " \r\n",
        "\t",
        "=",
        "=3D",
        "caf\u{e9} ",
        "<a href=\"\u{1}\">x</a>",
        "<a href='\u{1}' id=y>",
        "<a href=\u{1}>",
        "<A\r\nHREF = \"\u{1}\">",
        "<!-- \"\u{2}\" -->",
        "<b title='",
        "'>",
        "<title>",
        "</title>",
        "</body>",
        "<body>",
        "0123456789012345678901234567890123456789",
    ]);
    prop::collection::vec(piece, 0..40)
        .prop_map(|pieces| pieces.concat().replace('\u{2}', "https://b.example/"))
}

const DESTINATION: &str = "https://a.example/?q=1";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The decoded text after is the decoded text before with nothing but destinations replaced.
    #[test]
    fn only_links_change(template in document(), declared in prop::sample::select(ENCODINGS.to_vec()), opens: bool, reencode: bool) {
        let text = template.replace('\u{1}', DESTINATION);
        let message = encoded(declared, &text);
        prop_assume!(!text.is_empty());
        let options = TrackOptions { opens, reencode: if reencode { vec![0] } else { vec![] }, ..options() };
        let rewrite = message.rewrite(&options);
        let after = message.text(&rewrite);
        let pixel = "<img src=\"https://t.example/o/0\" width=\"1\" height=\"1\" alt=\"\">";
        prop_assert_eq!(after.matches(pixel).count(), usize::from(opens));
        let after = after.replace(pixel, "");
        let clicks = after.matches("https://t.example/c/0").count();
        prop_assert_eq!(clicks > 0, !rewrite.links.is_empty());
        // Back again: the same document, whatever was taken for a link.
        prop_assert_eq!(after.replace("https://t.example/c/0", DESTINATION), text);
    }

    /// Every placeholder becomes the recipient's URL, wherever it stands, and nothing else changes.
    #[test]
    fn the_unsubscribe_url_is_replaced(
        template in document(),
        declared in prop::sample::select(ENCODINGS.to_vec()),
        (opens, clicks, reencode) in any::<(bool, bool, bool)>(),
    ) {
        let text = template.replace('\u{1}', PLACEHOLDER);
        let message = encoded(declared, &text);
        prop_assume!(!text.is_empty());
        let reencode = if reencode { vec![0] } else { vec![] };
        let options = TrackOptions { opens, clicks, reencode, unsubscribe_length: 200, ..options() };
        let rewrite = message.rewrite(&options);
        prop_assert!(rewrite.links.iter().all(|link| !link.contains("unsubscribe.invalid")));
        let after = message.text(&rewrite);
        let places = after.matches("https://t.example/u/0").count();
        prop_assert_eq!(places, text.matches(PLACEHOLDER).count());
        let pixel = "<img src=\"https://t.example/o/0\" width=\"1\" height=\"1\" alt=\"\">";
        let after = after.replace(pixel, "").replace("https://t.example/c/0", "https://b.example/");
        prop_assert_eq!(after.replace("https://t.example/u/0", PLACEHOLDER), text);
    }

    #[test]
    fn chunking_changes_nothing(template in document(), declared in prop::sample::select(ENCODINGS.to_vec()), size in 1usize..50) {
        let message = encoded(declared, &template.replace('\u{1}', DESTINATION));
        let options = TrackOptions { opens: true, ..options() };
        prop_assert_eq!(message.rewrite_in_chunks(&options, size), message.rewrite(&options));
    }

    /// Any octets at all: an answer, edits that can be applied, never a panic.
    #[test]
    fn hostile_input(
        body in prop::collection::vec(prop::sample::select(b"<a href=\"'https://e.x/data-notrack=\r\n\t>&#;=3D\xff\0!-body/".to_vec()), 0..300),
        declared in prop::sample::select(ENCODINGS.to_vec()),
        media_type in prop::sample::select(vec!["text/html", "text/plain"]),
        reencode: bool,
    ) {
        let message = message(media_type, declared, &body);
        let options = TrackOptions { opens: true, text_links: true, reencode: if reencode { vec![0] } else { vec![] }, ..options() };
        message.rewrite(&options);
    }
}
