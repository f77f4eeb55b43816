//! Recordings of tenants' plugins and their replay, and the command without a relay, with real
//! components.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;

use support::plugins::{ADA, BLOCK_LIST, SHOP, World, component, everything};
use support::relay::{Relay, relevo};
use support::wait_for;

/// Of `relevo plugin replay`, which must succeed.
fn replayed(world: &World, name: &str, more: &[&str]) -> serde_json::Value {
    let said = world.does(&["replay"], name, &[more, &["--json"]].concat());
    serde_json::from_str(&said).unwrap()
}

fn counts(report: &serde_json::Value) -> [u64; 4] {
    ["replayed", "same", "differing", "faults"].map(|key| report[key].as_u64().unwrap())
}

/// All octets below the recordings of a plugin.
fn recorded_octets(relay: &Relay, plugin: &str) -> Vec<u8> {
    let directory = relay.folder.join("data/plugins/recordings").join(plugin);
    let files = fs::read_dir(directory).unwrap();
    files.flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

fn has(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|w| w.eq_ignore_ascii_case(text.as_bytes()))
}

#[test]
fn unredacted_recordings_give_the_same_verdicts() {
    let mut world = World::with("", &everything("record = 50\nrecord_unredacted = true"));
    world.add("every", "everything");
    let digest = world.listed("every")["digest"].as_str().unwrap().to_owned();
    let report = replayed(&world, "every", &[]);
    assert_eq!(counts(&report), [0, 0, 0, 0], "{report}");

    // By the data, by the recipient, by the body, and with a fault.
    assert!(world.sends(&[ADA], "accepted").starts_with("250 "));
    world.kv("every", "verdict\thold\nrecipient:bob@reader.test\treject\n");
    assert!(world.sends(&[ADA, "bob@reader.test"], "held and refused").starts_with("250 "));
    world.kv("every", "verdict\tnonsense\n");
    assert!(world.sends(&[ADA], "fault").starts_with("451 "));
    world.kv("every", "");
    let text = format!("From: {SHOP}\r\nSubject: body\r\n\r\nFORBIDDEN\r\n");
    assert!(world.relay.login().transact(SHOP, &[ADA], &text).starts_with("550 5.6.0 "));
    // A body that is too large to be recorded.
    let large = format!("{text}{}", "0123456789abcdef\r\n".repeat(70_000));
    assert!(world.relay.login().transact(SHOP, &[ADA], &large).starts_with("550 5.6.0 "));

    // Other data today, and another process.
    world.kv("every", "verdict\treject\nrecipient:ada@reader.test\tdiscard\n");
    world.relay.stop();
    world.relay.spawn();
    let report = replayed(&world, "every", &[]);
    assert_eq!(counts(&report), [4, 4, 0, 1], "{report}");
    assert_eq!((&report["not_replayable"], &report["redacted"]), (&1.into(), &0.into()));
    assert_eq!((&report["other_data"], &report["finished"]), (&0.into(), &true.into()), "{report}");
    assert_eq!(counts(&replayed(&world, "every", &["--digest", &digest[..12]])), [4, 4, 0, 1]);
    // The last two: the one with a large body, and the one before it.
    assert_eq!(counts(&replayed(&world, "every", &["--last", "2"])), [1, 1, 0, 0]);
    let (ok, said) = world.plugin(&["replay", "--tenant", "acme", "--name", "every", "--digest", "beef"]);
    assert!(!ok && said.contains("names no version"), "{said}");
    // It left nothing behind: neither mail, nor events, nor counts of the version that is in use.
    assert_eq!(world.listed("every")["breaker"], "closed");
    let metrics = String::from_utf8(world.relay.get("/metrics").body).unwrap();
    let called = |l: &&str| l.starts_with("relevo_plugin_calls_total{");
    assert!(metrics.lines().filter(called).all(|l| l.ends_with(" 0")), "{metrics}");

    // A component that was not added: compared, and forgotten.
    let code = world.relay.folder.join("data/plugins/code");
    let compiled = || {
        let mut names: Vec<_> = fs::read_dir(&code).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = compiled();
    let refused = world.plugin(&[
        "replay",
        "--tenant",
        "acme",
        "--name",
        "every",
        "--component",
        component("sockets").to_str().unwrap(),
    ]);
    assert!(!refused.0 && refused.1.contains("wasi:sockets"), "{}", refused.1);
    // `accept-all` takes no settings, which the configuration has.
    let text = fs::read_to_string(world.relay.config()).unwrap();
    let without = text.replace("settings = { tag = \"blue\" }\n", "");
    fs::write(world.relay.config(), without).unwrap();
    world.relay.reload();
    let accept_all = component("accept-all");
    let report = wait_for("the reload", || {
        let (ok, said) = world.plugin(&[
            "replay",
            "--tenant",
            "acme",
            "--name",
            "every",
            "--json",
            "--component",
            accept_all.to_str().unwrap(),
        ]);
        ok.then(|| serde_json::from_str::<serde_json::Value>(&said).unwrap())
    });
    // It does not look at bodies, so the large one is no obstacle.
    assert_eq!(counts(&report), [5, 1, 4, 0], "{report}");
    assert_eq!(report["other_settings"], 5);
    let differences: Vec<_> =
        report["differences"].as_array().unwrap().iter().map(|d| d["recorded"].as_str().unwrap()).collect();
    assert_eq!(differences, ["hold", "fault: decide: error (guest)", "reject 550 5.6.0", "reject 550 5.6.0"]);
    assert!(report["differences"].as_array().unwrap().iter().all(|d| d["replayed"] == "accept"));
    assert_eq!(compiled(), before);
    assert_eq!(world.listed("every")["versions"].as_array().unwrap().len(), 1);
}

/// What a warm instance read once, when it was made, is in the recordings of all its messages.
#[test]
fn recordings_know_what_warm_instances_have_read() {
    let plugin = "[[tenant.plugin]]\nname = \"every\"\nclass = \"large\"\ngrants = [\"log\", \"clock\", \"kv\"]\n\
        settings = { standing = \"standing\" }\nrecord = 10\nrecord_unredacted = true\n";
    let world = World::with("", plugin);
    world.kv("every", "standing\thold\n");
    world.add("every", "everything");
    for n in 0..3 {
        assert!(world.sends(&[ADA], &format!("held {n}")).starts_with("250 "));
    }
    world.kv("every", "standing\treject\n");
    assert!(world.sends(&[ADA], "refused").starts_with("550 "));
    world.kv("every", "standing\taccept\n");
    let report = replayed(&world, "every", &[]);
    assert_eq!((counts(&report), &report["other_data"]), ([4, 4, 0, 0], &0.into()), "{report}");
}

/// The first call of an instance may be that it is told of outcomes, and it then stays for
/// messages.
#[test]
fn recordings_know_what_was_read_before_outcomes_were_told() {
    let plugin = "[[tenant.plugin]]\nname = \"every\"\nclass = \"large\"\ngrants = [\"log\", \"clock\", \"kv\"]\n\
        settings = { standing = \"standing\" }\nrecord = 10\nrecord_unredacted = true\n";
    let world = World::with("", plugin);
    world.add("every", "everything");
    assert!(world.sends(&[ADA], "accepted").starts_with("250 "));
    // Other data make the plugin anew, without instances and without lines. What became of the
    // message comes some seconds later.
    world.kv("every", "standing\thold\n");
    wait_for("the outcome", || {
        world.listed("every")["log"].to_string().contains("email.delivered").then_some(())
    });
    assert!(world.sends(&[ADA], "held").starts_with("250 "));
    world.kv("every", "standing\treject\n");
    let report = replayed(&world, "every", &[]);
    assert_eq!((counts(&report), &report["other_data"]), ([2, 2, 0, 0], &0.into()), "{report}");
}

#[test]
fn redacted_recordings_have_pseudonyms_and_go_when_they_are_not_wanted() {
    let mut world = World::with("", &format!("{BLOCK_LIST}record = 3\n"));
    world.add("list", "block-list");
    world.kv("list", &format!("address:{ADA}\tasked {ADA} to stop\ndomain:blocked.test\t\n"));
    for n in 0..3 {
        assert!(world.sends(&["eve@elsewhere.test"], &format!("old {n}")).starts_with("250 "));
    }
    assert!(world.sends(&[ADA, "bob@reader.test"], "for one of two").starts_with("250 "));
    assert!(world.sends(&["Carl@mail.blocked.test"], "the domain").starts_with("550 "));
    assert!(world.sends(&["dora@reader.test"], "nobody").starts_with("250 "));

    // Nothing of the data is recorded, and no pseudonym is in that of today: of two, it refused
    // somebody.
    let report = replayed(&world, "list", &[]);
    assert_eq!(counts(&report), [3, 1, 2, 0], "{report}");
    assert_eq!((&report["redacted"], &report["other_data"]), (&3.into(), &3.into()), "{report}");
    let said = world.does(&["replay"], "list", &["--last", "2"]);
    assert!(
        said.contains("2 replayed, 1 same, 1 differing, 0 faults") && said.contains("were redacted"),
        "{said}"
    );
    let (_, said) = world.plugin(&["list"]);
    assert!(said.contains("recorded: 3 messages"), "{said}");
    let listed = world.listed("list")["recordings"].clone();
    assert_eq!((&listed["redacted"], &listed["messages"]), (&true.into(), &3.into()), "{listed}");
    assert_eq!((&listed["recorded"], &listed["dropped"]), (&6.into(), &0.into()), "{listed}");
    let metrics = String::from_utf8(world.relay.get("/metrics").body).unwrap();
    let metric =
        |name: &str| metrics.lines().find(|l| l.starts_with(name)).map(|l| l.rsplit(' ').next().unwrap());
    assert_eq!(metric("relevo_plugin_recorded_total{"), Some("6"), "{metrics}");
    assert_eq!(metric("relevo_plugin_recordings_dropped_total{"), Some("0"), "{metrics}");
    world.relay.stop();
    let octets = recorded_octets(&world.relay, "acme.list");
    assert!(!octets.is_empty() && has(&octets, "acme"));
    for name in [
        "ada@reader",
        "bob",
        "dora",
        "carl",
        "reader.test",
        "shop",
        "example.test",
        "nobody",
        "Hello",
        "127.0.0.1",
    ] {
        assert!(!has(&octets, name), "{name}");
    }
    // What a crash tore is skipped and said.
    let directory = world.relay.folder.join("data/plugins/recordings/acme.list");
    let newer = directory.join("redacted.jsonl");
    let whole = fs::read(&newer).unwrap();
    fs::write(&newer, &whole[..whole.len() - 3]).unwrap();
    world.relay.spawn();
    let report = replayed(&world, "list", &[]);
    assert_eq!((&report["damaged"], &report["replayed"]), (&1.into(), &2.into()), "{report}");
    assert!(world.sends(&["dora@reader.test"], "again").starts_with("250 "));
    let report = replayed(&world, "list", &["--last", "1"]);
    assert_eq!((&report["damaged"], counts(&report)), (&0.into(), [1, 1, 0, 0]), "{report}");

    // Switched off: they go.
    let text = fs::read_to_string(world.relay.config()).unwrap();
    fs::write(world.relay.config(), text.replace("record = 3\n", "")).unwrap();
    world.relay.reload();
    wait_for("they are removed", || (!directory.exists()).then_some(()));
    let (ok, said) = world.plugin(&["replay", "--tenant", "acme", "--name", "list"]);
    assert!(!ok && said.contains("nothing is recorded"), "{said}");
    assert!(world.sends(&["dora@reader.test"], "unrecorded").starts_with("250 "));
}

#[test]
fn without_a_relay_the_command_does_it_itself() {
    let mut world = World::with("", BLOCK_LIST);
    world.relay.stop();
    world.add("list", "block-list");
    assert_eq!(world.listed("list")["state"], "active");
    world.kv("list", &format!("address:{ADA}\n"));
    world.refuses("list", &component("everything"), "relevo:host/clock");
    world.does(&["disable"], "list", &[]);
    assert_eq!(world.listed("list")["state"], "disabled");
    world.does(&["enable"], "list", &[]);
    world.add("list", "accept-all");
    world.does(&["rollback"], "list", &[]);
    // The running relay is asked, not its directory.
    world.relay.spawn();
    assert!(world.sends(&[ADA], "refused").starts_with("550 5.7.1 "));
    let data = world.relay.folder.join("data");
    let socket = data.join("control.sock");
    fs::rename(&socket, data.join("elsewhere.sock")).unwrap();
    world.refuses("list", &component("accept-all"), "is in use by process");
    fs::rename(data.join("elsewhere.sock"), &socket).unwrap();
    assert_eq!(world.listed("list")["state"], "active");
    // A relay that was killed leaves its socket behind, and nobody at it.
    world.relay.kill();
    assert!(socket.exists());
    world.add("list", "accept-all");
    let (ok, said) = relevo(&["plugin", "--data", data.to_str().unwrap(), "list"], "");
    assert!(!ok && said.contains("no relay answers"), "{said}");
    world.relay.spawn();
    assert!(world.sends(&[ADA], "accepted").starts_with("250 "));
    // A configuration with mistakes is not worked with.
    world.relay.stop();
    let text = fs::read_to_string(world.relay.config()).unwrap();
    fs::write(world.relay.config(), format!("{text}nonsense = 1\n")).unwrap();
    world.refuses("list", &component("block-list"), "nonsense");
}
