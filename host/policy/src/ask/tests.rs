//! Asked about a message of a tenant.

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
fn request(world: &World) -> PolicyRequest {
    let settings = world.settings.get();
    let to = ForwardPath { address: "b@b.example".into(), domain: "b.example".into() };
    let via = Via { protocol: Protocol::Http, peer: None, helo: None, tls: None, identity: None };
    PolicyRequest {
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
    }
}

fn said(result: &PolicyResult) -> Vec<(&str, &str)> {
    result.answers.iter().map(|answer| (answer.verdict.as_str(), answer.reason.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_with_an_open_breaker_is_answered_for() {
    let world = World::new();
    let plugins = world.open().await;
    let asked = request(&world);
    assert!(!plugins.applies_to(&asked.tenant), "nothing is in use");
    add(&plugins, "a", 1).await.expect("is added");
    assert!(plugins.applies_to(&asked.tenant));
    assert_eq!(said(&plugins.check(&asked).await), [("accept", "")]);

    let place = plugins.place("a", "list").expect("in use");
    while let Ok(permit) = place.enter(plugins.monotonic()) {
        place.leave(permit, Some(true), plugins.monotonic());
    }
    let result = plugins.check(&asked).await;
    assert_eq!(said(&result), [("fault", "not called after repeated faults")]);
    assert!(result.faulted);
}
