//! Tenants' plugins in a running relay: real components, from upload to verdict.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use support::plugins::{ADA, SHOP, World, component, message};
use support::relay::{Relay, relevo};
use support::wait_for;

const BLOCK_LIST: &str = "[[tenant.plugin]]\nname = \"list\"\ngrants = [\"log\", \"kv\"]\n";

#[test]
fn a_block_list_from_upload_to_rollback() {
    let mut world = World::with("", BLOCK_LIST);
    assert_eq!(world.listed("list")["state"], "empty");
    assert!(world.sends(&[ADA], "before").starts_with("250 "));

    // What is no plugin, or wants what it is not granted, is named.
    let junk = world.relay.folder.join("junk.wasm");
    fs::write(&junk, "junk").unwrap();
    world.refuses("list", &junk, "no component");
    world.refuses("list", &component("everything"), "relevo:host/clock");
    world.refuses("other", &component("block-list"), "no plugin `other`");
    assert_eq!(world.listed("list")["state"], "empty");

    world.add("list", "block-list");
    let digest = world.listed("list")["digest"].as_str().unwrap().to_owned();
    assert!(world.sends(&[ADA], "nothing is blocked").starts_with("250 "));
    world.kv("list", &format!("address:{ADA}\tasked us to stop\n"));

    // All refused: that reply, and nothing is queued.
    let reply = world.sends(&[ADA], "refused");
    assert!(reply.starts_with("550 5.7.1 Recipient is on the block list"), "{reply}");
    let event = world.event("email.rejected");
    assert_eq!((event["plugin"].as_str(), event["digest"].as_str()), (Some("list"), Some(digest.as_str())));
    assert!(event["reason"].as_str().unwrap().contains("block list"), "{event}");

    // Some: the others get it, and the sender a bounce with that reply.
    let reply = world.sends(&[ADA, "bob@reader.test"], "partly");
    assert!(reply.starts_with("250 "), "{reply}");
    let received = world.sink.wait("Subject: partly");
    assert_eq!(received.to, ["bob@reader.test"]);
    let bounce = world.sink.wait("multipart/report");
    assert_eq!((bounce.from.as_str(), bounce.to), ("", vec![SHOP.to_owned()]));
    assert!(bounce.message.contains(&format!("Final-Recipient: rfc822; {ADA}")), "{}", bounce.message);
    assert!(bounce.message.contains("5.7.1") && bounce.message.contains("block list"), "{}", bounce.message);
    assert!(!bounce.message.contains("rfc822; bob@"), "{}", bounce.message);

    // A restart changes nothing.
    world.relay.stop();
    world.relay.spawn();
    assert!(world.sends(&[ADA], "after a restart").starts_with("550 5.7.1 "));

    // Another version, and back.
    world.add("list", "accept-all");
    assert!(world.sends(&[ADA], "accepted").starts_with("250 "));
    let said = world.does(&["rollback"], "list", &[]);
    assert!(said.contains(&digest), "{said}");
    assert!(world.sends(&[ADA], "rolled back").starts_with("550 5.7.1 "));
    world.does(&["disable"], "list", &[]);
    assert_eq!(world.listed("list")["state"], "disabled");
    assert!(world.sends(&[ADA], "disabled").starts_with("250 "));
    world.does(&["enable"], "list", &[]);
    assert!(world.sends(&[ADA], "enabled").starts_with("550 5.7.1 "));
    let (ok, said) = world.plugin(&["rollback", "--tenant", "acme", "--name", "list", "--digest", "beef"]);
    assert!(!ok && said.contains("names no version"), "{said}");

    let metrics = String::from_utf8(world.relay.get("/metrics").body).unwrap();
    let line = |name: &str, label: &str| {
        metrics.lines().any(|l| l.starts_with(name) && l.contains("plugin=\"list\"") && l.contains(label))
    };
    assert!(line("relevo_plugin_calls_total{", "export=\"decide\""), "{metrics}");
    assert!(line("relevo_plugin_verdicts_total{", "verdict=\"reject\""), "{metrics}");
    assert!(line("relevo_plugin_cpu_seconds_bucket{", "le="), "{metrics}");
    assert!(line("relevo_plugin_memory_bytes_count{", ""), "{metrics}");
}

const EVERYTHING: &str = "max_held = 2\n";
fn everything(more: &str) -> String {
    format!(
        "[[tenant.plugin]]\nname = \"every\"\ngrants = [\"log\", \"clock\", \"kv\"]\nsettings = {{ tag = \"blue\" }}\n{more}\n"
    )
}

