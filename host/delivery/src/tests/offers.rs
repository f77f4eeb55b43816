//! What hosts offer and allow, and what becomes of mail that needs more.

use relevo_mailkit::dsn::{EnvelopeId, MessageDsn, Notify, Ret};
use relevo_mailkit::event::Event;
use relevo_mailkit::options::MailOptions;
use relevo_mailkit::urgency::DeliverBy;
use relevo_queue::RecipientState;
use relevo_smtp::client::ServerLimits;

use super::net::{Host, accepts};
use super::{DAY, FAILED, World, seconds};
use crate::dial::HopOffer;

fn limits(w: &World, limits: ServerLimits) {
    w.net.offer.lock().expect("lock").limits = limits;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_takes_no_mail_ends_it_only_where_no_other_may_take_it() {
    let w = World::new();
    w.net.domain("a.test", &[("dead", Host::NoMail), ("mx", accepts())]);
    w.net.domain("b.test", &[("dead", Host::NoMail)]);
    w.net.domain("c.test", &[("away", Host::Refuses), ("dead", Host::NoMail)]);
    w.net.domain("d.test", &[("dead", Host::NoMail), ("away", Host::Refuses)]);
    let [a, b, c, d] = ["u@a.test", "u@b.test", "u@c.test", "u@d.test"].map(|to| w.to(to));
    seconds(5).await;
    assert_eq!(w.states(a), [RecipientState::Delivered]);
    assert_eq!((w.states(b), w.kinds(b)[0].as_str()), (vec![FAILED], "email.bounced"));
    assert!(w.bounces()[0].contains("521"), "{}", w.bounces()[0]);
    for waiting in [c, d] {
        assert_eq!(w.kinds(waiting), ["email.delivery_delayed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn limits_of_a_host_are_kept() {
    let w = World::with(|d| d.connections_per_site = 1);
    limits(&w, ServerLimits { rcpt_max: Some(2), mail_max: Some(2), rcpt_domain_max: None });
    w.net.domain("a.test", &[("mx", accepts())]);
    let five = ["1@a.test", "2@a.test", "3@a.test", "4@a.test", "5@a.test"];
    let id = w.send("t", DAY, &[("a.test", &five)]);
    seconds(5).await;
    assert_eq!(w.states(id), vec![RecipientState::Delivered; 5]);
    let groups: Vec<usize> = w.net.transactions().iter().map(|t| t.recipients.len()).collect();
    assert_eq!((groups, w.net.opened("mx").len()), (vec![2, 2, 1], 2));
    w.to("6@a.test");
    w.to("7@a.test");
    seconds(5).await;
    assert_eq!((w.net.transactions().len(), w.net.opened("mx").len()), (5, 3));
}

#[tokio::test(start_paused = true)]
async fn a_connection_carries_no_more_domains_than_its_host_allows() {
    for (most, connections) in [(None, 1), (Some(1), 3), (Some(2), 2)] {
        let w = World::with(|d| d.connections_per_site = 1);
        limits(&w, ServerLimits { rcpt_domain_max: most, ..ServerLimits::default() });
        for domain in ["a.test", "b.test", "c.test"] {
            w.net.domain(domain, &[("mx", accepts())]);
            w.to(&format!("u@{domain}"));
            seconds(1).await;
        }
        assert_eq!((w.net.transactions().len(), w.net.opened("mx").len()), (3, connections), "{most:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn mail_that_requires_tls_goes_only_to_hosts_that_keep_it() {
    let w = World::new();
    *w.options.lock().expect("lock") = MailOptions { require_tls: true, ..MailOptions::default() };
    w.net.domain("a.test", &[("plain", accepts())]);
    let id = w.to("u@a.test");
    seconds(5).await;
    assert_eq!((w.states(id), w.net.transactions().len()), (vec![FAILED], 0));
    assert!(w.bounces()[0].contains("Status: 5.7.30"), "{}", w.bounces()[0]);
    let offer = HopOffer { require_tls: true, ..*w.net.offer.lock().expect("lock") };
    w.net.offers.lock().expect("lock").insert("kept".to_owned(), offer);
    w.net.domain("b.test", &[("plain", accepts()), ("kept", accepts())]);
    let id = w.to("u@b.test");
    seconds(5).await;
    assert_eq!(w.states(id), [RecipientState::Delivered]);
    assert_eq!(w.net.transactions()[0].host, "kept");
    assert!(w.net.log.lock().expect("lock").envelopes[0].require_tls);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_of_reports_is_handed_on_where_it_is_offered() {
    let w = World::new();
    let dsn = MessageDsn { ret: None, envid: EnvelopeId::new("id") };
    *w.options.lock().expect("lock") = MailOptions { dsn: dsn.clone(), ..MailOptions::default() };
    let offer = HopOffer { dsn: true, ..*w.net.offer.lock().expect("lock") };
    w.net.offers.lock().expect("lock").insert("dsn".to_owned(), offer);
    w.net.domain("a.test", &[("dsn", accepts())]);
    w.net.domain("b.test", &[("plain", accepts())]);
    for to in ["u@a.test", "u@b.test"] {
        w.to(to);
        seconds(1).await;
    }
    let log = w.net.log.lock().expect("lock");
    let [first, second] = &log.envelopes[..] else { panic!("{:?}", log.envelopes) };
    assert_eq!((&first.dsn, &second.dsn), (&dsn, &MessageDsn::default()));
    let orcpt = first.recipients[0].dsn.orcpt.as_ref().map(ToString::to_string);
    assert_eq!(orcpt.as_deref(), Some("rfc822;u@a.test"));
    assert!(second.recipients[0].dsn.is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_bounce_is_sent_where_none_is_asked_for() {
    let w = World::new();
    w.net.domain("a.test", &[("dead", Host::NoMail)]);
    for (notify, bounces) in [("NEVER", 0), ("SUCCESS,DELAY", 0), ("FAILURE", 1)] {
        w.dsn.lock().expect("lock").notify = Notify::parse(notify);
        let id = w.to("u@a.test");
        seconds(30).await;
        assert_eq!((w.states(id), w.bounces().len()), (vec![FAILED], bounces), "{notify}");
    }
}

/// What the sender was told: the actions of the events about an item.
fn told(w: &World, item: relevo_queue::ItemId) -> Vec<String> {
    let events = w.queue.events().into_iter().filter(|e| e.item == Some(item));
    let actions = events.filter_map(|e| match e.event {
        Event::DsnQueued(dsn) => Some(dsn.action),
        _ => None,
    });
    actions.collect()
}

/// A host with DSN reports itself. NEVER is never, and a bounce is not reported on.
#[tokio::test(start_paused = true)]
async fn a_delivery_is_reported_where_the_host_does_not_report_it() {
    let w = World::new();
    let offer = HopOffer { dsn: true, ..*w.net.offer.lock().expect("lock") };
    w.net.offers.lock().expect("lock").insert("dsn".to_owned(), offer);
    w.net.domain("a.test", &[("dsn", accepts())]);
    w.net.domain("b.test", &[("plain", accepts())]);
    w.net.domain("origin.test", &[("home", accepts())]);
    for (to, notify, actions) in [
        ("u@a.test", Some("SUCCESS"), vec![]),
        ("u@b.test", Some("SUCCESS,FAILURE"), vec!["relayed"]),
        ("u@b.test", Some("FAILURE,DELAY"), vec![]),
        ("u@b.test", Some("NEVER"), vec![]),
        ("u@b.test", None, vec![]),
    ] {
        w.dsn.lock().expect("lock").notify = notify.and_then(Notify::parse);
        let id = w.to(to);
        seconds(5).await;
        assert_eq!(
            (w.states(id), told(&w, id)),
            (vec![RecipientState::Delivered], actions.clone().into_iter().map(str::to_owned).collect()),
            "{to} {notify:?}"
        );
        assert_eq!(w.kinds(id).len(), 1 + actions.len());
    }
    let [report] = &w.bounces()[..] else { panic!("{:?}", w.bounces()) };
    let status =
        "Final-Recipient: rfc822; u@b.test\r\nAction: relayed\r\nStatus: 2.0.0\r\nRemote-MTA: dns; plain\r\n";
    assert!(report.contains(status) && report.contains("Diagnostic-Code: smtp; 250 "), "{report}");
    assert!(w.net.transactions().iter().any(|t| t.recipients == ["sender@origin.test"]));
}

#[tokio::test(start_paused = true)]
async fn a_time_that_no_next_host_keeps_to_is_reported_and_so_is_a_trace() {
    let w = World::new();
    let offer = HopOffer { dsn: true, deliver_by: Some(Some(30)), ..*w.net.offer.lock().expect("lock") };
    w.net.offers.lock().expect("lock").insert("by".to_owned(), offer);
    w.net.domain("a.test", &[("by", accepts())]);
    w.net.domain("b.test", &[("plain", accepts())]);
    w.net.domain("origin.test", &[("home", accepts())]);
    for (to, by, notify, reports) in [
        ("u@a.test", "60;N", None, 0),
        ("u@a.test", "20;N", None, 1),
        ("u@a.test", "60;NT", None, 1),
        ("u@a.test", "60;RT", Some("FAILURE"), 1),
        ("u@b.test", "60;N", None, 1),
        ("u@b.test", "60;NT", Some("NEVER"), 0),
    ] {
        *w.options.lock().expect("lock") =
            MailOptions { deliver_by: DeliverBy::parse(by), ..MailOptions::default() };
        w.dsn.lock().expect("lock").notify = notify.and_then(Notify::parse);
        let id = w.to(to);
        seconds(5).await;
        assert_eq!(
            (w.states(id), told(&w, id)),
            (vec![RecipientState::Delivered], vec!["relayed".to_owned(); reports]),
            "{to} {by}"
        );
    }
    assert!(w.bounces().iter().all(|report| report.contains("\r\nDeliver-By-Date: ")));
}

/// Once, and the end is told too.
#[tokio::test(start_paused = true)]
async fn a_delay_is_reported_while_the_message_waits() {
    let w = World::new();
    w.net.domain("a.test", &[("down", Host::Refuses)]);
    w.net.domain("origin.test", &[("home", accepts())]);
    w.dsn.lock().expect("lock").notify = Notify::parse("DELAY,FAILURE");
    *w.delay_report.lock().expect("lock") = Some(3_600_000);
    let id = w.to("u@a.test");
    seconds(3_500).await;
    assert!(told(&w, id).is_empty());
    seconds(200).await;
    assert_eq!((w.states(id), told(&w, id)), (vec![RecipientState::Pending], vec!["delayed".to_owned()]));
    let report = &w.bounces()[0];
    let status = "Final-Recipient: rfc822; u@a.test\r\nAction: delayed\r\nStatus: 4.4.1\r\n";
    assert!(report.contains(status) && report.contains("\r\nWill-Retry-Until: "), "{report}");
    assert!(report.contains("\r\nSubject: Your message is delayed\r\n"), "{report}");
    // One that gave a time is told when it is over.
    *w.options.lock().expect("lock") =
        MailOptions { deliver_by: DeliverBy::parse("1800;N"), ..MailOptions::default() };
    *w.delay_report.lock().expect("lock") = Some(1_800_000);
    let urgent = w.to("u@a.test");
    seconds(1_900).await;
    assert_eq!(told(&w, urgent), ["delayed"]);
    let report = &w.bounces()[1];
    assert!(report.contains("\r\nAction: delayed\r\nStatus: 4.4.7\r\n"), "{report}");
    assert!(report.contains("the time that you gave for its delivery is over"), "{report}");
    seconds(90_000).await;
    assert_eq!((w.states(id), told(&w, id)), (vec![FAILED], vec!["delayed".to_owned(), "failed".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn the_whole_message_is_returned_where_it_is_asked_for_and_may_be() {
    let w = World::new();
    w.net.domain("a.test", &[("dead", Host::NoMail)]);
    for (ret, require_tls, whole) in [
        (Some(Ret::Full), false, true),
        (Some(Ret::Full), true, false),
        (Some(Ret::Hdrs), false, false),
        (None, false, false),
    ] {
        let before = w.bounces().len();
        let dsn = MessageDsn { ret, envid: None };
        *w.options.lock().expect("lock") = MailOptions { dsn, require_tls, ..MailOptions::default() };
        let id = w.to("u@a.test");
        seconds(5).await;
        assert_eq!(w.states(id), [FAILED]);
        let bounce = w.bounces().into_iter().nth(before).expect("a bounce");
        let parts = [
            bounce.contains("Content-Type: message/rfc822\r\n"),
            bounce.contains("\r\n\r\nSubject: Hello\r\n\r\nx\r\n"),
        ];
        assert_eq!(parts, [whole, whole], "{ret:?} {bounce}");
        assert_eq!(bounce.contains("Content-Type: text/rfc822-headers"), !whole, "{bounce}");
    }
}
