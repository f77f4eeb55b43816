//! Hostile plugins in a running relay: what their tenant's senders are told, who is blamed, and
//! that another tenant is not harmed.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::path::PathBuf;

use relevo_test_plugins::{CASES, Expect, many_functions, written};
use serde_json::Value;
use support::client::Client;
use support::plugins::{ADA, SHOP, World, component, everything};
use support::relay::PASSWORD;
use support::sink::Received;
use support::wait_for;

/// A plugin whose faults are counted by nobody. A build without optimisation takes several times as
/// long for the host's part.
fn plugin(more: &str) -> String {
    format!(
        "[[tenant.plugin]]\nname = \"bad\"\ngrants = [\"log\", \"clock\", \"kv\"]\nbreaker_faults = 1000\n{more}\n"
    )
}

const SHORT: &str = "cpu_timeout = \"300ms\"\nwall_timeout = \"10s\"";
const LONG: &str = "cpu_timeout = \"60s\"\nwall_timeout = \"120s\"";

/// Beside the tenant of the plugins there is another one, `other`.
struct Scene {
    world: World,
    digest: String,
    hostile: Client,
    other: Client,
    /// Messages of `other`.
    sent: usize,
}

impl Scene {
    /// With this plugin as `bad`.
    fn with(plugins: &str, plugin: &str) -> Self {
        let mut scene = Self::empty(plugins);
        scene.world.add("bad", plugin);
        scene.digest = scene.world.listed("bad")["digest"].as_str().unwrap().to_owned();
        scene
    }

    fn empty(plugins: &str) -> Self {
        let world = World::with("", plugins);
        let text = fs::read_to_string(world.relay.config()).unwrap();
        let credentials = text.lines().find(|l| l.starts_with("credentials")).unwrap();
        let other = format!(
            "{text}\n[[tenant]]\nid = \"other\"\n{}\n[[tenant.domain]]\nname = \"other.test\"\n\
             dkim = [{{ selector = \"rsa\", algorithm = \"rsa-sha256\", key = \"rsa.pem\" }}]\n",
            credentials.replace("\"acme\"", "\"other\"")
        );
        fs::write(world.relay.config(), other).unwrap();
        world.relay.reload();
        let other = wait_for("the other tenant is known", || {
            let (mut client, _) = Client::connect(world.relay.submission);
            client.expect("EHLO other.test", "250");
            client.authenticate("other", PASSWORD).then_some(client)
        });
        let hostile = world.relay.login();
        Self { world, digest: String::new(), hostile, other, sent: 0 }
    }

    /// The reply to a message of this case; meanwhile another tenant's message is accepted.
    fn send(&mut self, case: &str) -> String {
        self.hostile.expect(&format!("MAIL FROM:<{SHOP}>"), "250");
        self.hostile.expect(&format!("RCPT TO:<{ADA}>"), "250");
        self.hostile.expect("DATA", "354");
        let text = format!("From: {SHOP}\r\nSubject: of {case}.\r\nX-Case: {case}\r\n\r\nHello.\r\n.\r\n");
        self.hostile.send(text.as_bytes());
        self.sent += 1;
        let text = format!("From: a@other.test\r\nSubject: beside {case}.\r\n\r\nHello.\r\n");
        let reply = self.other.transact("a@other.test", &["bob@reader.test"], &text);
        assert!(reply.starts_with("250 "), "beside {case}: {reply}");
        self.hostile.reply()
    }

    /// The last event of this kind; it must blame the plugin.
    fn blames(&self, case: &str, kind: &str) -> Value {
        let event = self.world.relay.events(kind).pop().unwrap_or_else(|| panic!("{case}: no {kind}"));
        let opinion = &event["policies"][0];
        for named in [&event, opinion] {
            assert_eq!(
                (&named["plugin"], &named["digest"]),
                (&"bad".into(), &self.digest.as_str().into()),
                "{case}: {event}"
            );
        }
        assert_eq!(
            (&event["sender"], &event["recipients"][0]),
            (&SHOP.into(), &ADA.into()),
            "{case}: {event}"
        );
        event
    }

    /// The failure policy answered, and the event says why: of which call, what, and whose fault.
    fn faults(&mut self, case: &str) -> String {
        let reply = self.send(case);
        assert!(reply.starts_with("451 4.3.0 "), "{case}: {reply}");
        let event = self.blames(case, "email.failed");
        assert_eq!(
            (&event["rule"], &event["policies"][0]["verdict"]),
            (&"policy-fault".into(), &"fault".into()),
            "{case}: {event}"
        );
        event["policies"][0]["reason"].as_str().unwrap().to_owned()
    }