#[test]
fn held_mail_waits_to_be_released_and_has_a_quota() {
    let world = World::with("", &everything(""));
    // `max_held` belongs to the tenant's own table.
    let text = fs::read_to_string(world.relay.config()).unwrap();
    fs::write(world.relay.config(), text.replace("id = \"acme\"\n", &format!("id = \"acme\"\n{EVERYTHING}")))
        .unwrap();
    world.relay.reload();
    world.add("every", "everything");
    assert!(world.sends(&[ADA], "marked").starts_with("250 "));
    let received = world.sink.wait("Subject: marked");
    assert!(received.message.contains("\r\nX-Everything: blue\r\n"), "{}", received.message);

    world.kv("every", "verdict\thold\n");
    let reply = world.sends(&[ADA], "held");
    assert!(reply.starts_with("250 "), "{reply}");
    let id = reply.split_whitespace().last().unwrap().to_owned();
    let event = world.event("email.held");
    assert_eq!((event["email_id"].as_str(), event["plugin"].as_str()), (Some(id.as_str()), Some("every")));
    assert_eq!(event["reason"], "held by everything");
    let (ok, why) = world.relay.queue(&["why", &id]);
    assert!(ok && why.contains("held by plugin every (") && why.contains("held by everything"), "{why}");

    assert!(world.sends(&[ADA], "held too").starts_with("250 "));
    let reply = world.sends(&[ADA], "one too many");
    assert!(reply.starts_with("452 4.3.1 "), "{reply}");
    assert!(world.sink.all().iter().all(|r| !r.message.contains("Subject: held")));
    assert!(world.relay.queue(&["release", &id]).0);
    let received = world.sink.wait("Subject: held\r\n");
    assert!(received.message.contains("DKIM-Signature:"), "signed when it was released");
    assert!(world.sends(&[ADA], "room again").starts_with("250 "));
}

#[test]
fn what_is_discarded_leaves_its_event_and_nothing_else() {
    let world = World::with("", &everything(""));
    world.add("every", "everything");
    world.kv("every", "verdict\tdiscard\n");
    let reply = world.sends(&[ADA], "discarded");
    assert!(reply.starts_with("250 "), "{reply}");
    // Before the answer, not some time after it.
    let events = world.relay.events("email.discarded");
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0]["plugin"].as_str(), events[0]["reason"].as_str()),
        (Some("every"), Some("discarded by everything"))
    );
    assert_eq!(world.relay.events("email.queued").len(), 0);
    let (_, list) = world.relay.queue(&["list", "--json"]);
    assert_eq!(list.trim(), "[]");

    // One of two, and one refused: the third kind of verdict for each.
    world.kv("every", "recipient:ada@reader.test\tdiscard\nrecipient:bob@reader.test\treject\n");
    let reply = world.sends(&[ADA, "bob@reader.test", "eve@reader.test"], "mixed");
    assert!(reply.starts_with("250 "), "{reply}");
    assert_eq!(world.sink.wait("Subject: mixed").to, ["eve@reader.test"]);
    assert!(world.sink.wait("multipart/report").message.contains("Refused by everything"));
    let queued = world.event("email.queued");
    assert_eq!(queued["to"], serde_json::json!(["eve@reader.test"]));
    // What is not granted has no effect, and the event says so.
    world.kv("every", "pool\tbest\n");
    assert!(world.sends(&[ADA], "pool").starts_with("250 "));
    let queued = wait_for("its event", || {
        world.relay.events("email.queued").into_iter().find(|e| e["subject"] == "pool")
    });
    assert_eq!(queued["attributes_left_out"][0], serde_json::json!({ "name": "pool", "value": "best" }));
}

#[test]
fn bodies_are_inspected_wherever_they_are_cut() {
    let world = World::with("", &everything(""));
    world.add("every", "everything");
    let body = |word: &str| format!("{}{word}\r\n", "0123456789abcdef\r\n".repeat(8_000));
    let send = |word: &str| {
        let text = format!("From: {SHOP}\r\nSubject: large\r\n\r\n{}", body(word));
        world.relay.login().transact(SHOP, &[ADA], &text)
    };
    assert!(send("ALLOWED").starts_with("250 "));
    let reply = send("FORBIDDEN");
    assert!(reply.starts_with("550 5.6.0 Forbidden word"), "{reply}");
}

