//! Asked about a message of a tenant.

use relevo_mailkit::envelope::{Envelope, Recipient};
use relevo_mailkit::model::Report;
use relevo_relay::directory::{DirectoryEntries, Tenant};
use relevo_relay::pipeline::{Origin, Protocol, Via};
use relevo_relay::settings::PluginSettings;

use super::*;
use crate::test_world::{World, add, settings};

fn report() -> Report {
    Report {
        authors: Vec::new(),
        added_headers: Vec::new(),
        edits: Vec::new(),
        parts: Vec::new(),
        fixes: Vec::new(),
        eight_bit: false,
        utf8_header: false,
        signed: false,
        list_unsubscribe: false,
        feedback_id: false,
        cfbl: false,
        tls_optional: false,
        message_id: "<m@a.test>".into(),
        from_field: Vec::new(),
        subject: String::new(),
        received: 0,
        headers: Vec::new(),
        headers_left_out: 0,
        options: Ok(relevo_mailkit::model::MessageOptions::default()),
        content_fields: Vec::new(),
    }
}

/// About mail of tenant `a`.
fn request(world: &World) -> PolicyRequest {
    let settings = world.settings.get();
    let to = Recipient::new("b@b.example", "b.example");
    let via = Via { protocol: Protocol::Http, peer: None, helo: None, tls: None, auth_user: None };
    PolicyRequest {
        tenant: Arc::clone(settings.directory.tenant("a").expect("configured")),
        settings,
        grants: Arc::default(),
        id: ItemId([7; 16]),
        now: 1,
        origin: Origin::Tenant("a".into()),
        via: Arc::new(via),
        envelope: Arc::new(Envelope { recipients: vec![to], ..Envelope::default() }),
        report: Arc::new(report()),
        message: Arc::new(b"\r\n".to_vec()),
        options: Arc::default(),
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

    let plugin = plugins.active.get("a", "list").expect("in use");
    while let Ok(permit) = plugin.enter(plugins.clock.monotonic()) {
        plugin.leave(permit, Some(true), plugins.clock.monotonic());
    }
    let result = plugins.check(&asked).await;
    assert_eq!(said(&result), [("fault", "not called after repeated faults")]);
    assert!(result.faulted);
}

/// What was used is known when a call has ended, and nothing is called before that much time has
/// passed.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_cpu_time_is_used_up_is_answered_for() {
    let world = World::new();
    let plugins = world.open().await;
    add(&plugins, "a", 1).await.expect("is added");
    let mut little = settings(1_000);
    let mut tenant = Tenant::clone(little.directory.tenant("a").expect("configured"));
    let mut plugin = PluginSettings::clone(&tenant.plugins[0]);
    plugin.tenant_cpu = Duration::from_nanos(1);
    tenant.plugins[0] = Arc::new(plugin);
    let by_id = [("a".to_owned(), Arc::new(tenant))].into();
    little.directory = DirectoryEntries { by_id, ..DirectoryEntries::default() }.into();
    world.settings.replace(little);
    plugins.refresh().await;
    let asked = request(&world);
    assert_eq!(said(&plugins.check(&asked).await), [("accept", "")], "there is something left");
    let result = plugins.check(&asked).await;
    assert_eq!(said(&result), [("fault", "not called: its tenant's CPU time for plugins is used up")]);
    assert!(result.faulted);
    let plugin = plugins.active.get("a", "list").expect("in use");
    assert_eq!((plugin.breaker(), plugin.over_quotas().0), (("closed", 0), 1), "it is no fault");
    // What is put in its place begins with what was used.
    plugins.refresh().await;
    assert_eq!(said(&plugins.check(&asked).await)[0].0, "fault");
    assert_eq!(plugins.active.get("a", "list").expect("in use").over_quotas().0, 1);
}
