//! Exim, which signs by itself.

use std::fs;

use anyhow::Result;

use super::{Ground, Kind, Peer, account, ask, directory, find, key};
use crate::relay::free_port;

pub(super) const KIND: Kind = Kind {
    name: "Exim",
    durable: true,
    tuning: "its own DKIM; delivers at once; split spool, no message logs, no lookups of clients, privileges dropped before \
             deliveries (no exec for each), as many connections as sessions, no TLS",
    start,
};

fn start(ground: &Ground<'_>) -> Result<Peer> {
    let unpacked = ground.installed.join("exim/usr/sbin/exim4");
    let exim = find(&[unpacked, "/usr/sbin/exim4".into()])?;
    let owner = account("Debian-exim")?;
    let version = ask(&exim, &["-bV"])?;
    let version =
        version.lines().next().unwrap_or_default().split(" #").next().unwrap_or_default().to_owned();
    let smtp = free_port()?;
    let mut peer = Peer::new(KIND.name, version, smtp, ground)?;
    let key = key(ground, owner)?;
    for name in ["spool", "log"] {
        directory(&ground.directory.join(name), Some(owner), 0o750)?;
    }
    let config = ground.directory.join("exim.conf");
    let text = format!(
        "exim_path = {exim}
spool_directory = {directory}/spool
log_file_path = {directory}/log/%slog
pid_file_path = {directory}/log/exim.pid
primary_hostname = exim.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
disable_ipv6
deliver_drop_privilege
split_spool_directory
message_logs = false
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
acl_smtp_rcpt = accept
acl_smtp_data = accept
message_size_limit = 100M
smtp_accept_max = {most}
smtp_accept_max_nonmail = 1000000
smtp_accept_queue = 0
smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 512

begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  transport = out
  self = send

begin transports
out:
  driver = smtp
  port = {next_hop}
  allow_localhost
  hosts_avoid_tls = *
  dkim_domain = {domain}
  dkim_selector = s1
  dkim_private_key = {key}
  dkim_canon = relaxed

begin retry
* * F,1h,1m
",
        exim = exim.display(),
        directory = ground.directory.display(),
        port = smtp.port(),
        most = ground.sessions + 100,
        next_hop = ground.next_hop.port(),
        domain = ground.domain,
        key = key.display(),
    );
    fs::write(&config, text)?;
    peer.spawn(&exim, |command| {
        command.arg("-C").arg(&config).args(["-bdf", "-q1m"]);
    })?;
    Ok(peer)
}