#[test]
fn a_fault_is_answered_by_the_failure_policy() {
    let place = |policy: &str| everything(&format!("on_failure = \"{policy}\""));
    let world = World::with("", &place("tempfail"));
    world.add("every", "everything");
    // Data that it cannot make sense of.
    world.kv("every", "verdict\tnonsense\n");
    let reply = world.sends(&[ADA], "tempfail");
    assert!(reply.starts_with("451 4.3.0 "), "{reply}");
    let event = world.event("email.failed");
    assert_eq!(event["plugin"], "every");
    assert_eq!(event["policies"][0]["verdict"], "fault");
    assert_eq!(event["policies"][0]["reason"], "decide: error (guest)");

    let policy = |wanted: &str| {
        let text = fs::read_to_string(world.relay.config()).unwrap();
        let at = text.find("on_failure").unwrap();
        let text = format!("{}on_failure = \"{wanted}\"\n", &text[..at]);
        fs::write(world.relay.config(), text).unwrap();
        world.relay.reload();
    };
    policy("reject");
    wait_for("the reload", || world.sends(&[ADA], "reject").starts_with("554 5.3.0 ").then_some(()));
    policy("accept");
    wait_for("the reload", || world.sends(&[ADA], "passes").starts_with("250 ").then_some(()));
    world.sink.wait("Subject: passes");

    // Again and again: it is no longer called.
    for _ in 0..10 {
        assert!(world.sends(&[ADA], "again").starts_with("250 "));
    }
    assert_eq!(world.listed("every")["breaker"], "open");
    let metrics = String::from_utf8(world.relay.get("/metrics").body).unwrap();
    assert!(metrics.contains("relevo_plugin_breaker_open{tenant=\"acme\",plugin=\"every\""), "{metrics}");
    assert!(metrics.contains("kind=\"error\""), "{metrics}");
}

#[test]
fn what_breaks_in_the_self_test_is_not_used() {
    let place = "[[tenant.plugin]]\nname = \"bad\"\ngrants = [\"log\", \"clock\", \"kv\"]\nsettings = { case = \"endless-loop\" }\n";
    let world = World::with("", place);
    world.refuses("bad", &component("hostile"), "self-test");
    assert_eq!(world.listed("bad")["state"], "empty");
    assert!(world.sends(&[ADA], "unharmed").starts_with("250 "));
    // A plugin without settings to take refuses them.
    world.refuses("bad", &component("accept-all"), "takes no settings");
}

