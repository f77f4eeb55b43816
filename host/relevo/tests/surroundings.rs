//! A log that nobody reads, disks that are full, and files that would block their reader.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use support::client::get;
use support::relay::{Relay, free_port};
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

/// Serves with this standard error: mail is taken and delivered once, lines are counted, and the
/// end is clean.
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

/// A FIFO blocks whoever opens it until somebody writes. As a file of the configuration it is a
/// mistake.
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

/// Files that take long to read, such as those of a mount that hangs, are read beside the loop that
/// hears signals.
#[test]
fn a_stop_does_not_wait_for_a_reload() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", false);
    let mut text = fs::read_to_string(relay.config()).unwrap();
    // Every mistake costs another reading, and there are as many as are told: that takes minutes.
    text.extend((0..100).map(|n| format!("[nonsense{n}]\n")));
    while text.len() < 4 << 20 {
        writeln!(text, "[[tenant]]\nid = \"t{}\"", text.len()).unwrap();
    }
    fs::write(relay.config(), text).unwrap();
    relay.reload();
    relay.reload();
    send(&relay, "meanwhile");
    sink.wait("Subject: meanwhile");
    relay.stop();
    let log = relay.log();
    assert!(log.contains("stopped") && !log.contains("nothing was changed"), "{log}");
}

/// Takes the listening socket of a process and shuts it down: a listener cannot accept from then
/// on.
fn break_listener(pid: i32, address: SocketAddr) {
    use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
    let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let numbers = entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
    let mut sockets = numbers.filter_map(|n| pidfd_getfd(&pidfd, n, PidfdGetfdFlags::empty()).ok());
    let listens = |socket: &rustix::fd::OwnedFd| {
        let local = rustix::net::getsockname(socket).ok().and_then(|local| SocketAddr::try_from(local).ok());
        local == Some(address) && rustix::net::sockopt::socket_acceptconn(socket) == Ok(true)
    };
    let socket = sockets.find(listens).unwrap();
    rustix::net::shutdown(socket, rustix::net::Shutdown::Both).unwrap();
}

/// A relay that half works would look well to whoever watches it.
#[test]
fn the_end_of_a_listener_ends_the_relay() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", false);
    for (name, address) in [("smtp", relay.submission), ("http", relay.http)] {
        send(&relay, name);
        sink.wait(&format!("Subject: {name}\r\n"));
        let mut session = BufReader::new(TcpStream::connect(relay.submission).unwrap());
        session.read_line(&mut String::new()).unwrap();
        break_listener(relay.pid(), address);
        let mut goodbye = String::new();
        session.read_to_string(&mut goodbye).unwrap();
        assert!(goodbye.starts_with("421 4.3.2"), "{name}: {goodbye}");
        assert!(!relay.ended(), "{name}");
        let said = format!("the {name} listener {address} ended without being asked to");
        assert!(relay.log().contains(&said), "{}", relay.log());
        relay.spawn();
    }
    relay.stop();
}

/// The limits and the listeners of `[http]`.
#[test]
fn http_listeners_are_as_configured() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", false);
    relay.stop();
    let (ok, made) = support::relay::relevo(&["api-key", "new", "--name", "prometheus"], "");
    assert!(ok, "{made}");
    let key = made.lines().find_map(|l| l.strip_prefix("API key (shown this once): ")).unwrap();
    let hash = made.lines().find_map(|l| l.strip_prefix("api_keys = ")).unwrap();
    let operations = free_port();
    let more = format!(
        "[http]\noperations_listen = [\"{operations}\"]\nmetrics_keys = {hash}\nmax_connections_per_peer = 2\n"
    );
    let text = fs::read_to_string(relay.config()).unwrap();
    fs::write(relay.config(), text.replace("[http]\n", &more)).unwrap();
    relay.spawn();

    // Who has as many connections as a client may have loses the one that has waited longest.
    let silent = || {
        let stream = TcpStream::connect(relay.http).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        stream
    };
    let mut held: Vec<TcpStream> = (0..3).map(|_| silent()).collect();
    assert_eq!(held[0].read(&mut [0]).unwrap(), 0, "the first one gives way");
    assert_eq!(get(relay.http, "x", "/healthz", None).status, 200);

    assert_eq!(get(relay.http, "x", "/metrics", Some(key)).status, 404, "operations have a listener");
    assert_eq!(get(operations, "x", "/metrics", None).status, 401);
    assert_eq!(get(operations, "x", "/metrics", Some(&relay.key)).status, 403);
    assert_eq!(get(operations, "x", "/metrics", Some(key)).status, 200);
    assert_eq!(get(operations, "x", "/readyz", None).status, 200);
    relay.stop();
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