    fn received(&self, case: &str) -> Received {
        let received = self.world.sink.wait(&format!("Subject: of {case}.\r\n"));
        assert_eq!(received.to, [ADA], "{case}");
        received
    }

    /// Everything that the other tenant sent has arrived, and nothing went where nobody sent it.
    fn ends(self) {
        let beside = |r: &Received| r.message.contains("Subject: beside ");
        wait_for("all of the other tenant's mail", || {
            (self.world.sink.all().iter().filter(|r| beside(r)).count() >= self.sent).then_some(())
        });
        let known = [ADA, "bob@reader.test"];
        assert!(self.world.sink.all().iter().all(|r| r.to.iter().all(|to| known.contains(&to.as_str()))));
    }
}

/// Looping, recursing, hoarding, trapping, talking too much, injecting, widening: no answer of it
/// is used.
#[test]
fn each_fault_is_answered_by_the_failure_policy_and_blamed() {
    let mut scene = Scene::with(&plugin(SHORT), "hostile");
    // Each look at all of it takes a while.
    let much: String = (0..5_000).map(|n| format!("key{n}\tvalue\n")).collect();
    scene.world.kv("bad", &much);
    for (case, _) in CASES.iter().filter(|(_, expect)| *expect == Expect::Fault) {
        let reason = scene.faults(case);
        let kind = match *case {
            "endless-loop" | "memory-copy" | "slow-kv" => "decide: deadline (guest)",
            "memory-bomb" => "decide: memory (guest)",
            // It is the stack of its own memory that ends first, and below that is nothing.
            "deep-recursion" | "trap" | "exit" => "decide: trap (guest)",
            "error" | "huge-error" | "read-file" => "decide: error (guest)",
            "sleep" => "decide: denied (guest)",
            "inspect-begin-loop" | "inspect-push-loop" | "inspect-finish-loop" => "inspect: deadline (guest)",
            "inspect-push-trap" => "inspect: trap (guest)",
            "inspect-finish-error" => "inspect: error (guest)",
            "headers-twice" => "inspect: answer (guest)",
            "huge-result" | "reason-huge" => "decide: answer (guest)",
            name if ["header-", "override-", "attribute-"].iter().any(|part| name.starts_with(part)) => {
                "decide: answer (guest)"
            }
            _ => panic!("{case}, which nothing is expected of: {reason}"),
        };
        assert_eq!(reason, kind, "{case}");
    }
    // The refusal stands, in words of ours.
    for (case, _) in CASES.iter().filter(|(_, expect)| *expect == Expect::Reply) {
        let reply = scene.send(case);
        assert!(reply.starts_with("451 4.3.5 ") && reply.lines().count() == 1, "{case}: {reply}");
        let event = scene.blames(case, "email.failed");
        assert_eq!(event["policies"][0]["verdict"], "reject", "{case}: {event}");
        let reason = event["policies"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("its reply was replaced: "), "{case}: {reason}");
    }
    assert_eq!(scene.world.listed("bad")["breaker"], "closed");
    assert!(scene.world.sink.all().iter().all(|r| !r.message.contains("Subject: of ")), "nothing was taken");
    // And it is asked about what is harmless.
    assert!(scene.send("none").starts_with("250 "));
    scene.received("none");
    scene.ends();
}

/// What goes beyond its quotas without being a fault is cut, and the rest of the answer is used.
#[test]
fn what_keeps_to_its_limits_is_used() {
    let mut scene = Scene::with(&plugin(LONG), "hostile");
    for (case, _) in CASES.iter().filter(|(_, expect)| *expect == Expect::Used) {
        let reply = scene.send(case);
        assert!(reply.starts_with("250 "), "{case}: {reply}");
        match *case {
            "reason-control" => {
                let event = scene.world.event("email.held");
                let reason = event["reason"].as_str().unwrap();
                assert!(reason.contains("forged line") && !reason.contains(char::is_control), "{reason:?}");
                assert_eq!(
                    (&event["plugin"], &event["digest"]),
                    (&"bad".into(), &scene.digest.as_str().into())
                );
                continue;
            }
            "attribute-most" => {
                let queued = scene.world.relay.events("email.queued");
                let of = queued.iter().find(|e| e["subject"] == format!("of {case}.")).unwrap();
                assert!(of.to_string().len() < 8 << 10, "{of}");
            }
            "attribute-not-granted" => {
                let queued = scene.world.relay.events("email.queued");
                let of = queued.iter().find(|e| e["subject"] == format!("of {case}.")).unwrap();
                assert_eq!(of["attributes_left_out"].as_array().unwrap().len(), 3, "{of}");
            }
            "huge-log" | "huge-output" => {
                let lines = scene.world.listed("bad")["log"].to_string();
                assert!(lines.len() <= 25 * 1_100 && !lines.contains("\\u001b"), "{lines}");
            }
            _ => {}
        }
        let message = scene.received(case).message;
        match *case {
            "kv-flood" => assert!(message.contains("X-Flood: refused=true exhausted=true\r\n"), "{message}"),
            "remembers" => assert!(message.contains("X-Calls-Before: 0\r\n"), "{message}"),
            "non-determinism" => is_a_function_of_the_message(&message),
            _ => {}
        }
    }
    let metrics = String::from_utf8(scene.world.relay.get("/metrics").body).unwrap();
    let dropped = metrics.lines().find(|l| l.starts_with("relevo_plugin_log_dropped_total{")).unwrap();
    assert!(dropped.rsplit(' ').next().unwrap().parse::<u64>().unwrap() > 100, "{dropped}");
    let faults = metrics.lines().filter(|l| l.starts_with("relevo_plugin_faults_total{"));
    assert!(faults.clone().all(|l| l.ends_with(" 0")), "{:?}", faults.collect::<Vec<_>>());
    assert!(!scene.world.relay.log().contains('\u{1b}'), "no control characters of a plugin's in our log");
    scene.ends();
}

