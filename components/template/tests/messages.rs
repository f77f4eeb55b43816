//! What `build` makes is valid, reproducible, and reads back as it was given.

use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;
use relevo_mailkit::model::{Attachment, ExtraField, Mailbox, MessageEnvelope, Rendered};
use relevo_template::build;

fn envelope() -> MessageEnvelope {
    MessageEnvelope {
        from: Mailbox { name: Some("Relevo".into()), address: "noreply@example.org".into() },
        sender: None,
        to: vec![Mailbox { name: None, address: "to@example.net".into() }],
        cc: Vec::new(),
        reply_to: Vec::new(),
        fields: Vec::new(),
        attachments: Vec::new(),
        date: Some(1_795_325_640),
        message_id: "<0123@example.org>".into(),
        boundary_seed: "0123456789abcdef".into(),
    }
}

fn content() -> Rendered {
    Rendered { subject: "Hello".into(), html: Some("<p>Hello</p>".into()), text: "Hello".into() }
}

/// Validates as it would be submitted; nothing may need a fix.
fn check(message: &[u8], smtputf8: bool) -> Result<relevo_mailkit::model::Report, String> {
    let mut validator = relevo_validate::Validator::new(relevo_mailkit::model::ValidateOptions {
        smtputf8,
        ..relevo_validate::defaults()
    });
    validator.push(message);
    let report = validator.finish().map_err(|r| format!("{}: {}", r.rule, r.detail))?;
    if report.edits.is_empty()
        && report.added_headers.is_empty()
        && report.fixes.is_empty()
        && !report.eight_bit
    {
        return Ok(report);
    }
    Err(format!("{:?} {:?}", report.fixes, report.edits))
}

