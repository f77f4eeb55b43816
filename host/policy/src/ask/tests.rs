//! Asked on one thread with what comes first, or apart from it.

use std::sync::atomic::{AtomicUsize, Ordering};

use relevo_mailkit::model::Report;
use relevo_relay::pipeline::{Envelope, ForwardPath, Origin, Protocol, Via};

use super::*;
use crate::test_world::{World, add};

fn report() -> Report {
    Report {
        authors: Vec::new(),
        additions: Vec::new(),
        edits: Vec::new(),
        parts: Vec::new(),
        fixes: Vec::new(),
        eight_bit: false,
        utf8_header: false,
        signed: false,
        message_id: "<m@a.test>".into(),
        from_field: Vec::new(),
        subject: String::new(),
        received: 0,
        fields: Vec::new(),
        fields_left_out: 0,
    }
}

/// About mail of tenant `a`.
fn question(world: &World) -> Question {
    let settings = world.settings.get();
    let to = ForwardPath { address: "b@b.example".into(), domain: "b.example".into() };
    let via = Via { protocol: Protocol::Http, peer: None, helo: None, tls: None, identity: None };
    Question {
        tenant: Arc::clone(&settings.tenants.by_id["a"]),
        settings,
        grants: Arc::default(),
        id: ItemId([7; 16]),
        now: 1,
        origin: Origin::Tenant("a".into()),
        via: Arc::new(via),
        envelope: Arc::new(Envelope { recipients: vec![to], ..Envelope::default() }),
        report: Arc::new(report()),
        message: Arc::new(b"\r\n".to_vec()),
        too_late: false,
    }
}

fn said(judgement: &Judgement) -> Vec<(&'static str, &str)> {
    judgement.opinions.iter().map(|opinion| (opinion.verdict, opinion.reason.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_first_is_done_on_the_plugins_thread() {
    let world = World::new();
    let plugins = world.open().await;
    let asked = question(&world);
    let tenant = Arc::clone(&asked.tenant);
    let nothing = plugins.judge_after(&tenant, Box::new(|| panic!("nothing is there"))).await;
    assert_eq!(nothing, Err(NotAsked::Nothing));

    add(&plugins, "a", 1).await.expect("is added");
    let calls =
        || plugins.place("a", "list").expect("in use").policy.as_ref().expect("loaded").metrics().calls;
    let before = calls();
    let nothing = plugins.judge_after(&tenant, Box::new(|| None)).await;
    assert_eq!((nothing, calls()), (Err(NotAsked::Nothing), before.clone()), "there is no question");

    let first: First = Box::new(move || {
        let thread = std::thread::current();
        assert!(thread.name().is_some_and(|name| name.starts_with("plugin-")), "{thread:?}");
        Some(asked)
    });
    let judgement = plugins.judge_after(&tenant, first).await.expect("is asked");
    assert_eq!(said(&judgement), [("accept", "")]);
    assert_ne!(calls(), before);
    assert_eq!(said(&plugins.judge(question(&world)).await), [("accept", "")], "and apart");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_answered_by_the_failure_policy_at_once() {
    let world = World::new();
    let plugins = world.open().await;
    add(&plugins, "a", 1).await.expect("is added");
    let late = Question { too_late: true, ..question(&world) };
    let judgement = plugins.judge(late).await;
    assert_eq!(said(&judgement), [("fault", "no thread was free in time")]);
    assert!(judgement.faulted);

    // Its breaker opens.
    let place = plugins.place("a", "list").expect("in use");
    while let Ok(permit) = place.enter(plugins.monotonic()) {
        place.leave(permit, Some(true), plugins.monotonic());
    }
    let called = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&called);
    let first: First = Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        None
    });
    let tenant = Arc::clone(&question(&world).tenant);
    assert_eq!(plugins.judge_after(&tenant, first).await, Err(NotAsked::Nothing));
    assert_eq!(called.load(Ordering::SeqCst), 0, "nobody waits for a thread");
    assert_eq!(said(&plugins.judge(question(&world)).await), [("fault", "not called after repeated faults")]);
}