fn http(relay: &Relay, method: &str, path: &str, key: &str, body: &[u8]) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(relay.http).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n",
        relay.http,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A request that is refused is not read to its end.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn the_same_over_http_with_an_admin_key() {
    let (_, made) = relevo(&["api-key", "new", "--name", "ops"], "");
    let admin = made.lines().find_map(|l| l.strip_prefix("API key (shown this once): ")).unwrap().to_owned();
    let hash = made.lines().find(|l| l.starts_with("api_keys")).unwrap().replace("api_keys", "admin_keys");
    let place = format!("{BLOCK_LIST}record = 10\nrecord_unredacted = true\n");
    let world = World::with(&format!("[plugins]\n{hash}\nmax_size = \"1MiB\"\n"), &place);
    let relay = &world.relay;
    let (status, answer) = http(relay, "GET", "/plugins", &relay.key, b"");
    assert_eq!((status, answer["name"].as_str()), (403, Some("invalid_api_key")));
    let wasm = fs::read(component("block-list")).unwrap();
    let (status, answer) = http(relay, "PUT", "/plugins/acme/list", &admin, &wasm);
    assert_eq!(status, 200, "{answer}");
    let digest = answer["digest"].as_str().unwrap();
    assert_eq!(digest.len(), 64);
    let (status, _) =
        http(relay, "PUT", "/plugins/acme/list/kv", &admin, format!("address:{ADA}\n").as_bytes());
    assert_eq!(status, 200);
    assert!(world.sends(&[ADA], "refused").starts_with("550 5.7.1 "));
    let (status, report) = http(relay, "POST", "/plugins/acme/list/replay?last=5", &admin, b"");
    assert_eq!((status, &report["replayed"], &report["same"]), (200, &1.into(), &1.into()), "{report}");
    let accept_all = fs::read(component("accept-all")).unwrap();
    let (status, report) = http(relay, "POST", "/plugins/acme/list/replay", &admin, &accept_all);
    assert_eq!((status, &report["differing"], report["digest"] == digest), (200, &1.into(), false));
    assert_eq!(http(relay, "POST", "/plugins/acme/list/disable", &admin, b"").0, 200);
    assert!(world.sends(&[ADA], "passes").starts_with("250 "));

    let fails = |method: &str, path: &str, body: &[u8]| {
        let (status, answer) = http(relay, method, path, &admin, body);
        assert_eq!(answer["statusCode"], status, "{answer}");
        assert!(answer["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{answer}");
        (status, answer["name"].as_str().unwrap().to_owned())
    };
    assert_eq!(fails("PUT", "/plugins/acme/nobody", &wasm), (404, "not_found".to_owned()));
    assert_eq!(fails("PUT", "/plugins/acme/list", b"junk"), (422, "validation_error".to_owned()));
    assert_eq!(fails("POST", "/plugins/acme/list/rollback?digest=beef", b""), (404, "not_found".to_owned()));
    assert_eq!(fails("GET", "/plugins?nonsense=1", b""), (422, "validation_error".to_owned()));
    assert_eq!(fails("POST", "/plugins/acme/list/replay?last=x", b""), (422, "validation_error".to_owned()));
    let (status, answer) = http(relay, "GET", "/plugins?tenant=acme", &admin, b"");
    assert_eq!(
        (status, &answer[0]["state"], &answer[0]["digest"]),
        (200, &"disabled".into(), &digest.into())
    );
}

#[test]
fn starters_are_written() {
    let folder = tempfile::tempdir().unwrap();
    for (lang, file) in [("rust", "src/lib.rs"), ("js", "policy.js"), ("python", "policy.py")] {
        let directory = folder.path().join(format!("shop-{lang}"));
        let (ok, said) = relevo(&["plugin", "new", "--lang", lang, directory.to_str().unwrap()], "");
        assert!(ok, "{said}");
        assert!(directory.join(file).exists());
        let readme = fs::read_to_string(directory.join("README.md")).unwrap();
        assert!(!readme.contains("my-policy"), "{readme}");
        // Never over something that is there.
        assert!(!relevo(&["plugin", "new", "--lang", lang, directory.to_str().unwrap()], "").0);
    }
    let bad = folder.path().join("Shop");
    assert!(!relevo(&["plugin", "new", "--lang", "rust", bad.to_str().unwrap()], "").0);
}

#[test]
fn a_plugin_hears_what_became_of_its_mail() {
    let world = World::with("", &everything(""));
    world.add("every", "everything");
    assert!(world.sends(&[ADA, "reject-me@reader.test"], "told").starts_with("250 "));
    let heard = |line: &str| {
        wait_for(line, || {
            let log = world.listed("every")["log"].to_string();
            log.contains(line).then_some(())
        });
    };
    heard(&format!("delivery email.delivered {ADA}"));
    heard("delivery email.bounced reject-me@reader.test");
}

#[test]
fn a_plugin_is_told_the_parameters_as_they_were_given() {
    let world = World::with("", &everything(""));
    world.add("every", "everything");
    let mut client = world.relay.login();
    client.expect(&format!("MAIL FROM:<{SHOP}> BODY=8BITMIME size=1234 AUTH=<>"), "250");
    client.expect(&format!("RCPT TO:<{ADA}> NOTIFY=NEVER"), "555");
    client.expect(&format!("RCPT TO:<{ADA}>"), "250");
    client.expect("DATA", "354");
    client.expect(&format!("{}.", message("parameters")), "250");
    let log = world.listed("every")["log"].to_string();
    assert!(log.contains("MAIL BODY=8BITMIME SIZE=1234 AUTH=<>"), "{log}");
}

#[test]
fn a_version_beside_the_active_one_has_no_effect() {
    let mut world = World::with("", BLOCK_LIST);
    let file = component("block-list");
    let (ok, said) =
        world.plugin(&["add", "--shadow", "--tenant", "acme", "--name", "list", file.to_str().unwrap()]);
    assert!(!ok && said.contains("no active version to compare"), "{said}");
    world.add("list", "accept-all");
    world.kv("list", &format!("address:{ADA}\n"));
    world.does(&["add", "--shadow"], "list", &[file.to_str().unwrap()]);
    assert!(world.sends(&[ADA], "differs").starts_with("250 "));
    assert!(world.sends(&["bob@reader.test"], "agrees").starts_with("250 "));
    let report = wait_for("both are compared", || {
        let shadow = world.listed("list")["shadow"].clone();
        (shadow["compared"] == 2).then_some(shadow)
    });
    assert_eq!(report["differing"], 1, "{report}");
    assert_eq!(
        (&report["last"][0]["active"], &report["last"][0]["shadow"]),
        (&"accept".into(), &"reject 550 5.7.1".into())
    );

    // Still beside it after a restart; and then in its place.
    world.relay.stop();
    world.relay.spawn();
    let digest = world.listed("list")["shadow"]["digest"].as_str().unwrap().to_owned();
    world.does(&["rollback"], "list", &["--digest", &digest[..16]]);
    assert!(world.listed("list")["shadow"].is_null());
    assert!(world.sends(&[ADA], "refused").starts_with("550 "));
    let accept_all = component("accept-all");
    world.does(&["add", "--shadow"], "list", &[accept_all.to_str().unwrap()]);
    world.does(&["end-shadow"], "list", &[]);
    assert!(world.listed("list")["shadow"].is_null());
}

/// Of `relevo plugin replay`, which must succeed.
fn replayed(world: &World, name: &str, more: &[&str]) -> serde_json::Value {
    let said = world.does(&["replay"], name, &[more, &["--json"]].concat());
    serde_json::from_str(&said).unwrap()
}

fn counts(report: &serde_json::Value) -> [u64; 4] {
    ["replayed", "same", "differing", "faults"].map(|key| report[key].as_u64().unwrap())
}

/// All octets below the recordings of a place.
fn recorded_octets(relay: &Relay, place: &str) -> Vec<u8> {
    let directory = relay.folder.join("data/plugins/recordings").join(place);
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
    let place = world.relay.folder.join("data/plugins");
    let listing = |name: &str| {
        let mut names: Vec<_> =
            fs::read_dir(place.join(name)).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = (listing("components"), listing("code"));
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
    // `accept-all` takes no settings, which the place has.
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
    assert_eq!((listing("components"), listing("code")), before);
    assert_eq!(world.listed("every")["versions"].as_array().unwrap().len(), 1);
}

/// What a warm instance read once, when it was made, is in the recordings of all its messages.
#[test]
fn recordings_know_what_warm_instances_have_read() {
    let place = "[[tenant.plugin]]\nname = \"every\"\nclass = \"large\"\ngrants = [\"log\", \"clock\", \"kv\"]\n\
        settings = { standing = \"standing\" }\nrecord = 10\nrecord_unredacted = true\n";
    let world = World::with("", place);
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

/// The first call of an instance may be that it is told of outcomes, and it then stays for messages.
#[test]
fn recordings_know_what_was_read_before_outcomes_were_told() {
    let place = "[[tenant.plugin]]\nname = \"every\"\nclass = \"large\"\ngrants = [\"log\", \"clock\", \"kv\"]\n\
        settings = { standing = \"standing\" }\nrecord = 10\nrecord_unredacted = true\n";
    let world = World::with("", place);
    world.add("every", "everything");
    assert!(world.sends(&[ADA], "accepted").starts_with("250 "));
    // Other data is another place, without instances and without lines. What became of the message comes some seconds later.
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

    // Lookups of names in the data are found under their pseudonyms, though the data are others by now.
    world.kv("list", "");
    let report = replayed(&world, "list", &[]);
    assert_eq!(counts(&report), [3, 3, 0, 0], "{report}");
    assert_eq!((&report["redacted"], &report["other_data"]), (&3.into(), &0.into()), "{report}");
    let said = world.does(&["replay"], "list", &["--last", "2"]);
    assert!(
        said.contains("2 replayed, 2 same, 0 differing, 0 faults") && said.contains("were redacted"),
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
    let mut segments: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|e| e == "redacted"));
    segments.sort();
    let last = segments.last().unwrap();
    let whole = fs::read(last).unwrap();
    fs::write(last, &whole[..whole.len() - 3]).unwrap();
    world.relay.spawn();
    assert_eq!(world.listed("list")["recordings"]["messages"], 2);
    let report = replayed(&world, "list", &[]);
    assert_eq!((&report["damaged"], report["differing"].as_u64()), (&1.into(), Some(0)), "{report}");
    let before = report["replayed"].as_u64().unwrap();
    assert!(world.sends(&["dora@reader.test"], "again").starts_with("250 "));
    let report = replayed(&world, "list", &[]);
    assert_eq!(report["replayed"].as_u64().unwrap(), (before + 1).min(3), "{report}");

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
