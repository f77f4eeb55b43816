//! What happens within an attempt, and what it leads to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use relevo_queue::RecipientState;
use relevo_resolve::ResolveError;
use relevo_smtp::client::{DialogueStep, RecipientOutcome, TlsPolicy};

use super::net::{Host, accepts, failed, reply};
use super::{FAILED, World, seconds};

/// Refuses `user` with this, takes the others.
fn refuses(user: &'static str, code: u16, enhanced: Option<(u8, u16, u16)>) -> Host {
    Host::Up(Arc::new(move |to| {
        if to.starts_with(user) {
            RecipientOutcome::Failed(failed(DialogueStep::Rcpt, reply(code, enhanced, "no\u{1b}[31m thanks")))
        } else {
            RecipientOutcome::Delivered(reply(250, None, "ok"))
        }
    }))
}

/// How the events of a message end that was given up: with the notification of its sender.
fn told(given_up: &str) -> Vec<String> {
    vec![given_up.to_owned(), "email.dsn_queued".to_owned()]
}

#[tokio::test(start_paused = true)]
async fn the_next_host_is_tried_when_one_refuses_or_closes() {
    let w = World::new();
    w.net.domain("a.test", &[("mx1", Host::Refuses), ("mx2", Host::Closes), ("mx3", accepts())]);
    let id = w.to("u@a.test");
    seconds(1).await;
    assert_eq!(w.states(id), [RecipientState::Delivered]);
    assert_eq!(w.net.transactions().iter().map(|t| t.host.as_str()).collect::<Vec<_>>(), ["mx2", "mx3"]);
    assert_eq!(w.kinds(id), ["email.delivered"]);
}

#[tokio::test(start_paused = true)]
async fn who_was_suppressed_since_gets_nothing() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", accepts())]);
    w.net.domain("origin.test", &[("home", accepts())]);
    let id = w.send("t", super::DAY, &[("a.test", &["suppressed@a.test", "unclear@a.test", "u@a.test"])]);
    seconds(5).await;
    assert_eq!(w.states(id), [FAILED, RecipientState::Pending, RecipientState::Delivered]);
    let mut kinds = w.kinds(id);
    kinds.sort();
    let expected = ["email.delivered", "email.delivery_delayed", "email.dsn_queued", "email.suppressed"];
    assert_eq!(kinds, expected, "who cannot be told about waits");
    let sent = w.net.transactions();
    assert!(sent.iter().all(|t| t.recipients != ["suppressed@a.test"]), "{sent:?}");
    assert!(w.bounces()[0].contains("suppressed since yesterday"), "{:?}", w.bounces());
}

#[tokio::test(start_paused = true)]
async fn recipients_beyond_the_hosts_limit_go_at_once_in_new_transactions() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", Host::Takes(2))]);
    let id =
        w.send("t", super::DAY, &[("a.test", &["1@a.test", "2@a.test", "3@a.test", "4@a.test", "5@a.test"])]);
    seconds(1).await;
    assert_eq!(w.states(id), vec![RecipientState::Delivered; 5]);
    let groups: Vec<usize> = w.net.transactions().iter().map(|t| t.recipients.len()).collect();
    assert_eq!((groups, w.net.opened("mx").len()), (vec![5, 3, 1], 1));
}

#[tokio::test(start_paused = true)]
async fn one_bad_recipient_does_not_fail_the_others_and_its_bounce_names_only_it() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", refuses("bad", 550, Some((5, 1, 1))))]);
    w.net.domain("origin.test", &[("home", accepts())]);
    let id = w.send("t", super::DAY, &[("a.test", &["bad@a.test", "good@a.test"])]);
    seconds(5).await;
    assert_eq!(w.states(id), [FAILED, RecipientState::Delivered]);
    let mut kinds = w.kinds(id);
    kinds.sort();
    // The sender was told of one.
    assert_eq!(kinds, ["email.bounced", "email.delivered", "email.dsn_queued"]);
    let bounces = w.bounces();
    assert_eq!(bounces.len(), 1);
    assert!(
        bounces[0].contains("Final-Recipient: rfc822; bad@a.test\r\nAction: failed\r\nStatus: 5.1.1\r\n")
    );
    assert!(bounces[0].contains("Diagnostic-Code: smtp; 550 no?[31m thanks"), "{}", bounces[0]);
    assert!(!bounces[0].contains("good@a.test"));
    // The bounce itself was delivered, from the null reverse-path, and is answered by nothing.
    assert!(w.net.transactions().iter().any(|t| t.recipients == ["sender@origin.test"]));
}

