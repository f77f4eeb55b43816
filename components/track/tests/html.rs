//! What is a link, and what is not.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{html, message, options, rewritten};
use relevo_mailkit::model::{DeclaredEncoding, TrackOptions};

#[track_caller]
fn becomes(input: &str, output: &str, links: &[&str]) {
    let (text, seen) = rewritten(input);
    assert_eq!(text, output);
    assert_eq!(seen, links);
}

#[track_caller]
fn untouched(input: &str) {
    becomes(input, input, &[]);
}

#[test]
fn every_way_to_write_an_attribute() {
    for (open, close) in [
        ("href=\"", "\""),
        ("href='", "'"),
        ("HREF = \"", "\""),
        ("hReF\r\n=\t'", "'"),
        ("title=a href=", ""),
    ] {
        becomes(
            &format!("<p>x<a {open}https://example.com/{close}>y</a>"),
            &format!("<p>x<a {open}https://t.example/c/0{close}>y</a>"),
            &["https://example.com/"],
        );
    }
    becomes("<AREA HREF=http://example.com/>", "<AREA HREF=https://t.example/c/0>", &["http://example.com/"]);
}

#[test]
fn punctuation_in_urls() {
    becomes(
        "<a href=\"https://example.com/@a,b!c;d?e=(f)&amp;g=%20'h'\">",
        "<a href=\"https://t.example/c/0\">",
        &["https://example.com/@a,b!c;d?e=(f)&g=%20'h'"],
    );
}

#[test]
fn character_references_are_decoded_and_whitespace_trimmed() {
    becomes(
        "<a href=\"\r\n https&#58;//example.com/?a=1&amp;b=2&copy=3&#x26;c \">",
        "<a href=\"https://t.example/c/0\">",
        &["https://example.com/?a=1&b=2&copy=3&c"],
    );
}

#[test]
fn one_link_many_places() {
    becomes(
        "<a href=https://a.example/>1</a><a href=https://b.example/>2</a><a href='https://a.example/'>3</a>",
        "<a href=https://t.example/c/0>1</a><a href=https://t.example/c/1>2</a><a href='https://t.example/c/0'>3</a>",
        &["https://a.example/", "https://b.example/"],
    );
}

#[test]
fn only_the_first_href_counts() {
    becomes(
        "<a href=https://a.example/ href=https://b.example/>",
        "<a href=https://t.example/c/0 href=https://b.example/>",
        &["https://a.example/"],
    );
    untouched("<a href='#x' href=https://b.example/>");
}

#[test]
fn other_links_stay() {
    for url in [
        "mailto:a@example.com",
        "tel:+1",
        "sms:+1",
        "cid:a",
        "data:,x",
        "javascript:x()",
        "#top",
        "/a",
        "a.html",
        "//a.example/",
        "",
        "{{ url }}",
        "https://a.example/{{ id }}",
        "https://a.example/\u{1}",
        "https://",
    ] {
        untouched(&format!("<a href=\"{url}\">x</a>"));
    }
    untouched("<a href>x</a><a>y</a>");
}

#[test]
fn other_elements_stay() {
    untouched(
        "<link href=https://a.example/><img src=https://a.example/><form action=https://a.example/><svg><use href=https://a.example/></svg>",
    );
    untouched("<base href=https://a.example/><a href=b>x</a>");
    untouched("<abbr href=https://a.example/><a data-href=https://a.example/>");
}

#[test]
fn text_that_looks_like_a_link_stays() {
    let link = "<a href=\"https://a.example/\">x</a>";
    for element in
        ["script", "style", "textarea", "title", "iframe", "xmp", "noembed", "noframes", "noscript"]
    {
        untouched(&format!("<{element}>{link}</{element}>"));
    }
    untouched(&format!("<!-- {link} -->"));
    untouched(&format!("<!--[if mso]>{link}<![endif]-->"));
    untouched("<p title='<a href=https://a.example/>'>https://a.example/</p>");
    untouched(&format!("<plaintext>{link}"));
}

#[test]
fn downlevel_revealed_conditionals_are_markup() {
    becomes(
        "<![if !mso]><a href=http://a.example>x</a><![endif]>",
        "<![if !mso]><a href=https://t.example/c/0>x</a><![endif]>",
        &["http://a.example"],
    );
}

#[test]
fn broken_markup() {
    untouched("<a href=\"https://a.example/");
    untouched("<a href=\"https://a.example/\" ");
    untouched("< a href=https://a.example/>");
    becomes("<a href=https://a.example/<b>x", "<a href=https://t.example/c/0>x", &["https://a.example/<b"]);
    becomes("</p><a/href=https://a.example/>", "</p><a/href=https://t.example/c/0>", &["https://a.example/"]);
}

#[test]
fn opt_outs_are_honoured_and_stripped() {
    for attribute in [
        "clicktracking=off",
        "clicktracking=\"OFF\"",
        "ses:no-track",
        "ses:no-track=\"\"",
        "disable-tracking=true",
        "data-msys-clicktrack='0'",
        "mautic:disable-tracking=\"true\"",
        "mautic:disable-tracking",
        "data-pm-no-track",
        "data-notrack",
        "DATA-NOTRACK = ''",
    ] {
        becomes(&format!("<a {attribute} href=https://a.example/>"), "<a href=https://a.example/>", &[]);
        becomes(
            &format!("<a href='https://a.example/' {attribute}>x"),
            "<a href='https://a.example/'>x",
            &[],
        );
        becomes(
            &format!("<a href=mailto:a@example.com {attribute} id=x>x"),
            "<a href=mailto:a@example.com id=x>x",
            &[],
        );
    }
}

