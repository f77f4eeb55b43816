//! Policies of recipient domains for TLS.

use relevo_queue::RecipientState;
use relevo_smtp::client::{
    DialogueStep, Failure, TlsFailure, TlsPolicy, TlsReason, TlsRequirement, TlsaRecord,
};

use super::net::{Host, accepts};
use super::{World, seconds};
use crate::settings::SmarthostSettings;
use crate::tls::{HostTls, of_smarthost};

fn demand(w: &World, domain: &str, host: &str, tls: HostTls) {
    w.net.policies.lock().expect("lock").insert((domain.to_owned(), host.to_owned()), tls);
}

fn refuse() -> HostTls {
    let detail = "the MTA-STS policy of the domain does not name mx1";
    HostTls::Refuse(Failure::of_tls(TlsFailure::NotInPolicy, DialogueStep::Connect, detail))
}

fn verified(reason: TlsReason) -> TlsRequirement {
    TlsRequirement::new(TlsPolicy::Verified, reason)
}

fn log(w: &World) -> Vec<String> {
    w.net.tls_log.lock().expect("lock").clone()
}

#[tokio::test(start_paused = true)]
async fn a_policy_holds_up_the_mail_of_its_domain_alone() {
    let w = World::new();
    w.net.domain("a.test", &[("mx1", accepts())]);
    w.net.domain("b.test", &[("mx1", accepts())]);
    demand(&w, "a.test", "mx1", refuse());
    let a = w.to("u@a.test");
    let before = w.to("1@b.test");
    seconds(10).await;
    let after = w.to("2@b.test");
    seconds(10).await;
    assert_eq!(w.states(a), [RecipientState::Pending]);
    assert_eq!(w.states(before), [RecipientState::Delivered]);
    assert_eq!(w.states(after), [RecipientState::Delivered], "the site is not down");
    let why = w.handle.why(a).await.expect("a store").expect("it is there");
    assert!(why[0].reason.contains("MTA-STS policy"), "{}", why[0].reason);
    assert_eq!(why[0].last.as_ref().map(|last| last.status.as_str()), Some("4.7.5"));
    assert!(log(&w).contains(&"a.test mx1 validation-failure".to_owned()), "{:?}", log(&w));
    assert!(!log(&w).iter().any(|line| line == "a.test mx1 ok"));
    w.net.policies.lock().expect("lock").clear();
    seconds(120).await;
    assert_eq!(w.states(a), [RecipientState::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_may_not_be_used_is_left_out_and_another_one_takes_the_mail() {
    let w = World::new();
    w.net.domain("a.test", &[("mx1", accepts()), ("mx2", accepts())]);
    demand(&w, "a.test", "mx1", refuse());
    let id = w.to("u@a.test");
    seconds(5).await;
    assert_eq!(w.states(id), [RecipientState::Delivered]);
    assert_eq!((w.net.opened("mx1").len(), w.net.opened("mx2").len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stands_carries_no_mail_that_may_not_go_over_it() {
    let w = World::with(|d| d.connections_per_site = 1);
    for domain in ["a.test", "b.test", "c.test"] {
        w.net.domain(domain, &[("mx1", accepts())]);
    }
    let record = TlsaRecord { usage: 3, selector: 1, matching_type: 1, data: vec![0; 32] };
    let dane = TlsRequirement { tlsa: vec![record], ..verified(TlsReason::Dane) };
    demand(&w, "b.test", "mx1", HostTls::Connect(dane));
    demand(&w, "c.test", "mx1", refuse());
    for recipient in ["1@a.test", "2@a.test", "u@b.test"] {
        let id = w.to(recipient);
        seconds(1).await;
        assert_eq!(w.states(id), [RecipientState::Delivered], "{recipient}");
    }
    assert_eq!(w.net.opened("mx1").len(), 2, "the second message of a.test needs no other connection");
    let id = w.to("u@c.test");
    seconds(5).await;
    assert_eq!(w.states(id), [RecipientState::Pending]);
    assert_eq!(w.net.transactions().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn tls_that_a_policy_needs_is_never_done_without() {
    let w = World::new();
    w.net.domain("a.test", &[("mx1", Host::BreaksTls)]);
    w.net.domain("b.test", &[("mx1", Host::BreaksTls)]);
    demand(&w, "a.test", "mx1", HostTls::Connect(verified(TlsReason::MtaSts)));
    let a = w.to("u@a.test");
    seconds(5).await;
    let b = w.to("u@b.test");
    seconds(5).await;
    assert_eq!(w.states(a), [RecipientState::Pending]);
    assert_eq!(w.states(b), [RecipientState::Delivered], "it goes in clear");
    let why = w.handle.why(a).await.expect("a store").expect("it is there");
    assert!(why[0].reason.contains("needed by the MTA-STS policy"), "{}", why[0].reason);
}

#[tokio::test(start_paused = true)]
async fn events_say_what_tls_was_needed_for_and_how_it_failed() {
    let w = World::new();
    for (domain, host) in [("a.test", Host::BreaksTls), ("b.test", accepts()), ("c.test", accepts())] {
        w.net.domain(domain, &[(&format!("mx.{domain}"), host)]);
    }
    demand(&w, "a.test", "mx.a.test", HostTls::Connect(verified(TlsReason::Dane)));
    demand(&w, "b.test", "mx.b.test", refuse());
    let said = async |recipient: &str| {
        let id = w.to(recipient);
        seconds(5).await;
        let event = w.queue.events().into_iter().find(|event| event.item == Some(id)).expect("an event");
        let attempt = event.event.attempt().expect("an attempt").clone();
        (attempt.tls_policy, attempt.tls_failure)
    };
    let some = |policy: &str, failure: &str| (Some(policy.to_owned()), Some(failure.to_owned()));
    assert_eq!(said("u@a.test").await, some("dane", "validation-failure"));
    assert_eq!(said("u@b.test").await, some("mta-sts", "validation-failure"), "it is not connected to");
    assert_eq!(said("u@c.test").await, (None, None));
}

#[tokio::test(start_paused = true)]
async fn nobody_asks_for_policies_of_mail_to_a_smarthost() {
    let smarthost =
        SmarthostSettings { host: "partner.test".into(), port: 25, tls: TlsPolicy::None, auth: None };
    let w = World::with(|d| d.smarthost = Some(smarthost));
    w.net.domain("partner.test", &[("partner.test", accepts())]);
    let id = w.to("u@a.test");
    seconds(5).await;
    assert_eq!(w.states(id), [RecipientState::Delivered]);
    assert!(!log(&w).iter().any(|line| line.ends_with("asked")), "{:?}", log(&w));
}

/// The host breaks TLS: what may go in clear is delivered, and nothing else.
#[tokio::test(start_paused = true)]
async fn what_the_operator_needs_of_a_domain_is_needed_of_a_smarthost_too() {
    let (host, tls) = ("partner.test".to_owned(), TlsPolicy::Opportunistic);
    let smarthost = SmarthostSettings { host, port: 25, tls, auth: None };
    let w = World::with(|d| d.smarthost = Some(smarthost));
    w.net.domain("partner.test", &[("partner.test", Host::BreaksTls)]);
    demand(&w, "a.test", "*", HostTls::Connect(verified(TlsReason::Operator)));
    let a = w.to("u@a.test");
    seconds(5).await;
    let b = w.to("u@b.test");
    seconds(90).await;
    assert_eq!(w.states(b), [RecipientState::Delivered]);
    assert_eq!(w.states(a), [RecipientState::Pending]);
    let why = w.handle.why(a).await.expect("a store").expect("it is there");
    assert!(why[0].reason.contains("needed by [delivery] tls"), "{}", why[0].reason);
}

#[test]
fn the_strictest_need_of_a_smarthost_counts() {
    use TlsPolicy::{Implicit, None, Opportunistic, Required, Verified};
    use TlsReason::{Configured, Demanded, Operator};
    for (own, is_demanded, least, expected) in [
        (None, false, None, (None, Configured)),
        (Opportunistic, false, Required, (Required, Operator)),
        (Required, false, Required, (Required, Configured)),
        (Required, true, Required, (Verified, Demanded)),
        (None, true, Verified, (Verified, Operator)),
        (Implicit, true, Verified, (Implicit, Configured)),
    ] {
        let needed = of_smarthost(own, is_demanded, least);
        assert_eq!((needed.mode, needed.reason), expected, "{own:?} {is_demanded} {least:?}");
    }
}