fn without_controls(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .collect::<String>()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Every script, emoji, quotes, separators, runs of blanks.
fn words() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z0-9 ]{0,30}",
        "\\PC{0,20}",
        prop::sample::select(vec![
            "ಕನ್ನಡ",
            "Ελληνικά",
            "עברית",
            "العربية",
            "中文字符",
            "日本語",
            "한국어",
            "ไทย",
            "Ñandú",
            "👩‍👩‍👧‍👦🏳️‍🌈",
            "\"quoted\"",
            "a,b;c:d",
            "<x@y>",
            "(comment",
            "back\\slash",
            "=?utf-8?q?x?=",
            "..",
            "=",
            "\u{202e}rtl",
            "e\u{301}",
            "@",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 1..6).prop_map(|p| without_controls(&p.concat()))
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,2000}",
        prop::collection::vec(
            prop_oneof![
                "[a-z .=-]{0,90}",
                "\\PC{0,40}",
                Just("--0123456789abcde-a".to_owned()),
                Just(".".into()),
                Just("From x".into()),
                Just("trailing  ".into())
            ],
            0..12
        )
        .prop_map(|l| l.join("\n")),
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_subjects_and_file_names_survive(name in words(), subject in words(), file in words(), bytes in prop::collection::vec(any::<u8>(), 0..300), inline: bool) {
        let mut envelope = envelope();
        envelope.from.name = Some(name.clone());
        envelope.to.push(Mailbox { name: Some(name.clone()), address: "b@m\u{fc}nchen.example".into() });
        // In a quoted string an encoded word is plain text (RFC 2047 section 5), but this parser
        // decodes it.
        let file = file.replace("=?", "");
        let file = if file.is_empty() { "x".to_owned() } else { file };
        envelope.attachments = vec![Attachment {
            file_name: file.clone(),
            media_type: "application/pdf".into(),
            content_id: inline.then(|| "logo@example.org".into()),
            content: bytes.clone(),
        }];
        let content = Rendered { subject: subject.clone(), ..content() };
        let message = build(&envelope, &content).unwrap();
        prop_assert_eq!(&message, &build(&envelope, &content).unwrap());
        check(&message, false).map_err(TestCaseError::fail)?;
        let parsed = MessageParser::new().parse(&message).unwrap();
        prop_assert_eq!(parsed.subject().unwrap_or_default(), &subject);
        let from = parsed.from().and_then(|f| f.first()).unwrap();
        prop_assert_eq!(from.name().unwrap_or_default(), &name);
        prop_assert_eq!(from.address(), Some("noreply@example.org"));
        prop_assert_eq!(parsed.to().and_then(|t| t.last()).unwrap().address(), Some("b@xn--mnchen-3ya.example"));
        let part = parsed.attachments().find(|p| p.content_disposition().is_some()).unwrap();
        // The line break of a folded quoted-string is not part of it (RFC 5322 section 3.2.4), but
        // beside a quoted-pair this parser leaves it in.
        let found = part.attachment_name().map(|name| name.replace("\r\n ", " "));
        prop_assert_eq!(found.as_deref(), Some(file.as_str()));
        prop_assert_eq!(part.contents(), &bytes[..]);
        prop_assert_eq!(part.content_id().is_some(), inline);
    }

    #[test]
    fn file_names_survive_folding(words in 5_usize..13) {
        // A name with a quoted-pair in it may be folded, and no more than folded. (Longer ones are
        // continued, RFC 2231 section 3.)
        let name = format!("{} a\\b", vec!["word"; words].join(" "));
        let mut envelope = envelope();
        envelope.attachments = vec![Attachment {
            file_name: name.clone(),
            media_type: "application/pdf".into(),
            content_id: None,
            content: b"x".to_vec(),
        }];
        let message = build(&envelope, &content()).unwrap();
        let unfolded = String::from_utf8(message).unwrap().replace("\r\n ", " ").replace("\r\n\t", " ");
        let quoted = format!("\"{}\"", name.replace('\\', "\\\\"));
        prop_assert!(unfolded.contains(&quoted), "{}", unfolded);
    }

    #[test]
    fn bodies_survive(text in body(), html in proptest::option::of(body())) {
        let message = build(&envelope(), &Rendered { subject: "x".into(), html: html.clone(), text: text.clone() }).unwrap();
        check(&message, false).map_err(TestCaseError::fail)?;
        let parsed = MessageParser::new().parse(&message).unwrap();
        let flat = |t: &str| t.replace("\r\n", "\n").replace('\r', "\n")
            .chars().map(|c| if c.is_ascii_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect::<String>();
        let same = |read: &str, given: &str| flat(read).trim_end_matches('\n') == flat(given).trim_end_matches('\n');
        if html.is_none() || !text.trim().is_empty() {
            prop_assert!(same(&parsed.body_text(0).unwrap_or_default(), &text), "{:?}", parsed.body_text(0));
        }
        if let Some(html) = &html {
            let part = parsed.html_part(0).and_then(|p| p.text_contents()).unwrap_or_default();
            prop_assert!(same(part, html), "{part:?}");
        }
    }

    #[test]
    fn whatever_is_built_is_valid(
        address in "\\PC{1,20}@[a-z.é]{1,12}", name in any::<String>(), value in any::<String>(), field in "[A-Za-z-]{1,20}",
        media in "[a-z/]{1,20}", file in any::<String>(), date: i64, id in "<?\\PC{0,20}>?",
    ) {
        let mut envelope = envelope();
        envelope.reply_to = vec![Mailbox { name: Some(name), address }];
        envelope.fields = vec![ExtraField { name: field, value }];
        envelope.attachments = vec![Attachment { file_name: file, media_type: media, content_id: None, content: vec![0, 13, 10, 255] }];
        let mut variants = vec![envelope.clone()];
        variants.push(MessageEnvelope { date: Some(date), message_id: id, ..envelope.clone() });
        variants.push(MessageEnvelope { attachments: Vec::new(), ..envelope.clone() });
        variants.push(MessageEnvelope { attachments: Vec::new(), reply_to: Vec::new(), ..envelope.clone() });
        variants.push(MessageEnvelope { fields: Vec::new(), reply_to: Vec::new(), ..envelope });
        for envelope in variants {
            match build(&envelope, &content()) {
                Ok(message) => { check(&message, true).map_err(TestCaseError::fail)?; }
                Err(error) => prop_assert_eq!(error.kind, "invalid-field"),
            }
        }
    }
}

/// Who sends a scheduled message adds its Date then.
#[test]
fn a_message_without_a_date_has_no_date_field() {
    let with = String::from_utf8(build(&envelope(), &content()).unwrap()).unwrap();
    let without = build(&MessageEnvelope { date: None, ..envelope() }, &content()).unwrap();
    let (date, rest) = with.split_once("\r\n").unwrap();
    assert!(date.starts_with("Date: Sun, 22 Nov 2026 "), "{date}");
    assert_eq!(String::from_utf8(without).unwrap(), rest);
}