/// Both clocks show the time of the message, and there is nothing else to tell two runs apart by.
fn is_a_function_of_the_message(message: &str) {
    let seen = message.replace("\r\n ", " ").replace("\r\n\t", " ");
    let seen = seen.lines().find_map(|l| l.strip_prefix("X-Seen: ")).unwrap().to_owned();
    let value = |name: &str| {
        let of = |word: &str| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        seen.split_whitespace().find_map(of).unwrap_or_else(|| panic!("{name}: {seen}"))
    };
    assert_eq!(value("wall"), value("clock"), "{seen}");
    assert_eq!(value("environment"), "0", "{seen}");
    assert!(value("wall").parse::<u64>().unwrap() > 1_600_000_000_000, "{seen}");
}

/// Where its tenant wants mail to pass, it passes as if the plugin were not there: nothing of what
/// it answered is in it.
#[test]
fn nothing_of_a_broken_answer_is_in_mail_that_passes() {
    let plugins = plugin(&format!("{SHORT}\non_failure = \"accept\""));
    let mut scene = Scene::with(&plugins, "hostile");
    let answers = |name: &str| name.starts_with("header-") || name.starts_with("override-") || name == "trap";
    for (case, _) in CASES.iter().filter(|(case, expect)| *expect == Expect::Fault && answers(case)) {
        assert!(scene.send(case).starts_with("250 "), "{case}");
        let received = scene.received(case);
        let (header, body) = received.message.split_once("\r\n\r\n").unwrap();
        for injected in [
            "victim@",
            "ceo@bank",
            "from nowhere",
            "X-A",
            "x.test",
            "X-Relevo-Tenant",
            "<script>",
            "dkim=pass",
        ] {
            assert!(!header.contains(injected), "{case}: {header}");
        }
        assert_eq!(body, "Hello.\r\n", "{case}");
        let queued = scene.world.relay.events("email.queued");
        let of = queued.iter().find(|e| e["subject"] == format!("of {case}.")).unwrap();
        let opinion = &of["policies"][0];
        assert_eq!(
            (&opinion["verdict"], &opinion["digest"]),
            (&"fault".into(), &scene.digest.as_str().into()),
            "{case}: {of}"
        );
    }
    scene.ends();
}

/// Not in the table of cases: no compiler makes one that grows tables.
#[test]
fn a_table_bomb_is_stopped() {
    let mut scene = Scene::empty(&plugin(SHORT));
    let file = scene.world.relay.folder.join("table-bomb.wasm");
    fs::write(&file, written("table-bomb").unwrap()).unwrap();
    scene.world.does(&["add"], "bad", &[file.to_str().unwrap()]);
    scene.digest = scene.world.listed("bad")["digest"].as_str().unwrap().to_owned();
    // Refused more elements, it goes on asking: what ends it is its time.
    assert_eq!(scene.faults("table-bomb"), "decide: deadline (guest)");
    assert!(scene.world.relay.log().contains("elements, 10000 are allowed"), "{}", scene.world.relay.log());
    scene.ends();
}

