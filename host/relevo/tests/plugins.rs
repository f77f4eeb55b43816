//! Tenants' plugins in a running relay: real components, from upload to verdict.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use support::plugins::{ADA, BLOCK_LIST, SHOP, World, component, everything, message};
use support::relay::{Relay, relevo};
use support::wait_for;

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
    assert!(event["reply"].as_str().unwrap().contains("block list"), "{event}");

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
    let acts = world.relay.acts();
    let done = |action: &str| ["socket", action, "list", "done"].map(str::to_owned);
    let last = acts.len();
    assert!(acts[0][1] == "plugin add" && acts[0][3].contains("it is no component"), "{acts:?}");
    assert!(acts.contains(&done("plugin add")), "{acts:?}");
    assert_eq!(
        acts[last - 3..],
        [done("plugin rollback"), done("plugin disable"), done("plugin enable")],
        "{acts:?}"
    );

    let metrics = String::from_utf8(world.relay.get("/metrics").body).unwrap();
    let line = |name: &str, label: &str| {
        metrics.lines().any(|l| l.starts_with(name) && l.contains("plugin=\"list\"") && l.contains(label))
    };
    assert!(line("relevo_plugin_calls_total{", "export=\"decide\""), "{metrics}");
    assert!(line("relevo_plugin_verdicts_total{", "verdict=\"reject\""), "{metrics}");
    assert!(line("relevo_plugin_cpu_seconds_bucket{", "le="), "{metrics}");
    assert!(line("relevo_plugin_memory_bytes_count{", ""), "{metrics}");
}

#[test]
fn held_mail_waits_to_be_released_and_has_a_quota() {
    let world = World::with("", &everything(""));
    // `max_held` belongs to the tenant's own table.
    let text = fs::read_to_string(world.relay.config()).unwrap();
    fs::write(world.relay.config(), text.replace("id = \"acme\"\n", "id = \"acme\"\nmax_held = 2\n"))
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
    assert_eq!((event["message_id"].as_str(), event["plugin"].as_str()), (Some(id.as_str()), Some("every")));
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
    assert_eq!(queued["recipients"], serde_json::json!(["eve@reader.test"]));
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
    let plugin = |policy: &str| everything(&format!("on_failure = \"{policy}\""));
    let world = World::with("", &plugin("tempfail"));
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
    let plugin = "[[tenant.plugin]]\nname = \"bad\"\ngrants = [\"log\", \"clock\", \"kv\"]\nsettings = { case = \"endless-loop\" }\n";
    let world = World::with("", plugin);
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
    let plugin = format!("{BLOCK_LIST}record = 10\nrecord_unredacted = true\nkv_size = \"1KiB\"\n");
    let world = World::with(&format!("[plugins]\n{hash}\nmax_size = \"1MiB\"\n"), &plugin);
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
    // Key-value data: twice what is granted and 64 KiB, for notes and line ends; one octet more is
    // not read.
    let most = 2 * 1024 + (64 << 10);
    let notes = |octets: usize| {
        [format!("address:{ADA}\n#").as_bytes(), &vec![b'.'; octets]].concat()[..octets].to_vec()
    };
    assert_eq!(http(relay, "PUT", "/plugins/acme/list/kv", &admin, &notes(most)).0, 200);
    let (status, answer) = http(relay, "PUT", "/plugins/acme/list/kv", &admin, &notes(most + 1));
    assert_eq!((status, &answer["name"]), (413, &"payload_too_large".into()), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains(&most.to_string()), "{answer}");
    // Below that it is what is granted that counts.
    let much: String = (0..3).map(|n| format!("{n}{}\n", "k".repeat(400))).collect();
    assert_eq!(fails("PUT", "/plugins/acme/list/kv", much.as_bytes()).0, 422);
    assert_eq!(fails("PUT", "/plugins/acme/nobody", &wasm), (404, "not_found".to_owned()));
    // Whatever is brought.
    let much = vec![b'#'; 200_000];
    assert_eq!(fails("PUT", "/plugins/acme/nobody/kv", &much), (404, "not_found".to_owned()));
    assert_eq!(fails("PUT", "/plugins/acme/list", b"junk"), (422, "validation_error".to_owned()));
    assert_eq!(fails("POST", "/plugins/acme/list/rollback?digest=beef", b""), (404, "not_found".to_owned()));
    let acts = relay.acts();
    let act = |action: &str| ["admin key ops", action, "list", "done"].map(str::to_owned);
    assert_eq!(
        acts[..3],
        [act("plugin add"), act("plugin kv import"), act("plugin disable")],
        "replays change nothing: {acts:?}"
    );
    let last = acts.last().unwrap();
    assert_eq!(last[1], "plugin add");
    assert!(last[3] != "done" && acts.iter().all(|act| act[2] == "list"), "{acts:?}");
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
    heard("dsn email.dsn_queued reject-me@reader.test");
    // It names the notification, which its sender gets.
    let queued = world.event("email.dsn_queued");
    assert_eq!(queued["recipient"], "reject-me@reader.test");
    assert_eq!(queued["message_id"], world.event("email.bounced")["message_id"]);
    let bounce = world.sink.wait("multipart/report");
    assert!(bounce.message.contains(queued["dsn_id"].as_str().unwrap()), "{}", bounce.message);
}

