//! What must hold for any message. The formats are in `tests/cases/reports`.

use proptest::prelude::*;
use relevo_mailkit::returned::{ReportedAction, ReturnedKind};

use super::*;

fn report(status: &str) -> ReturnedMail {
    let message = format!(
        "From: x@a.test\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n\
         Content-Type: message/delivery-status\r\n\r\n{status}\r\n--b--\r\n"
    );
    read(message.as_bytes())
}

#[test]
fn all_five_actions_are_told_apart() {
    for (word, action) in [
        ("failed", ReportedAction::Failed),
        ("DELAYED", ReportedAction::Delayed),
        ("delivered", ReportedAction::Delivered),
        ("relayed", ReportedAction::Relayed),
        ("expanded (list)", ReportedAction::Expanded),
        ("exploded", ReportedAction::Unknown),
    ] {
        let mail = report(&format!(
            "Reporting-MTA: dns; a.test\r\n\r\nFinal-Recipient: rfc822; b@a.test\r\nAction: {word}"
        ));
        assert_eq!(mail.kind, ReturnedKind::DeliveryReport);
        assert_eq!(mail.recipients[0].action, action, "{word}");
    }
}

#[test]
fn a_report_has_a_bounded_number_of_recipients() {
    let many = "Final-Recipient: rfc822; b@a.test\r\nAction: failed\r\n\r\n".repeat(5_000);
    let mail = report(&many);
    assert!((1..=65).contains(&mail.recipients.len()), "{}", mail.recipients.len());
}

#[test]
fn messages_in_messages_are_looked_into_to_a_depth() {
    let mut message = "Subject: inner\r\n\r\nx\r\n".to_owned();
    for _ in 0..2_000 {
        message = format!("Content-Type: message/rfc822\r\n\r\n{message}");
    }
    assert_eq!(read(message.as_bytes()).kind, ReturnedKind::Ordinary);
}

#[test]
fn an_author_is_the_only_one_or_none() {
    for (header, domain) in [
        ("From: Ada <ada@ISP.test>", "isp.test"),
        ("From: ada@isp.test, bob@other.test", ""),
        ("From: ada@isp.test\r\nFrom: bob@other.test", ""),
        ("From: ada@isp.test\r\nno field\r\nFROM : bob@other.test", ""),
        ("From: ada", ""),
        ("Subject: x", ""),
    ] {
        assert_eq!(
            read(format!("{header}\r\n\r\nFrom: text\r\n").as_bytes()).from_domain,
            domain,
            "{header}"
        );
    }
}

#[test]
fn what_comes_in_pieces_is_read_as_a_whole() {
    let message = b"From: MAILER-DAEMON@a.test\r\nSubject: failure notice\r\n\r\n550 5.1.1 no\r\n";
    let mut reader = Reader::default();
    message.chunks(3).for_each(|chunk| reader.push(chunk));
    assert_eq!(reader.finish(), read(message));
    assert_eq!(read(message).kind, ReturnedKind::PlainReport);
}

fn bounded(mail: &ReturnedMail) -> bool {
    let harmless = |text: &str| text.len() <= 1_024 && !text.chars().any(char::is_control);
    harmless(&mail.reporter)
        && harmless(&mail.subject)
        && harmless(&mail.from_domain)
        && mail.key_names.len() <= 8
        && mail.original.received_ids.len() <= 8
        && mail.recipients.iter().all(|r| {
            [&r.original, &r.address, &r.status, &r.diagnostic, &r.remote].into_iter().all(|t| harmless(t))
        })
        && mail.feedback.iter().all(|f| f.recipients.len() <= 16 && f.recipients.iter().all(|r| harmless(r)))
}

proptest! {
    #[test]
    fn any_octets_are_read(message: Vec<u8>) {
        prop_assert!(bounded(&read(&message)));
    }

    #[test]
    fn any_status_is_read(status in "(([A-Z][a-z-]{0,20}: ?\\PC{0,60})?\r\n){0,12}") {
        prop_assert!(bounded(&report(&status)));
    }

    #[test]
    fn any_letter_of_a_mailer_is_read(text in "(\\PC{0,70}|[45][0-9]{2}[ -][45]\\.[0-9]\\.[0-9] \\PC{0,40}|<\\PC{0,20}>:)(\r\n.*){0,6}") {
        let message = format!("From: MAILER-DAEMON@a.test\r\nSubject: failure notice\r\n\r\n{text}\r\n");
        prop_assert!(bounded(&read(message.as_bytes())));
    }
}