/// A version that was put in use with one configuration breaks with the next.
#[test]
fn settings_that_break_it_later_are_its_fault() {
    let mut scene = Scene::with(&plugin(&format!("{SHORT}\nsettings = {{ case = \"none\" }}")), "hostile");
    assert!(scene.send("before").starts_with("250 "));
    let mut now = "none";
    for (case, _) in CASES.iter().filter(|(_, expect)| *expect == Expect::Configure) {
        scene.world.reconfigure(&format!("case = \"{now}\""), &format!("case = \"{case}\""));
        now = case;
        let kind = case.replace("configure-", "configure: ").replace("loop", "deadline") + " (guest)";
        wait_for(case, || {
            (scene.send(case).starts_with("451 4.3.0 ") && scene.faults(case) == kind).then_some(())
        });
        wait_for("who reloaded is told", || {
            let problem = scene.world.listed("bad")["problem"].as_str()?.to_owned();
            problem.starts_with("it refuses its settings: configure").then_some(())
        });
        assert!(scene.world.relay.log().contains("refuses its new settings"), "{}", scene.world.relay.log());
        // Nor is it put in use with them.
        scene.world.refuses("bad", &component("hostile"), "the self-test failed: configure");
        assert_eq!(scene.world.listed("bad")["digest"], scene.digest.as_str());
    }
    // A reload of something else mends nothing.
    let state = || scene.world.listed("bad")["state"].as_str().unwrap().to_owned();
    assert_eq!(state(), "broken");
    let reloads = || scene.world.relay.log().matches("reloaded").count();
    let before = reloads();
    scene.world.reconfigure("name = \"bad\"", "name = \"bad\"\nlog_lines = 7");
    wait_for("the reload", || (reloads() > before).then_some(()));
    // Plugins are made anew a moment after that.
    for _ in 0..10 {
        assert_eq!(state(), "broken");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    scene.world.reconfigure(&format!("case = \"{now}\""), "case = \"none\"");
    wait_for("settings that it likes", || scene.send("mended").starts_with("250 ").then_some(()));
    assert_eq!(scene.world.listed("bad")["state"], "active");
    scene.ends();
}

/// Imports that are taken away after it was put in use: the failure policy answers rather than
/// nobody.
#[test]
fn a_grant_that_is_withdrawn_is_answered_by_the_failure_policy() {
    let plugins = everything("breaker_faults = 1000").replace("\"every\"", "\"bad\"");
    let mut scene = Scene::with(&plugins, "everything");
    assert!(scene.send("granted").starts_with("250 "));
    let grants = "grants = [\"log\", \"clock\", \"kv\"]";
    scene.world.reconfigure(grants, "grants = [\"log\", \"clock\"]");
    wait_for("the reload", || scene.send("withdrawn").starts_with("451 4.3.0 ").then_some(()));
    assert_eq!(scene.faults("withdrawn"), "it cannot be loaded");
    let listed = scene.world.listed("bad");
    assert_eq!(listed["state"], "broken");
    let up = |value: &str| {
        let metrics = String::from_utf8(scene.world.relay.get("/metrics").body).unwrap();
        metrics.lines().any(|l| l.starts_with("relevo_plugin_up{") && l.ends_with(value))
    };
    assert!(up(" 0") && !up(" 1"));
    assert!(listed["problem"].as_str().unwrap().contains("relevo:host/kv"), "{listed}");
    scene.world.reconfigure("grants = [\"log\", \"clock\"]", grants);
    wait_for("the reload", || scene.send("granted again").starts_with("250 ").then_some(()));
    scene.ends();
}

/// Refused by name before anything of it runs; what is in use stays.
#[test]
fn what_is_no_plugin_or_wants_too_much_is_not_put_in_use() {
    let mut scene = Scene::with(&plugin(SHORT), "accept-all");
    let made = |name: &str, octets: Vec<u8>| -> PathBuf {
        let file = scene.world.relay.folder.join(format!("{name}.wasm"));
        fs::write(&file, octets).unwrap();
        file
    };
    let text = |name: &str| made(name, written(name).unwrap());
    let refused = [
        (text("core-module"), "it is a core module"),
        (text("wrong-world"), "it does not export relevo:policy/decide@0.1.0"),
        (text("wrong-version"), "it exports relevo:policy/decide@9.0.0; this relay speaks 0.1.0"),
        (text("wrong-types"), "type mismatch with parameters: expected `record` found `string`"),
        (text("huge-memory"), "octets of memory to begin with"),
        (text("huge-table"), "elements of tables to begin with"),
        (made("many-functions", many_functions(60_001)), "60001 functions, 60000 are allowed"),
        (component("not-granted"), "relevo:host/signer"),
        (component("sockets"), "wasi:sockets"),
        (made("cut", fs::read(component("hostile")).unwrap()[..100_000].to_vec()), "no component"),
    ];
    for (file, why) in refused {
        scene.world.refuses("bad", &file, why);
    }
    let listed = scene.world.listed("bad");
    assert_eq!(
        (listed["state"].as_str(), listed["digest"].as_str()),
        (Some("active"), Some(scene.digest.as_str()))
    );
    assert!(scene.send("after all that").starts_with("250 "));
    scene.received("after all that");
    scene.ends();
}