#[test]
fn other_values_do_not_opt_out() {
    for attribute in [
        "clicktracking=on",
        "disable-tracking=false",
        "data-msys-clicktrack=1",
        "mautic:disable-tracking=false",
    ] {
        becomes(
            &format!("<a {attribute} href=https://a.example/>"),
            &format!("<a {attribute} href=https://t.example/c/0>"),
            &["https://a.example/"],
        );
    }
}

#[test]
fn stripping_keeps_neighbours_apart() {
    becomes("<a href=https://a.example/ data-notrack/>", "<a href=https://a.example/ />", &[]);
    becomes("<a href=\"https://a.example/\"data-notrack id=x>", "<a href=\"https://a.example/\" id=x>", &[]);
    becomes(
        "<a data-notrack data-pm-no-track ses:no-track href=https://a.example/>",
        "<a href=https://a.example/>",
        &[],
    );
    becomes("<a href=https://a.example/ data-notrack=>x", "<a href=https://a.example/>x", &[]);
}

#[test]
fn opens() {
    let pixel = "<img src=\"https://t.example/o/0\" width=\"1\" height=\"1\" alt=\"\">";
    let options = TrackOptions { opens: true, clicks: false, ..options() };
    for (before, after) in [
        ("<html><body><p>x</p>", "</body></html>"),
        ("<BODY>x<a href=https://a.example/>y</a>", "</BODY >\r\n"),
        ("<p>x</p>\r\n", ""),
        ("x", ""),
        ("<body><!-- </body> --><script>'</body>'</script>", "</body>"),
        ("<p></body></p>", ""),
    ] {
        let message = html(&format!("{before}{after}"));
        let rewrite = message.rewrite(&options);
        assert_eq!(message.text(&rewrite), format!("{before}{pixel}{after}"));
        assert!(rewrite.links.is_empty());
    }
    let empty = html("");
    assert!(empty.rewrite(&options).edits.is_empty());
}

#[test]
fn limits() {
    let body = "<a href=https://a.example/><a href=https://b.example/><a href=https://c.example/><a href=https://a.example/>";
    let message = html(body);
    let rewrite = message.rewrite(&TrackOptions { max_links: 2, ..options() });
    assert_eq!(rewrite.links.len(), 2);
    assert_eq!(rewrite.edits.len(), 3);
    assert_eq!(
        (rewrite.notes[0].name.as_str(), rewrite.notes[0].detail.as_str()),
        ("too-many-links", "1 left alone")
    );

    let rewrite = message.rewrite(&TrackOptions { max_link_length: 17, ..options() });
    assert!(rewrite.edits.is_empty());
    assert_eq!(rewrite.notes[0].name, "link-too-long");

    let rewrite = message.rewrite(&TrackOptions { max_html: body.len() as u64 - 1, ..options() });
    assert!(rewrite.edits.is_empty());
    assert_eq!(rewrite.notes[0].name, "html-too-large");
    assert!(message.rewrite(&TrackOptions { clicks: false, ..options() }).edits.is_empty());
}

/// The tokenizer's stack grows with the depth: the document is left alone instead.
#[test]
fn depth_is_bounded() {
    let body = format!("{}<a href=https://a.example/>", "<b>".repeat(600_000));
    let message = html(&body);
    let rewrite = message.rewrite(&TrackOptions { max_html: 1 << 22, ..options() });
    assert!(rewrite.edits.is_empty());
    assert_eq!(rewrite.notes[0].name, "html-too-complex");
}

#[test]
fn charsets() {
    let body = b"<a href=https://a.example/>\xe9</a><a href=https://b.example/\xe9>".as_slice();
    for (charset, links) in [
        ("iso-8859-1", 1),
        ("windows-1252", 1),
        ("koi8-r", 1),
        ("utf-8", 1),
        ("us-ascii", 1),
        ("shift_jis", 0),
        ("gb18030", 0),
        ("gbk", 0),
        ("big5", 0),
        ("utf-16", 0),
        ("utf-7", 0),
        ("iso-2022-jp", 0),
        ("euc-kr", 0),
        ("unknown", 0),
    ] {
        let mut message = message("text/html", DeclaredEncoding::EightBit, body);
        message.part.charset = Some(charset.to_owned());
        let rewrite = message.rewrite(&options());
        assert_eq!(rewrite.links.len(), links, "{charset}");
        assert_eq!(
            rewrite.notes.iter().any(|n| n.name == "charset-not-ascii-compatible"),
            links == 0,
            "{charset}"
        );
    }
    let (text, links) = rewritten("<a href=https://b\u{fc}cher.example/\u{e9}>");
    assert_eq!(
        (text.as_str(), links[0].as_str()),
        ("<a href=https://t.example/c/0>", "https://b\u{fc}cher.example/\u{e9}")
    );
}

#[test]
fn parts_that_are_left_alone() {
    let body = b"<a href=https://a.example/>";
    let mut sealed = message("text/html", DeclaredEncoding::SevenBit, body);
    sealed.part.sealed = true;
    let mut attachment = message("text/html", DeclaredEncoding::SevenBit, body);
    attachment.part.attachment = true;
    let amp = message("text/x-amp-html", DeclaredEncoding::SevenBit, body);
    let text = message("text/plain", DeclaredEncoding::SevenBit, body);
    let unknown = message("text/html", DeclaredEncoding::Other, body);
    for message in [sealed, attachment, amp, text, unknown] {
        let rewrite = message.rewrite(&TrackOptions { opens: true, ..options() });
        assert!(rewrite.edits.is_empty() && rewrite.links.is_empty());
    }
}
