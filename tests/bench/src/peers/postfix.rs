//! Postfix with OpenDKIM as its milter, over a Unix socket.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Ground, Kind, Peer, account, ask, directory, find, key};
use crate::relay::free_port;

pub(super) const KIND: Kind = Kind {
    name: "Postfix",
    durable: true,
    tuning: "OpenDKIM over a Unix socket; as many smtpd as sessions; 20 deliveries to the next hop at once from the start, \
             over cached connections; no pause for input (in_flow_delay), no anvil, no reverse lookups, no DNS, no TLS; one log \
             line per step to a file, as it comes",
    start,
};

fn start(ground: &Ground<'_>) -> Result<Peer> {
    let postfix = find(&["/usr/sbin/postfix".into()])?;
    let opendkim = find(&["/usr/sbin/opendkim".into()])?;
    let version = format!(
        "Postfix {}, {}",
        ask(Path::new("postconf"), &["-dh", "mail_version"])?.trim(),
        ask(&opendkim, &["-V"])?.lines().next().unwrap_or_default().trim_start_matches("opendkim: ")
    );
    let smtp = free_port()?;
    let mut peer = Peer::new(KIND.name, version, smtp, ground)?;
    let socket = milter(ground, &mut peer, &opendkim)?;
    let owner = account("postfix")?;
    let folder = |name: &str| ground.directory.join(name);
    directory(&folder("spool"), None, 0o755)?;
    directory(&folder("lib"), Some(owner), 0o700)?;
    directory(&folder("etc"), None, 0o755)?;
    fs::write(folder("etc").join("main.cf"), main(ground, &socket))?;
    fs::write(folder("etc").join("master.cf"), master(smtp.port(), ground.sessions))?;
    peer.spawn(&postfix, |command| {
        command.arg("-c").arg(folder("etc")).arg("start-fg");
    })?;
    Ok(peer)
}

fn milter(ground: &Ground<'_>, peer: &mut Peer, opendkim: &Path) -> Result<PathBuf> {
    // It warns of a key that it cannot be sure of; this one is root's, and so is the process.
    let key = key(ground, (0, 0))?;
    let (socket, config) = (ground.directory.join("opendkim.sock"), ground.directory.join("opendkim.conf"));
    fs::write(
        &config,
        format!(
            "Mode s\nSocket local:{}\nUMask 000\nDomain {}\nSelector s1\nKeyFile {}\nSignatureAlgorithm rsa-sha256\n\
             Canonicalization relaxed/relaxed\nBackground no\nSyslog no\nInternalHosts 127.0.0.1\n",
            socket.display(),
            ground.domain,
            key.display()
        ),
    )?;
    peer.spawn(opendkim, |command| {
        command.arg("-f").arg("-x").arg(&config);
    })?;
    let began = Instant::now();
    while !socket.exists() {
        ensure!(began.elapsed() < Duration::from_secs(10), "OpenDKIM does not listen: {}", peer.output());
        sleep(Duration::from_millis(50));
    }
    Ok(socket)
}

fn main(ground: &Ground<'_>, socket: &Path) -> String {
    let directory = ground.directory.display();
    format!(
        "compatibility_level = 3.6
queue_directory = {directory}/spool
data_directory = {directory}/lib
maillog_file = {directory}/log
maillog_file_prefixes = {directory}
myhostname = postfix.test
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = none
smtp_tls_security_level = none
message_size_limit = 104857600
relayhost = [127.0.0.1]:{next_hop}
disable_dns_lookups = yes
smtpd_milters = unix:{socket}
milter_default_action = tempfail
in_flow_delay = 0s
default_process_limit = {limit}
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20
smtp_connection_cache_destinations = [127.0.0.1]
",
        next_hop = ground.next_hop.port(),
        socket = socket.display(),
        limit = limit(ground.sessions),
    )
}

/// Sessions of a load end while those of the next one begin.
fn limit(sessions: usize) -> usize {
    sessions + 100
}

/// Nothing in a chroot: its files are in no place where the kernel's resolver would be found.
fn master(port: u16, sessions: usize) -> String {
    let services = [
        ("pickup", "60", "1", "pickup"),
        ("cleanup", "-", "0", "cleanup"),
        ("qmgr", "300", "1", "qmgr"),
        ("rewrite", "-", "-", "trivial-rewrite"),
        ("bounce", "-", "0", "bounce"),
        ("defer", "-", "0", "bounce"),
        ("trace", "-", "0", "bounce"),
        ("verify", "-", "1", "verify"),
        ("flush", "1000?", "0", "flush"),
        ("proxymap", "-", "-", "proxymap"),
        ("smtp", "-", "-", "smtp"),
        ("relay", "-", "-", "smtp"),
        ("error", "-", "-", "error"),
        ("retry", "-", "-", "error"),
        ("discard", "-", "-", "discard"),
        ("anvil", "-", "1", "anvil"),
        ("scache", "-", "1", "scache"),
    ];
    let mut text = format!("127.0.0.1:{port} inet n - n - {} smtpd\n", limit(sessions));
    for (name, wake, most, program) in services {
        // These four are also for programs of users.
        let private = if matches!(name, "pickup" | "cleanup" | "qmgr" | "flush") { "n" } else { "-" };
        let _ = writeln!(text, "{name} unix {private} - n {wake} {most} {program}");
    }
    text + "postlog unix-dgram n - n - 1 postlogd\n"
}
