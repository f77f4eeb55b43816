//! A log that nobody reads, disks that are full, and files that would block their reader.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use support::client::get;
use support::relay::Relay;
use support::sink::Sink;
use support::wait_for;

const SHOP: &str = "shop@example.test";

fn send(relay: &Relay, subject: &str) {
    let message = format!("From: {SHOP}\r\nTo: ada@reader.test\r\nSubject: {subject}\r\n\r\nHello.\r\n");
    let reply = relay.login().transact(SHOP, &["ada@reader.test"], &message);
    assert!(reply.starts_with("250"), "{reply}");
}

fn metric(relay: &Relay, name: &str) -> f64 {
    let metrics = String::from_utf8(get(relay.http, "x", "/metrics", None).body).unwrap();
    let line = metrics.lines().find(|line| line.starts_with(&format!("relevo_{name} ")));
    line.unwrap_or_else(|| panic!("no {name}:\n{metrics}")).split(' ').nth(1).unwrap().parse().unwrap()
}

/// Serves with this standard error: mail is taken and delivered once, lines are counted, and the end is clean.
fn serves_without_a_log(stderr: Stdio) {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", false);
    relay.stop();
    relay.spawn_logging_to(stderr);
    send(&relay, "unlogged");
    sink.wait("Subject: unlogged");
    wait_for("an empty queue", || (relay.queue(&["list", "--json"]).1.trim() == "[]").then_some(()));
    assert!(metric(&relay, "log_lines_dropped_total") > 0.0);
    send(&relay, "again");
    sink.wait("Subject: again");
    assert_eq!(get(relay.http, "x", "/readyz", None).status, 200);
    relay.stop();
    assert_eq!(sink.all().len(), 2, "nothing was sent twice");
}

#[test]
fn the_reader_of_the_log_may_go_away() {
    serves_without_a_log(Stdio::piped());
}

#[test]
fn the_disk_of_the_log_may_be_full() {
    serves_without_a_log(fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into());
}

/// A start that fails says so in its exit code, whatever becomes of the message.
#[test]
fn a_failed_start_without_a_log_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_relevo"));
    serve.args(["serve", "--config"]).arg(folder.path().join("missing.toml")).stderr(full);
    assert_eq!(serve.status().unwrap().code(), Some(1));
}

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A FIFO blocks whoever opens it until somebody writes. As a file of the configuration it is a mistake.
#[test]
fn a_reload_does_not_wait_for_a_fifo() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", false);
    let config = relay.config();
    let good = fs::read_to_string(&config).unwrap();
    let complaint = |relay: &Relay, seen: usize, file: &str| {
        relay.reload();
        wait_for(file, || {
            let log = relay.log()[seen..].to_owned();
            (log.contains(file) && log.contains("not a regular file") && log.contains("nothing was changed"))
                .then_some(())
        });
    };
    fifo(&relay.folder.join("cert.pem"));
    fs::copy(relay.folder.join("rsa.pem"), relay.folder.join("tls.pem")).unwrap();
    let with_certificate =
        good.replace("[smtp]\n", "[smtp]\ntls_certificate = \"cert.pem\"\ntls_key = \"tls.pem\"\n");
    fs::write(&config, with_certificate).unwrap();
    complaint(&relay, relay.log().len(), "cert.pem");
    fs::write(&config, &good).unwrap();
    fifo(&relay.folder.join("ed.pem"));
    complaint(&relay, relay.log().len(), "ed.pem");
    fifo(&config);
    complaint(&relay, relay.log().len(), "relevo.toml");
    send(&relay, "meanwhile");
    sink.wait("Subject: meanwhile");
    relay.stop();
    relay.launch();
    assert!(!relay.ended(), "a FIFO is no configuration");
}

#[test]
fn a_lost_tracking_key_is_an_error_and_not_replaced() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", true);
    let key = relay.folder.join("data/tracking.key");
    let secret = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    relay.reload();
    wait_for("the complaint", || {
        let log = relay.log();
        (log.contains("tracking.key: is gone") && log.contains("nothing was changed")).then_some(())
    });
    assert!(!key.exists());
    send(&relay, "tracked");
    sink.wait("Subject: tracked");
    relay.stop();
    relay.launch();
    assert!(!relay.ended() && relay.log().contains("tracking.made"), "{}", relay.log());
    fs::write(&key, secret).unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    relay.spawn();
    relay.login();
}
