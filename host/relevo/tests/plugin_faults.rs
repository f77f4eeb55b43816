//! What a plugin's faults come to as time goes by, and what becomes of mail that it holds, in a
//! running relay.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use support::client::Client;
use support::plugins::{ADA, SHOP, World, everything, message};
use support::wait_for;

/// The value of a metric of the plugin `every` with this label.
fn metric(world: &World, name: &str, label: &str) -> Option<u64> {
    let metrics = String::from_utf8(world.relay.get("/metrics").body).unwrap();
    let of = |l: &&str| l.starts_with(&format!("{name}{{")) && l.contains("\"every\"") && l.contains(label);
    metrics.lines().find(of).and_then(|l| l.rsplit(' ').next()?.parse().ok())
}

fn send(client: &mut Client, to: &str, subject: &str) -> String {
    client.transact(SHOP, &[to], &message(subject))
}

/// Why the last message that was answered by the failure policy was.
fn last_reason(world: &World) -> String {
    let failed = world.relay.events("email.failed");
    let last = failed.last().unwrap();
    assert_eq!(
        (&last["plugin"], &last["policies"][0]["verdict"]),
        (&"every".into(), &"fault".into()),
        "{last}"
    );
    last["policies"][0]["reason"].as_str().unwrap().to_owned()
}

const BAD: &str = "bad@reader.test";
const BROKE: &str = "decide: error (guest)";
const NOT_CALLED: &str = "not called after repeated faults";

#[test]
fn a_plugin_that_breaks_is_put_aside_tried_again_and_used_again() {
    let world =
        World::with("", &everything("breaker_faults = 3\nbreaker_open = \"1s\"\nbreaker_longest = \"1s\""));
    world.add("every", "everything");
    // It can make no sense of this for one recipient. Other data would make it anew, with a breaker
    // that is closed.
    world.kv("every", &format!("recipient:{BAD}\tnonsense\n"));
    let opened = || metric(&world, "relevo_plugin_breaker_opened_total", "").unwrap();
    let open = || metric(&world, "relevo_plugin_breaker_open", "").unwrap();
    let mut client = world.relay.login();
    assert!(send(&mut client, ADA, "well").starts_with("250 "));
    assert_eq!((open(), opened(), world.listed("every")["breaker"].as_str()), (0, 0, Some("closed")));

    // Open: what it would accept is answered by the failure policy too. A machine that needs longer
    // than a second for this does it again.
    wait_for("it is put aside", || {
        for n in 0..3 {
            let reply = send(&mut client, BAD, &format!("bad {n}"));
            assert!(reply.starts_with("451 4.3.0 "), "{reply}");
        }
        let reply = send(&mut client, ADA, "well, but put aside");
        assert!(reply.starts_with("451 4.3.0 ") || reply.starts_with("250 "), "{reply}");
        reply.starts_with("451 ").then_some(())
    });
    assert_eq!(last_reason(&world), NOT_CALLED);
    // Until a call that is made, nothing closes it: time alone does not.
    assert_eq!((open(), world.listed("every")["breaker"].as_str()), (1, Some("open")));
    let before = opened();
    assert!(before >= 1);

    // Half open: one message is a trial. It fails, and those after it are not asked about.
    wait_for("a trial that fails", || {
        assert!(send(&mut client, BAD, "trial").starts_with("451 4.3.0 "));
        (last_reason(&world) == BROKE).then_some(())
    });
    assert_eq!((open(), opened()), (1, before + 1));

    // The next one succeeds.
    wait_for("a trial that succeeds", || {
        send(&mut client, ADA, "well again").starts_with("250 ").then_some(())
    });
    assert_eq!(
        (open(), opened(), world.listed("every")["breaker"].as_str()),
        (0, before + 1, Some("closed"))
    );
    assert!(world.sink.wait("Subject: well again").message.contains("X-Everything: blue"));
    // It is asked about each of the next ones, and a single fault is none too many.
    assert!(send(&mut client, BAD, "once").starts_with("451 "));
    assert_eq!(last_reason(&world), BROKE);
    assert!(send(&mut client, ADA, "and well").starts_with("250 "));
    assert_eq!((open(), opened()), (0, before + 1));
    let observe = || metric(&world, "relevo_plugin_calls_total", "export=\"observe\"");
    wait_for("it heard of all this", || observe().filter(|calls| *calls > 0));
}

