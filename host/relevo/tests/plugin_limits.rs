//! What tenants' plugins come to together, and what bounds them, in a running relay.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;

use support::plugins::{ADA, World, component};
use support::relay::relevo;

fn plugin(name: &str, more: &str) -> String {
    format!("[[tenant.plugin]]\nname = \"{name}\"\ngrants = [\"log\", \"clock\", \"kv\"]\n{more}\n")
}

#[test]
fn the_strictest_of_several_counts_in_declared_order() {
    let world = World::with("", &(plugin("first", "") + &plugin("second", "")));
    for name in ["first", "second"] {
        world.add(name, "everything");
    }
    // The later one is stricter, and the earlier one, and neither.
    world.kv("first", "verdict\thold\n");
    world.kv("second", "verdict\treject\n");
    assert!(world.sends(&[ADA], "refused by the second").starts_with("550 "));
    assert_eq!(world.event("email.rejected")["plugin"], "second");
    world.kv("second", "verdict\taccept\n");
    assert!(world.sends(&[ADA], "held by the first").starts_with("250 "));
    assert_eq!(world.event("email.held")["plugin"], "first");
    world.kv("second", "verdict\tdiscard\n");
    assert!(world.sends(&[ADA], "discarded by the second").starts_with("250 "));
    assert_eq!(world.event("email.discarded")["plugin"], "second");
    // Both refuse, alike: the first in declared order says it, and the second is not asked.
    world.kv("first", "verdict\treject\n");
    world.kv("second", "verdict\tnonsense\n");
    assert!(world.sends(&[ADA], "refused by the first").starts_with("550 "));
    assert_eq!(world.relay.events("email.rejected").last().unwrap()["plugin"], "first");
}

/// What a call used is known when it has ended. So the first one is made, and then none for as long
/// as it takes to make up for it.
#[test]
fn a_tenant_whose_cpu_time_is_used_up_is_answered_by_the_failure_policy() {
    // `busy` takes some 30 ms in a release build, and the least that can be configured is 10 ms in
    // a second.
    let limits = "settings = { case = \"busy\" }\ncpu_timeout = \"60s\"\nwall_timeout = \"120s\"";
    let world = World::with("", &format!("plugin_cpu = \"10ms\"\n{}", plugin("every", limits)));
    world.add("every", "hostile");
    let mut client = world.relay.login();
    let text = support::plugins::message("at once");
    let replies: Vec<String> =
        (0..10).map(|_| client.transact(support::plugins::SHOP, &[ADA], &text)).collect();
    assert!(replies[0].starts_with("250 "), "{replies:?}");
    assert!(replies.iter().any(|reply| reply.starts_with("451 4.3.0 ")), "{replies:?}");
    let failed = world.event("email.failed");
    let reason = failed["policies"][0]["reason"].as_str().unwrap();
    assert_eq!(reason, "not called: its tenant's CPU time for plugins is used up", "{failed}");
    let metrics = String::from_utf8(world.relay.get("/metrics").body).unwrap();
    let over = metrics.lines().find(|l| l.starts_with("relevo_plugin_over_quota_total{")).unwrap();
    assert!(!over.ends_with(" 0"), "{over}");
    assert_eq!(world.listed("every")["breaker"], "closed", "none of its faults");
}

#[test]
fn without_a_relay_no_data_directory_is_made() {
    let mut world = World::with("", &plugin("every", ""));
    world.relay.stop();
    let data = world.relay.folder.join("data");
    fs::rename(&data, world.relay.folder.join("elsewhere")).unwrap();
    let config = world.relay.config();
    let file = component("everything");
    let args = ["plugin", "--config", config.to_str().unwrap(), "add", "--tenant", "acme", "--name", "every"];
    let (ok, said) = relevo(&[&args[..], &[file.to_str().unwrap()]].concat(), "");
    assert!(!ok && said.contains("there is no data directory"), "{said}");
    assert!(!data.exists());
}

#[test]
fn an_empty_list_of_header_fields_allows_none() {
    let world = World::with("", &plugin("every", "headers = []"));
    world.refuses("every", &component("everything"), "a header field that is not allowed");
    world.add("every", "accept-all");
    assert!(world.sends(&[ADA], "without fields of its own").starts_with("250 "));
}
