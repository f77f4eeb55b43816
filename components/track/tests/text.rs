//! URLs in plain text.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{message, options};
use relevo_mailkit::model::{DeclaredEncoding, TrackOptions};

#[track_caller]
fn becomes(input: &str, output: &str, links: &[&str]) {
    let message = message("text/plain", DeclaredEncoding::EightBit, input.as_bytes());
    let rewrite = message.rewrite(&TrackOptions { text_links: true, ..options() });
    assert_eq!(message.text(&rewrite), output);
    assert_eq!(rewrite.links, links);
}

#[test]
fn whole_urls() {
    becomes(
        "See https://a.example/b?c=d&e#f now",
        "See https://t.example/c/0 now",
        &["https://a.example/b?c=d&e#f"],
    );
    becomes("HTTP://a.example\r\nx", "https://t.example/c/0\r\nx", &["HTTP://a.example"]);
    becomes("<https://a.example/>", "<https://t.example/c/0>", &["https://a.example/"]);
    becomes("a:https://a.example/", "a:https://t.example/c/0", &["https://a.example/"]);
}

#[test]
fn punctuation_belongs_to_the_sentence() {
    for end in [".", ",", "!", "?", ";", ":", "...", ")", ").", "]", "'", "*", "\u{201d}."] {
        becomes(
            &format!("(https://a.example/b{end} x"),
            &format!("(https://t.example/c/0{end} x"),
            &["https://a.example/b"],
        );
    }
    becomes("https://a.example/b_(c)", "https://t.example/c/0", &["https://a.example/b_(c)"]);
    becomes("(see https://a.example/b_(c)).", "(see https://t.example/c/0).", &["https://a.example/b_(c)"]);
}

#[test]
fn everything_else_stays() {
    for text in [
        "www.a.example",
        "xhttps://a.example/",
        "ftp://a.example/",
        "https://",
        "https:// a",
        "mailto:a@a.example",
        "https://{{host}}/",
        "://",
        "s://a.example/",
    ] {
        becomes(text, text, &[]);
    }
}

/// RFC 3676 DelSp: the space at the end of the line may be part of a broken URL.
#[test]
fn flowed_lines() {
    becomes("x https://a.example/very-long \r\nrest", "x https://a.example/very-long \r\nrest", &[]);
    becomes("x https://a.example/ y \r\nrest", "x https://t.example/c/0 y \r\nrest", &["https://a.example/"]);
}

#[test]
fn only_when_asked() {
    let message = message("text/plain", DeclaredEncoding::SevenBit, b"https://a.example/");
    assert!(message.rewrite(&options()).edits.is_empty());
    assert!(
        message
            .rewrite(&TrackOptions { text_links: true, clicks: false, opens: true, ..options() })
            .edits
            .is_empty()
    );
}