#[tokio::test(start_paused = true)]
async fn every_failed_recipient_has_its_own_reason_in_the_one_bounce() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", refuses("bad", 550, Some((5, 7, 1))))]);
    w.net.mx.lock().expect("lock").insert("null.test".into(), Err(ResolveError::NullMx("null.test".into())));
    let id = w.send(
        "t",
        super::DAY,
        &[("a.test", &["bad@a.test"]), ("null.test", &["n@null.test"]), ("nx.test", &["x@nx.test"])],
    );
    seconds(5).await;
    assert_eq!(w.states(id), [FAILED, FAILED, FAILED]);
    assert_eq!(w.queue.reports(), [(id, 3)]);
    let bounce = &w.bounces()[0];
    for status in ["Status: 5.7.1", "Status: 5.1.10", "Diagnostic-Code: smtp; 556", "Status: 5.1.2"] {
        assert!(bounce.contains(status), "{status}: {bounce}");
    }
}

/// RFC 5321 section 4.5.3.1.10; but a mailbox that does not exist is not retried for days.
#[tokio::test(start_paused = true)]
async fn a_552_at_rcpt_is_retried_as_what_it_is_unless_the_mailbox_is_bad() {
    let w = World::new();
    w.net.domain("many.test", &[("many", refuses("u", 552, None))]);
    w.net.domain("full.test", &[("full", refuses("u", 552, Some((5, 2, 2))))]);
    w.net.domain("bad.test", &[("bad", refuses("u", 552, Some((5, 1, 1))))]);
    let (many, full, bad) = (w.to("u@many.test"), w.to("u@full.test"), w.to("u@bad.test"));
    seconds(10).await;
    for (item, status) in [(many, "4.5.3"), (full, "4.2.2")] {
        let delayed = (vec![RecipientState::Pending], vec!["email.delivery_delayed".to_owned()]);
        assert_eq!((w.states(item), w.kinds(item)), delayed);
        let why = w.handle.why(item).await.expect("a store").expect("it is there");
        assert_eq!(why[0].last.as_ref().map(|last| last.status.as_str()), Some(status));
    }
    assert_eq!((w.states(bad), w.kinds(bad)), (vec![FAILED], told("email.bounced")));
    assert_eq!(w.bounces().len(), 1, "what is delayed is not bounced");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_breaks_tls_is_remembered_and_spoken_to_in_clear() {
    let w = World::with(|d| d.messages_per_connection = 1);
    w.net.domain("a.test", &[("mx", Host::BreaksTls)]);
    let first = w.to("1@a.test");
    seconds(10).await;
    assert_eq!((w.states(first), w.net.opened("mx").len()), (vec![RecipientState::Delivered], 2));
    let second = w.to("2@a.test");
    seconds(10).await;
    assert_eq!((w.states(second), w.net.opened("mx").len()), (vec![RecipientState::Delivered], 3));
}

/// A smarthost that must show a valid certificate may have the address of somebody's MX host.
#[tokio::test(start_paused = true)]
async fn tls_that_fails_where_it_is_required_sends_no_other_mail_in_clear() {
    let w = smarthost_with("smart.test", TlsPolicy::Verified);
    w.net.domain("smart.test", &[("smart.test", Host::BreaksTls)]);
    let id = w.to("u@nowhere.test");
    seconds(10).await;
    assert_eq!(w.states(id), [RecipientState::Pending]);
    assert!(!w.net.opened("smart.test").is_empty(), "TLS was tried");
    let (shared, ip) = (&w.handle.shared, "203.1.113.9".parse().expect("an address"));
    assert_eq!(shared.memory.failure(ip, shared.steady()), None);
}

#[tokio::test(start_paused = true)]
async fn smtputf8_is_needed_only_for_local_parts() {
    let w = World::new();
    w.net.offer.lock().expect("lock").abilities.smtputf8 = false;
    w.net.domain("a.test", &[("mx", accepts())]);
    let id = w.send("t", super::DAY, &[("a.test", &["grün@a.test", "plain@a.test", "u@bücher.a.test"])]);
    seconds(5).await;
    assert_eq!(w.states(id), [FAILED, RecipientState::Delivered, RecipientState::Delivered]);
    assert_eq!(w.net.transactions()[0].recipients, ["plain@a.test", "u@xn--bcher-kva.a.test"]);
    let bounce = &w.bounces()[0];
    assert!(bounce.contains("Final-Recipient: utf-8; gr\\x{FC}n@a.test"), "{bounce}");
    assert!(bounce.contains("Status: 5.6.7"), "{bounce}");
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_size_fails_at_once() {
    let w = World::new();
    w.net.offer.lock().expect("lock").max_size = Some(5);
    w.net.domain("a.test", &[("mx", accepts())]);
    let id = w.to("u@a.test");
    seconds(5).await;
    assert_eq!((w.states(id), w.kinds(id)), (vec![FAILED], told("email.failed")));
    assert!(w.bounces()[0].contains("Status: 5.3.4"));
}

/// The host has both families, and the pool one of them: that is no reason to try again what the
/// host will never take.
#[tokio::test(start_paused = true)]
async fn a_pool_of_one_family_makes_no_failure_temporary() {
    let w = World::from_pool(&["192.0.2.1"]);
    w.net.dual.store(true, Ordering::Relaxed);
    w.net.offer.lock().expect("lock").max_size = Some(5);
    w.net.domain("a.test", &[("mx", accepts())]);
    let id = w.to("u@a.test");
    seconds(5).await;
    assert_eq!((w.states(id), w.kinds(id)), (vec![FAILED], told("email.failed")));
    assert!(w.bounces()[0].contains("Status: 5.3.4"));

    let w = World::from_pool(&["192.0.2.1"]);
    w.net.dual.store(true, Ordering::Relaxed);
    w.net.offer.lock().expect("lock").abilities.smtputf8 = false;
    w.net.domain("a.test", &[("mx", accepts())]);
    let id = w.send("t", super::DAY, &[("a.test", &["grün@a.test"])]);
    seconds(5).await;
    assert_eq!(w.states(id), [FAILED]);
}

/// Whichever of the addresses is lost, and whichever a site begins with.
#[tokio::test(start_paused = true)]
async fn a_source_that_is_lost_delays_no_more_than_one_attempt() {
    for dual in [false, true] {
        let mut delayed = 0;
        for site in 0..8 {
            let w = World::from_pool(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
            w.net.dual.store(dual, Ordering::Relaxed);
            w.net.lost_sources.lock().expect("lock").push("192.0.2.1".parse().expect("an address"));
            let host = format!("mx{site}");
            w.net.domain("a.test", &[(&host, accepts())]);
            let id = w.to("u@a.test");
            seconds(5).await;
            if w.states(id) != [RecipientState::Delivered] {
                delayed += 1;
                let event = format!("{:?}", w.queue.events()[0].event);
                assert!(event.contains("4.3.5") && event.contains("cannot send from 192.0.2.1"), "{event}");
                seconds(80).await;
                assert_eq!(w.states(id), [RecipientState::Delivered]);
            }
            let id = w.to("again@a.test");
            seconds(5).await;
            assert_eq!(w.states(id), [RecipientState::Delivered], "and it is known from then on");
        }
        assert!((1..8).contains(&delayed), "{delayed}");
    }
}

#[tokio::test(start_paused = true)]
async fn inner_addresses_and_ourselves_are_never_connected_to() {
    let w = World::with(|d| d.own_addresses = vec!["203.1.113.0:25".parse().expect("address")]);
    w.net.domain("a.test", &[("mx", accepts())]);
    let id = w.to("u@a.test");
    seconds(5).await;
    assert_eq!((w.states(id), w.net.opened("mx").len()), (vec![FAILED], 0));
    assert!(w.bounces()[0].contains("Status: 5.4.6"));
}

fn smarthost(host: &str) -> World {
    smarthost_with(host, TlsPolicy::None)
}

fn smarthost_with(host: &str, tls: TlsPolicy) -> World {
    World::with(|d| {
        d.smarthost =
            Some(crate::settings::SmarthostSettings { host: host.to_owned(), port: 587, tls, auth: None });
    })
}

#[tokio::test(start_paused = true)]
async fn a_smarthost_is_looked_up_by_our_own_resolver() {
    let w = smarthost("smart.test");
    w.net.domain("smart.test", &[("smart.test", accepts())]);
    let id = w.to("u@nowhere.test");
    seconds(1).await;
    assert_eq!((w.states(id), w.net.opened("smart.test").len()), (vec![RecipientState::Delivered], 1));
}

#[tokio::test(start_paused = true)]
async fn mail_waits_while_the_smarthost_does_not_exist() {
    let w = smarthost("smart.test");
    let id = w.to("u@nowhere.test");
    seconds(1).await;
    assert_eq!(w.kinds(id), ["email.delivery_delayed"]);
    let status = w.queue.events()[0].event.attempt().map(|attempt| attempt.status.clone());
    assert_eq!(status.as_deref(), Some("4.3.5"));
    w.net.domain("smart.test", &[("smart.test", accepts())]);
    seconds(120).await;
    assert_eq!(w.states(id), [RecipientState::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn what_one_host_cannot_take_goes_to_the_next_that_can() {
    let w = World::new();
    w.net.offers("mx1", false, None);
    w.net.offers("mx2", true, Some(5));
    w.net.domain("a.test", &[("mx1", accepts()), ("mx2", accepts()), ("mx3", accepts())]);
    let id = w.send("t", super::DAY, &[("a.test", &["grün@a.test", "plain@a.test"])]);
    seconds(5).await;
    assert_eq!(w.states(id), [RecipientState::Delivered, RecipientState::Delivered]);
    let taken: Vec<(String, Vec<String>)> =
        w.net.transactions().into_iter().map(|t| (t.host, t.recipients)).collect();
    let to = |host: &str, who: &str| (host.to_owned(), vec![who.to_owned()]);
    assert_eq!(taken, [to("mx1", "plain@a.test"), to("mx3", "grün@a.test")]);
    assert_eq!(w.kinds(id), ["email.delivered", "email.delivered"]);
    // The next message begins with the best host again.
    let id = w.to("plain@a.test");
    seconds(5).await;
    assert_eq!(
        (w.states(id), w.net.transactions()[2].host.as_str()),
        (vec![RecipientState::Delivered], "mx1")
    );
}

#[tokio::test(start_paused = true)]
async fn it_fails_for_good_when_no_host_can_take_it_and_each_is_asked_once() {
    let w = World::new();
    w.net.offers("mx1", true, Some(5));
    w.net.offers("mx2", false, None);
    w.net.domain("a.test", &[("mx1", accepts()), ("mx2", accepts())]);
    let id = w.to("grün@a.test");
    seconds(5).await;
    assert_eq!((w.states(id), w.net.transactions().len()), (vec![FAILED], 0));
    assert_eq!(["mx1", "mx2"].map(|host| w.net.opened(host).len()), [1, 1]);
    let bounce = &w.bounces()[0];
    assert!(bounce.contains("Status: 5.3.4") && bounce.contains("Remote-MTA: dns; mx1"), "{bounce}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_reached_may_be_the_one_that_takes_it() {
    let w = World::new();
    w.net.offers("mx1", true, Some(5));
    w.net.domain("a.test", &[("mx1", accepts()), ("mx2", Host::Refuses)]);
    let id = w.to("u@a.test");
    seconds(5).await;
    assert_eq!(w.kinds(id), ["email.delivery_delayed"]);
    w.net.hosts.lock().expect("lock").insert("mx2".into(), accepts());
    seconds(120).await;
    assert_eq!(
        (w.states(id), w.net.transactions()[0].host.as_str()),
        (vec![RecipientState::Delivered], "mx2")
    );
}

/// The worker's kept connection is to a host that cannot take the next message: the others are
/// asked.
#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_is_of_no_use_is_left() {
    let w = World::with(|d| d.connections_per_site = 1);
    w.net.offers("mx1", false, None);
    w.net.domain("a.test", &[("mx1", accepts()), ("mx2", accepts())]);
    let ids = [w.to("one@a.test"), w.to("grün@a.test"), w.to("two@a.test")];
    seconds(5).await;
    for id in ids {
        assert_eq!(w.states(id), [RecipientState::Delivered]);
    }
    let mut hosts: Vec<(String, String)> =
        w.net.transactions().into_iter().map(|t| (t.recipients.concat(), t.host)).collect();
    hosts.sort();
    let to = |who: &str, host: &str| (who.to_owned(), host.to_owned());
    assert_eq!(hosts, [to("grün@a.test", "mx2"), to("one@a.test", "mx1"), to("two@a.test", "mx1")]);
}

/// RFC 3464 section 2.3.6: a diagnostic code is what the remote said, and nothing else is called
/// `smtp`.
#[tokio::test(start_paused = true)]
async fn an_expired_delivery_is_told_with_the_last_reply() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", refuses("u", 450, Some((4, 2, 0))))]);
    let id = w.send("t", super::DAY, &[("a.test", &["u@a.test"])]);
    seconds(super::DAY.as_secs() + 60).await;
    assert!(w.kinds(id).ends_with(&told("email.expired")));
    let bounce = &w.bounces()[0];
    assert!(bounce.contains("Status: 5.4.7\r\nRemote-MTA: dns; mx\r\n"), "{bounce}");
    assert!(bounce.contains("Diagnostic-Code: smtp; 450 no?[31m thanks\r\n"), "{bounce}");
    assert!(bounce.contains("it could not be delivered within 1 day."), "{bounce}");
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_was_never_answered_is_named_in_the_bounce() {
    let silent =
        || ResolveError::Temporary { name: "mute.test".into(), detail: "MX: request timed out".into() };
    for expire in [super::DAY, std::time::Duration::ZERO] {
        let w = World::new();
        w.net.mx.lock().expect("lock").insert("mute.test".into(), Err(silent()));
        w.send("t", expire, &[("mute.test", &["u@mute.test"])]);
        seconds(super::DAY.as_secs() + 60).await;
        let bounce = &w.bounces()[0];
        assert!(bounce.contains("Details: DNS for mute.test did not answer: MX: request timed"), "{bounce}");
        assert!(bounce.contains("Diagnostic-Code: x-relevo; DNS for mute.test did not answer"), "{bounce}");
        assert!(bounce.contains("Status: 5.4.7") && !bounce.contains("Remote-MTA"), "{bounce}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_expired_while_the_relay_was_away_has_one_more_attempt() {
    for (host, end) in [(accepts(), "email.delivered"), (refuses("u", 450, None), "email.expired")] {
        let w = World::new();
        w.net.domain("a.test", &[("mx", host)]);
        // In the queue as the relay starts, and over by then.
        let id = w.send("t", std::time::Duration::ZERO, &[("a.test", &["u@a.test"])]);
        seconds(5).await;
        assert_eq!(w.net.transactions().len(), 1, "{end}");
        assert_eq!(w.kinds(id).first().map(String::as_str), Some(end));
        assert!(!w.states(id).contains(&RecipientState::Pending));
    }
    let w = World::new();
    w.net.domain("a.test", &[("mx", accepts())]);
    seconds(60).await;
    let id = w.send("t", std::time::Duration::ZERO, &[("a.test", &["u@a.test"])]);
    seconds(5).await;
    assert_eq!((w.net.transactions().len(), w.kinds(id)), (0, told("email.expired")));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_keep_a_site_down() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", Host::Refuses)]);
    w.to("1@a.test");
    seconds(5).await;
    assert_eq!(w.net.opened("mx").len(), 1);
    w.clock.store(-86_400_000, Ordering::Relaxed);
    w.net.hosts.lock().expect("lock").insert("mx".into(), accepts());
    seconds(120).await;
    let id = w.to("2@a.test");
    seconds(5).await;
    assert_eq!(w.states(id), [RecipientState::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn every_failure_says_what_it_means() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", refuses("bad", 550, Some((5, 1, 1))))]);
    w.net.mx.lock().expect("lock").insert("null.test".into(), Err(ResolveError::NullMx("null.test".into())));
    w.net.domain("down.test", &[("gone", Host::Refuses)]);
    let refused = w.send("t", super::DAY, &[("a.test", &["bad@a.test", "good@a.test"])]);
    let (null, down) = (w.to("u@null.test"), w.to("u@down.test"));
    seconds(5).await;
    let mut answers = w.classifications(refused).into_iter().collect::<Vec<_>>();
    answers.sort_by_key(Option::is_none);
    let [Some(answer), None] = &answers[..] else { unreachable!("{answers:?}") };
    assert_eq!((answer.category.as_str(), answer.rule.as_str()), ("550", "rcpt"));
    assert_eq!((answer.doc.as_deref(), answer.explanation.en.as_str()), (Some("mx"), "mta1.example"));
    let category = |item| w.classifications(item)[0].clone().expect("an answer").category;
    assert_eq!(category(null), "domain_takes_no_mail");
    assert_eq!(category(down), "connection_failed");
    let why = w.handle.why(down).await.expect("a store").expect("it is there");
    assert!(why[0].reason.contains("connection_failed: The recipient's mail server"), "{}", why[0].reason);
}
