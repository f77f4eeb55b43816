use std::net::{IpAddr, Ipv4Addr};

use relevo_mailkit::dsn::EnvelopeId;
use relevo_mailkit::urgency::DeliverBy;

use super::*;

const NOW: Millis = 1_795_325_621_500;

fn meta(sender: &str) -> ItemMeta {
    ItemMeta {
        tenant: "t".into(),
        sender: sender.into(),
        accepted_at: NOW - 90_000_000,
        expires_at: NOW + 342_000_000,
        size: 1,
        source: "smtp".into(),
        message_id: "<1@origin.test>".into(),
        subject: "Offer".into(),
        ..ItemMeta::default()
    }
}

fn refused(address: &str) -> ReportEntry {
    ReportEntry {
        kind: ReportKind::Failed,
        address: address.into(),
        orcpt: None,
        classification: None,
        why: LastAttempt {
            at: NOW,
            text: "5.1.1 no such user here".into(),
            status: "5.1.1".into(),
            code: Some(550),
            host: Some("mx.a.test".into()),
            ip: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9))),
        },
    }
}

fn expired(address: &str) -> ReportEntry {
    let text = "connection refused";
    let why = LastAttempt { at: NOW, text: text.into(), status: "4.4.7".into(), ..LastAttempt::default() };
    ReportEntry { kind: ReportKind::Failed, address: address.into(), orcpt: None, why, classification: None }
}

fn compose(meta: &ItemMeta, entries: Vec<ReportEntry>, header: &[u8]) -> String {
    composed(meta, entries, &Original::Header(header.to_vec()))
}

fn composed(meta: &ItemMeta, entries: Vec<ReportEntry>, original: &Original) -> String {
    let id = ItemId::new(NOW, [1; 10]);
    let item = ItemId::new(NOW - 90_000_000, [2; 10]);
    let report = BounceReport { id, item, hostname: "mta1.example", meta, entries, original, now: NOW };
    String::from_utf8(report.compose()).expect("UTF-8")
}

fn check_lines(message: &str) {
    assert!(message.ends_with("\r\n"));
    for line in message.split_terminator("\r\n") {
        assert!(line.len() <= 998 && !line.contains(['\r', '\n', '\0', '\u{1b}']), "{line:?}");
    }
}

#[test]
fn the_whole_report() {
    let mut busy = expired("busy@c.test");
    (busy.why.text, busy.why.code) = ("4.2.0 greylisted".into(), Some(450));
    let failed = vec![refused("nobody@a.test"), expired("late@b.test"), busy];
    let message = compose(&meta("me@origin.test"), failed, b"From: me@origin.test\r\nSubject: Offer\r\n");
    check_lines(&message);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bounce/report/whole.eml");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &message).expect("writes");
    }
    assert_eq!(message, std::fs::read_to_string(path).expect("the golden file"));
}

#[test]
fn hostile_replies_stay_in_their_field() {
    let mut failed = refused("u@a.test");
    failed.why.text = format!("no\r\nAction: delivered\u{1b}[2J\u{202e} {}", "x".repeat(5000));
    failed.why.host = Some("evil\r\nStatus: 2.0.0".into());
    let message = compose(&meta("me@origin.test"), vec![failed], b"");
    check_lines(&message);
    assert_eq!(message.matches("\r\nAction: ").count(), 1);
    assert_eq!(message.matches("\r\nStatus: ").count(), 1);
    let diagnostic =
        message.split("Diagnostic-Code: ").nth(1).and_then(|d| d.split("\r\nLast-").next()).expect("there");
    assert!(diagnostic.len() <= 1024 + 64, "{}", diagnostic.len());
}

/// Who gave up says so, whatever the last reply was.
#[test]
fn the_action_is_failed_and_the_class_is_permanent() {
    for status in ["4.4.7", "5.4.7", "x", "", "4.4.7777"] {
        let mut failed = expired("u@a.test");
        failed.why.status = status.into();
        let message = compose(&meta("me@origin.test"), vec![failed], b"");
        assert!(message.contains("\r\nAction: failed\r\nStatus: 5."), "{message}");
    }
}

