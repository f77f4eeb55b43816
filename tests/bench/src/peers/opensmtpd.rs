//! OpenSMTPD with its DKIM filter. Its 6.8 answers 250 without a sync, so it is no measure for
//! those that wait for one.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Ground, Kind, Missing, Peer, account, ask, find, key};
use crate::relay::free_port;

pub(super) const KIND: Kind = Kind {
    name: "OpenSMTPD",
    durable: false,
    tuning: "filter-dkimsign; 20 connections to the next hop without a pause between them; no TLS; its queue is where its binary says, /var/spool/smtpd",
    start,
};

fn start(ground: &Ground<'_>) -> Result<Peer> {
    let unpacked = ground.installed.join("opensmtpd");
    let smtpd = find(&[unpacked.join("usr/sbin/smtpd")])?;
    let filter = find(&[unpacked.join("usr/libexec/opensmtpd/filter-dkimsign")])?;
    // It looks for its helpers in a fixed place, and locks itself into another.
    find(&["/usr/libexec/opensmtpd".into()])?;
    find(&["/var/lib/opensmtpd/empty".into()])?;
    let version =
        ask(&smtpd, &["-h"])?.lines().next().unwrap_or_default().trim_start_matches("version: ").to_owned();
    let smtp = free_port()?;
    let mut peer = Peer::new(KIND.name, version, smtp, ground)?;
    let key = key(ground, account("opensmtpd")?)?;
    let libraries = unpacked.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let config = ground.directory.join("smtpd.conf");
    fs::write(
        &config,
        format!(
            "smtp max-message-size 100M
smtp limit max-mails 1000000000
mta limit max-conn-per-host 20 max-conn-per-route 20 max-conn-per-source 20 max-conn-per-connector 20 max-conn-per-relay 20 \\
    max-conn-per-domain 20 conn-delay-host 0 conn-delay-route 0 conn-delay-source 0 conn-delay-connector 0 conn-delay-relay 0 conn-delay-domain 0
filter \"dkim\" proc-exec \"/usr/bin/env LD_LIBRARY_PATH={libraries} {filter} -a rsa-sha256 -c relaxed/relaxed -d {domain} -s s1 -k {key}\"
listen on 127.0.0.1 port {port} filter \"dkim\" hostname opensmtpd.test
action \"out\" relay host smtp://127.0.0.1:{next_hop}
match from any for any action \"out\"
",
            libraries = libraries.display(),
            filter = filter.display(),
            domain = ground.domain,
            key = key.display(),
            port = smtp.port(),
            next_hop = ground.next_hop.port(),
        ),
    )?;
    unused(Path::new("/var/spool/smtpd/queue"))?;
    peer.spawn(&smtpd, |command| {
        command.arg("-d").arg("-f").arg(&config);
    })?;
    Ok(peer)
}

/// Its place is fixed: mail of somebody else's, or of an interrupted run, would be delivered to the
/// sink.
fn unused(queue: &Path) -> Result<()> {
    let mail = |folder: &fs::DirEntry| fs::read_dir(folder.path()).is_ok_and(|mut f| f.next().is_some());
    if fs::read_dir(queue)?.flatten().any(|folder| mail(&folder)) {
        return Err(Missing(format!("there is mail in {}", queue.display())).into());
    }
    Ok(())
}