#[test]
fn a_plugin_is_told_the_parameters_as_they_were_given() {
    let world = World::with("", &everything(""));
    world.add("every", "everything");
    let mut client = world.relay.login();
    client.expect(&format!("MAIL FROM:<{SHOP}> BODY=8BITMIME size=1234 AUTH=<>"), "250");
    client.expect(&format!("RCPT TO:<{ADA}> SIZE=1"), "555");
    client.expect(&format!("RCPT TO:<{ADA}> NOTIFY=NEVER"), "250");
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
    let add = ["add", "--tenant", "acme", "--name", "list", "--shadow"];
    let (ok, said) = world.plugin(&[&add[..], &[component("accept-all").to_str().unwrap()]].concat());
    assert!(!ok && said.contains("this version is the active one"), "{said}");
    let (ok, said) = world.plugin(&[&add[..], &[file.to_str().unwrap()]].concat());
    assert!(ok && said.contains("is asked beside") && said.contains("which stays active"), "{said}");
    // It is not asked while its tenant's share is busy: messages are sent until one was compared.
    let compared = |to: &str, done: &dyn Fn(u64, u64) -> bool| {
        wait_for("they are compared", || {
            assert!(world.sends(&[to], "compared").starts_with("250 "));
            let shadow = world.listed("list")["shadow"].clone();
            let count = |name: &str| shadow[name].as_u64().unwrap();
            done(count("compared"), count("differing")).then_some(shadow)
        })
    };
    compared(ADA, &|_, differing| differing > 0);
    let report = compared("bob@reader.test", &|compared, differing| compared > differing);
    assert_eq!(
        (&report["last"][0]["active"], &report["last"][0]["shadow"]),
        (&"accept".into(), &"reject 550 5.7.1".into())
    );

    // Still beside it after a restart; and then active.
    world.relay.stop();
    world.relay.spawn();
    let digest = world.listed("list")["shadow"]["digest"].as_str().unwrap().to_owned();
    world.does(&["rollback"], "list", &["--digest", &digest[..16]]);
    assert!(world.listed("list")["shadow"].is_null());
    assert!(world.sends(&[ADA], "refused").starts_with("550 "));
    let accept_all = component("accept-all");
    world.does(&["add", "--shadow"], "list", &[accept_all.to_str().unwrap()]);
    let end = ["end-shadow", "--tenant", "acme", "--name", "list"];
    let (ok, said) = world.plugin(&end);
    assert!(ok && said.contains("is asked no more, version"), "{said}");
    assert!(world.listed("list")["shadow"].is_null());
    let (ok, said) = world.plugin(&end);
    assert!(!ok && said.contains("no version is asked beside the active one of `list`"), "{said}");
}