#[test]
fn addresses_beyond_ascii_have_a_form_that_passes_everywhere() {
    let message = compose(
        &meta("me@origin.test"),
        vec![refused("gr\u{fc}n+x@a.test")],
        "Subject: gr\u{fc}n\r\n".as_bytes(),
    );
    check_lines(&message);
    assert!(message.is_ascii());
    assert!(message.contains("Final-Recipient: utf-8; gr\\x{FC}n\\x{2B}x@a.test\r\n"));
    assert!(
        message
            .contains("Content-Type: message/global-headers\r\nContent-Transfer-Encoding: quoted-printable")
    );
    assert!(message.contains("Subject: gr=C3=BCn\r\n"));
}

#[test]
fn foreign_text_is_not_put_into_our_header() {
    let mut meta = meta("me@origin.test");
    meta.message_id = "<a@b>\r\nBcc: x@y".into();
    let message = compose(&meta, vec![refused("u@a.test")], b"");
    assert!(!message.contains("In-Reply-To") && !message.contains("\r\nBcc:"));
}

#[test]
fn the_meaning_of_a_reply_is_told() {
    use relevo_mailkit::classification::{Action, BounceType, Explanation, Subject};
    let mut full = refused("full@a.test");
    full.classification = Some(Arc::new(Classification {
        bounce_type: BounceType::Soft,
        category: "mailbox_full".into(),
        about: Subject::Recipient,
        action: Action::Retry,
        rule: "full".into(),
        rules_version: "1".into(),
        explanation: Explanation { en: "The mailbox is full.".into(), es: String::new() },
        doc: None,
    }));
    let message = compose(&meta("me@origin.test"), vec![full], b"From: me@origin.test\r\n");
    assert!(message.contains("  What it means: The mailbox is full.\r\n"), "{message}");
}

#[test]
fn what_the_sender_called_the_message_and_the_recipient_is_repeated() {
    let mut meta = meta("s@origin.test");
    meta.options.dsn.envid = EnvelopeId::new("QQ 314159");
    let failed =
        ReportEntry { orcpt: OriginalRecipient::parse("rfc822;a+2Bb@list.test"), ..refused("nobody@a.test") };
    let report = compose(&meta, vec![failed], b"");
    assert!(report.contains("\r\nOriginal-Envelope-Id: QQ 314159\r\n"), "{report}");
    let original =
        "\r\n\r\nOriginal-Recipient: rfc822; a+b@list.test\r\nFinal-Recipient: rfc822; nobody@a.test\r\n";
    assert!(report.contains(original), "{report}");
    check_lines(&report);
}

#[test]
fn one_report_tells_of_failure_delay_and_relaying() {
    let relayed =
        LastAttempt { text: "taken".into(), status: "2.1.5".into(), code: Some(250), ..refused("").why };
    let entries = vec![
        ReportEntry { kind: ReportKind::Relayed, why: relayed, ..refused("gone@c.test") },
        ReportEntry { kind: ReportKind::Delayed, ..expired("late@b.test") },
        refused("nobody@a.test"),
    ];
    let mut meta = meta("me@origin.test");
    meta.options.deliver_by = DeliverBy::parse("3600;N");
    let message = compose(&meta, entries.clone(), b"Subject: Offer\r\n");
    check_lines(&message);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bounce/report/mixed.eml");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &message).expect("writes");
    }
    assert_eq!(message, std::fs::read_to_string(path).expect("the golden file"));
    for (count, subject) in [(1, "was relayed"), (2, "is delayed"), (3, "could not be delivered")] {
        let message = compose(&meta, entries[..count].to_vec(), b"");
        assert!(message.contains(&format!("\r\nSubject: Your message {subject}\r\n")), "{message}");
    }
}

#[test]
fn a_whole_message_is_encoded_only_where_it_must_be() {
    let long = format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(999));
    for (original, expected) in [
        ("Subject: x\r\n\r\nhello\r\n", "message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n"),
        (
            "Subject: gr\u{fc}n\r\n\r\nx\r\n",
            "message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n",
        ),
        (
            "Subject: x\r\n\r\nbare\nline\r\n",
            "message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n",
        ),
        (long.as_str(), "message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n"),
    ] {
        let whole = Original::Whole(original.as_bytes().to_vec());
        let message = composed(&meta("me@origin.test"), vec![refused("u@a.test")], &whole);
        check_lines(&message);
        assert!(message.is_ascii() && message.contains(expected), "{message}");
    }
}