/// A plugin has one breaker, whatever it breaks on.
#[test]
fn a_plugin_that_breaks_on_outcomes_is_not_called_any_more() {
    let plugin = "[[tenant.plugin]]\nname = \"every\"\ngrants = [\"log\", \"clock\", \"kv\"]\n\
        settings = { case = \"observe-trap\" }\nbreaker_faults = 1\nbreaker_open = \"1h\"\n\
        cpu_timeout = \"5s\"\nwall_timeout = \"60s\"\n";
    let world = World::with("", plugin);
    world.add("every", "hostile");
    assert_eq!(metric(&world, "relevo_plugin_breaker_open", ""), Some(0));
    assert!(world.sends(&[ADA], "told").starts_with("250 "));
    world.sink.wait("Subject: told");
    wait_for("it broke", || (metric(&world, "relevo_plugin_breaker_open", "") == Some(1)).then_some(()));
    assert_eq!(metric(&world, "relevo_plugin_breaker_opened_total", ""), Some(1));
    assert_eq!(metric(&world, "relevo_plugin_faults_total", "kind=\"trap\""), Some(1));
    assert_eq!(metric(&world, "relevo_plugin_up", ""), Some(1));
    let fault = world.event("plugin.fault");
    assert_eq!((&fault["plugin"], &fault["fault"]), (&"every".into(), &"observe: trap (guest)".into()));
    assert_eq!((&fault["digest"], &fault["count"]), (&world.listed("every")["digest"], &1.into()));
    let listed = world.listed("every");
    assert_eq!(listed["breaker"], "open");
    assert!(listed["last_fault"]["fault"].as_str().unwrap().starts_with("observe Trap (Guest)"), "{listed}");
    assert!(world.relay.log().contains("is not called after repeated faults"));
    // In numbers that a query can name.
    assert!(metric(&world, "relevo_plugin_cpu_seconds_bucket", "le=\"0.025\"").is_some());

    // Its failure policy answers, and what it is not told is counted.
    assert!(world.sends(&[ADA], "not asked").starts_with("451 4.3.0 "));
    assert_eq!(last_reason(&world), NOT_CALLED);
    wait_for("what it was not told is counted", || {
        let metrics = String::from_utf8(world.relay.get("/metrics").body).unwrap();
        metrics.contains("relevo_plugin_events_dropped_total 1\n").then_some(())
    });
    assert_eq!(metric(&world, "relevo_plugin_faults_total", "kind=\"trap\""), Some(1), "it was told once");
}

/// Told of outcomes it may take as long as any other call; then it is stopped, and asked about the
/// next message as before.
#[test]
fn a_plugin_that_loops_over_outcomes_is_stopped_and_goes_on_deciding() {
    let plugin = "[[tenant.plugin]]\nname = \"every\"\ngrants = [\"log\", \"clock\", \"kv\"]\n\
        settings = { case = \"observe-loop\" }\nbreaker_faults = 1000\ncpu_timeout = \"300ms\"\nwall_timeout = \"60s\"\n";
    let world = World::with("", plugin);
    world.add("every", "hostile");
    // A kind is there from its first fault on.
    let deadlines = || metric(&world, "relevo_plugin_faults_total", "kind=\"deadline\"").unwrap_or(0);
    for n in 1..=3 {
        let before = deadlines();
        assert!(world.sends(&[ADA], &format!("outcome {n}")).starts_with("250 "));
        world.sink.wait(&format!("Subject: outcome {n}"));
        wait_for("it was stopped", || (deadlines() > before).then_some(()));
    }
    let listed = world.listed("every");
    assert_eq!(listed["breaker"], "closed");
    assert!(world.relay.events("email.failed").is_empty(), "it answered about every message");
}

#[test]
fn held_mail_that_nobody_releases_goes_back_to_its_sender() {
    // What is not held has much longer.
    let world = World::with("[plugins]\nhold_expire = \"2s\"\n", &everything(""));
    world.add("every", "everything");
    world.kv("every", "verdict\thold\n");
    let reply = world.sends(&[ADA, "bob@reader.test"], "for review");
    assert!(reply.starts_with("250 "), "{reply}");
    let id = reply.split_whitespace().last().unwrap().to_owned();
    assert_eq!(world.event("email.held")["message_id"], id.as_str());

    let bounce = world.sink.wait("multipart/report");
    assert_eq!((bounce.from.as_str(), bounce.to), ("", vec![SHOP.to_owned()]));
    for line in [
        format!("Final-Recipient: rfc822; {ADA}"),
        "Final-Recipient: rfc822; bob@reader.test".to_owned(),
        "Action: failed".to_owned(),
        "Status: 5.4.7".to_owned(),
        "it was held and not released in time".to_owned(),
        "Subject: for review".to_owned(),
    ] {
        assert!(bounce.message.contains(&line), "{line}: {}", bounce.message);
    }
    // Why a plugin held it is not for its sender.
    assert!(!bounce.message.contains("held by"), "{}", bounce.message);
    let expired = world.relay.events("email.expired");
    let to: Vec<_> = expired.iter().map(|e| e["recipient"].as_str().unwrap()).collect();
    assert_eq!(to, [ADA, "bob@reader.test"]);
    for event in expired {
        assert_eq!(
            (event["message_id"].as_str(), event["status"].as_str()),
            (Some(id.as_str()), Some("4.4.7"))
        );
        assert_eq!(event["reason"], "it was held and not released in time");
        assert!(event["delay_ms"].as_u64().unwrap() >= 2_000, "{event}");
    }
    // Nothing is left of it, and it was never sent.
    wait_for("the queue is empty", || {
        (world.relay.queue(&["list", "--json"]).1.trim() == "[]").then_some(())
    });
    assert!(!world.relay.queue(&["release", &id]).0);
    assert_eq!(world.sink.all().len(), 1, "the bounce alone");
}