#[test]
fn two_builds_are_identical_and_boundaries_come_from_the_seed() {
    let mut envelope = envelope();
    for id in [Some("logo@example.org"), None] {
        envelope.attachments.push(Attachment {
            file_name: "a.png".into(),
            media_type: "image/png".into(),
            content_id: id.map(str::to_owned),
            content: vec![1, 2, 3],
        });
    }
    let message = build(&envelope, &content()).unwrap();
    assert_eq!(message, build(&envelope, &content()).unwrap());
    let text = String::from_utf8(message.clone()).unwrap();
    for letter in ["m", "r", "a"] {
        assert!(
            text.contains(&format!("boundary=\"0123456789abcdef-{letter}\""))
                || text.contains(&format!("boundary=0123456789abcdef-{letter}")),
            "{text}"
        );
    }
    let report = check(&message, false).unwrap();
    let types: Vec<_> = report.parts.iter().map(|p| p.media_type.as_str()).collect();
    assert_eq!(
        types,
        [
            "multipart/mixed",
            "multipart/related",
            "multipart/alternative",
            "text/plain",
            "text/html",
            "image/png",
            "image/png"
        ]
    );
    envelope.boundary_seed = "fedcba9876543210".into();
    assert!(!String::from_utf8(build(&envelope, &content()).unwrap()).unwrap().contains("0123456789abcdef"));
}

#[test]
fn long_structured_fields_are_folded_and_not_encoded() {
    let mut envelope = envelope();
    let url = format!("<https://example.org/{}>", "u".repeat(300));
    envelope.fields = vec![
        ExtraField { name: "List-Unsubscribe".into(), value: format!("{url}, <mailto:u@example.org>") },
        ExtraField { name: "References".into(), value: "<a@b> ".repeat(60) },
    ];
    let message = build(&envelope, &content()).unwrap();
    check(&message, false).unwrap();
    let text = String::from_utf8(message).unwrap();
    assert!(text.contains(&url) && !text.contains("=?"), "{text}");
}

#[test]
fn what_is_not_valid_is_named() {
    type Change = fn(&mut MessageEnvelope);
    let cases: [(&str, Change); 17] = [
        ("from", |e| e.from.address = "nobody".into()),
        ("from", |e| e.from.name = Some("a\r\nBcc: x".into())),
        ("sender", |e| e.sender = Some(Mailbox { name: None, address: "a@b_c".into() })),
        ("to[0]", |e| e.to[0].address = "a@b\r\nBcc: c@d".into()),
        ("cc[0]", |e| e.cc = vec![Mailbox { name: None, address: String::new() }]),
        ("fields[0]", |e| e.fields = vec![ExtraField { name: "BCC".into(), value: "x".into() }]),
        ("fields[0]", |e| e.fields = vec![ExtraField { name: "Content-Type".into(), value: "x".into() }]),
        ("fields[0]", |e| e.fields = vec![ExtraField { name: "DKIM-Signature".into(), value: "x".into() }]),
        ("fields[0]", |e| e.fields = vec![ExtraField { name: "X A".into(), value: "x".into() }]),
        ("fields[0]", |e| e.fields = vec![ExtraField { name: "X-A".into(), value: "x\r\nBcc: y".into() }]),
        ("fields[1]", |e| {
            e.fields = vec![ExtraField { name: "References".into(), value: "<a@b>".into() }; 2];
        }),
        ("date", |e| e.date = Some(-1)),
        ("message-id", |e| e.message_id = "a@b".into()),
        ("boundary-seed", |e| e.boundary_seed = "short".into()),
        ("attachments[0].media-type", |e| attach(e, "x.eml", "message/rfc822", None)),
        ("attachments[0].file-name", |e| attach(e, "a\nb", "image/png", None)),
        ("attachments[0].content-id", |e| attach(e, "", "image/png", Some("a b"))),
    ];
    for (field, change) in cases {
        let mut envelope = envelope();
        change(&mut envelope);
        let error = build(&envelope, &content()).unwrap_err();
        assert_eq!((error.kind.as_str(), error.template.as_str()), ("invalid-field", field));
    }
    let mut seeded = content();
    seeded.text = "0123456789abcdef".into();
    assert_eq!(build(&envelope(), &seeded).unwrap_err().template, "boundary-seed");
}

fn attach(envelope: &mut MessageEnvelope, file: &str, media: &str, id: Option<&str>) {
    envelope.attachments.push(Attachment {
        file_name: file.into(),
        media_type: media.into(),
        content_id: id.map(str::to_owned),
        content: Vec::new(),
    });
}
