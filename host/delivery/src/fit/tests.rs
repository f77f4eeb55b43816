use relevo_mailkit::dsn::{Notify, Ret};

use super::*;
use crate::copy::HopAbilities;

fn message(options: &MailOptions, waited: Millis) -> OutgoingMessage<'_> {
    OutgoingMessage {
        sender: "s@a.test",
        size: 10,
        eight_bit: false,
        utf8_header: false,
        options,
        priority: 0,
        waited,
    }
}

fn misfit(options: &MailOptions, waited: Millis, offer: &HopOffer) -> Option<String> {
    message(options, waited).misfit("u@b.test", offer, "mx").map(|failure| failure.status.to_string())
}

fn by(text: &str) -> MailOptions {
    MailOptions { deliver_by: DeliverBy::parse(text), ..MailOptions::default() }
}

#[test]
fn mail_that_is_returned_when_late_needs_a_host_that_returns_it() {
    let plain = HopOffer::default();
    let offering = |least| HopOffer { deliver_by: Some(least), ..HopOffer::default() };
    assert_eq!(misfit(&by("100;R"), 0, &plain).as_deref(), Some("5.3.3"));
    assert_eq!(misfit(&by("100;N"), 0, &plain), None);
    assert_eq!(misfit(&by("100;R"), 30_000, &offering(None)), None);
    assert_eq!(misfit(&by("100;R"), 30_000, &offering(Some(70))), None);
    assert_eq!(misfit(&by("100;R"), 31_000, &offering(Some(70))).as_deref(), Some("5.3.3"));
    assert_eq!(misfit(&by("100;R"), 100_000, &offering(None)).as_deref(), Some("5.4.7"));
    assert_eq!(misfit(&by("100;N"), 100_000, &offering(None)), None);
}

#[test]
fn the_time_that_is_left_is_handed_on() {
    let none = RecipientDsn::default();
    let sent = |options: &MailOptions, waited, offer: &HopOffer| {
        let envelope = message(options, waited).envelope([("u@b.test", &none)].into_iter(), offer);
        envelope.deliver_by.map(|by| by.to_string())
    };
    let offering = HopOffer { deliver_by: Some(None), ..HopOffer::default() };
    assert_eq!(sent(&by("100;RT"), 30_500, &offering).as_deref(), Some("70;RT"));
    assert_eq!(sent(&by("100;N"), 130_000, &offering).as_deref(), Some("-30;N"));
    assert_eq!(sent(&by("100;N"), -5_000, &offering).as_deref(), Some("100;N"), "a clock went back");
    assert_eq!(sent(&by("100;N"), 0, &HopOffer::default()), None);
    let slow = HopOffer { deliver_by: Some(Some(600)), ..HopOffer::default() };
    assert_eq!(sent(&by("100;N"), 0, &slow), None);
}

#[test]
fn requiretls_is_not_left_out() {
    let options = MailOptions { require_tls: true, ..MailOptions::default() };
    assert_eq!(misfit(&options, 0, &HopOffer::default()).as_deref(), Some("5.7.30"));
    assert_eq!(misfit(&options, 0, &HopOffer { require_tls: true, ..HopOffer::default() }), None);
}

#[test]
fn orcpt_is_the_address_as_it_came() {
    let offer = HopOffer { dsn: true, ..HopOffer::default() };
    let abilities = HopAbilities { smtputf8: true, ..HopAbilities::default() };
    let options = MailOptions::default();
    let never = RecipientDsn { notify: Some(Notify::NEVER), orcpt: None };
    let none = RecipientDsn::default();
    let recipients = [("u@bl\u{e5}.test", &never), ("v@b.test", &none)];
    let envelope = message(&options, 0).envelope(recipients.into_iter(), &HopOffer { abilities, ..offer });
    let [first, second] = &envelope.recipients[..] else { panic!("{envelope:?}") };
    assert_eq!(first.address, "u@xn--bl-zia.test");
    let orcpt = first.dsn.orcpt.as_ref().map(ToString::to_string);
    assert_eq!(orcpt.as_deref(), Some("utf-8;u@bl\\x{E5}.test"));
    assert_eq!(first.dsn.notify, Some(Notify::NEVER));
    assert!(second.dsn.is_empty(), "nothing was asked for");
    let asked = MessageDsn { ret: Some(Ret::Hdrs), envid: None };
    let options = MailOptions { dsn: asked.clone(), ..options };
    let envelope = message(&options, 0).envelope(recipients.into_iter(), &offer);
    assert_eq!((&envelope.dsn, envelope.recipients[1].dsn.notify), (&asked, None));
    assert!(envelope.recipients[1].dsn.orcpt.is_some());
}

/// RFC 6710: policy may have lowered what the sender asked for.
#[test]
fn the_priority_that_was_assigned_is_handed_on() {
    let nobody = std::iter::empty::<(&str, &RecipientDsn)>();
    let handed_on = |asked: Option<i8>, priority| {
        let options = MailOptions { priority: asked.and_then(MtPriority::new), ..MailOptions::default() };
        let message = OutgoingMessage { priority, ..message(&options, 0) };
        message.envelope(nobody.clone(), &HopOffer::default()).priority
    };
    assert_eq!(handed_on(Some(7), 2), MtPriority::new(2));
    assert_eq!(handed_on(Some(7), 0), MtPriority::new(0));
    assert_eq!(handed_on(None, 2), None, "it is the relay's own business");
}
