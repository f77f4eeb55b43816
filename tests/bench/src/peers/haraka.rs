//! Haraka: its outbound queue, and its DKIM plugin.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Ground, Kind, Peer, ask, find, key};
use crate::relay::free_port;

pub(super) const KIND: Kind = Kind {
    name: "Haraka",
    durable: true,
    tuning: "a process for every processor; the plugins dkim (sign, relaxed) and one of ours that accepts every recipient and \
             names the next hop; 20 deliveries at once for each process; logs errors only; no TLS",
    start,
};

/// Relays for everybody who can connect, which is this host, and sends everything to the sink.
const PLUGIN: &str = "'use strict';
exports.hook_connect = function (next, connection) {
  connection.relaying = true;
  next();
};
exports.hook_rcpt = (next) => next(OK);
exports.hook_get_mx = function (next) {
  next(OK, { priority: 0, exchange: '127.0.0.1', port: Number(process.env.BENCH_NEXT_HOP) });
};
";

fn start(ground: &Ground<'_>) -> Result<Peer> {
    let modules = ground.installed.join("haraka/node_modules");
    let program = find(&[modules.join("Haraka/bin/haraka")])?;
    let node = Path::new("node");
    let version = format!(
        "Haraka {}, haraka-plugin-dkim {}, node {}",
        package_version(&modules.join("Haraka"))?,
        package_version(&modules.join("haraka-plugin-dkim"))?,
        ask(node, &["--version"])?.trim()
    );
    let smtp = free_port()?;
    let mut peer = Peer::new(KIND.name, version, smtp, ground)?;
    let config = ground.directory.join("config");
    let dkim = config.join("dkim").join(ground.domain);
    for folder in [&dkim, &ground.directory.join("plugins"), &ground.directory.join("queue")] {
        fs::create_dir_all(folder)?;
    }
    fs::copy(key(ground, (0, 0))?, dkim.join("private"))?;
    fs::write(dkim.join("selector"), "s1\n")?;
    // What `haraka --install` would put there; it has no other defaults.
    fs::copy(modules.join("Haraka/config/connection.ini"), config.join("connection.ini"))?;
    fs::write(ground.directory.join("plugins/bench.js"), PLUGIN)?;
    let files = [
        ("me", "haraka.test\n".to_owned()),
        ("plugins", "bench\ndkim\n".to_owned()),
        ("smtp.ini", format!("listen=127.0.0.1:{}\nnodes=cpus\n", smtp.port())),
        ("log.ini", "[main]\nlevel=error\n".to_owned()),
        ("loglevel", "ERROR\n".to_owned()),
        (
            "outbound.ini",
            "enable_tls=false\nlocal_mx_ok=true\nconcurrency_max=20\ninet_prefer=v4\n".to_owned(),
        ),
        (
            "dkim.ini",
            "[sign]\nenabled=true\nheaders=From,To,Subject,Date,Message-ID,MIME-Version,Content-Type\n\
             [canon]\nbody=relaxed\n[verify]\nenabled=false\n"
                .to_owned(),
        ),
    ];
    for (name, text) in files {
        fs::write(config.join(name), text)?;
    }
    peer.spawn(node, |command| {
        command.arg(&program).arg("-c").arg(&ground.directory).current_dir(&ground.directory);
        command.env("NODE_PATH", &modules).env("BENCH_NEXT_HOP", ground.next_hop.port().to_string());
    })?;
    Ok(peer)
}

fn package_version(folder: &Path) -> Result<String> {
    let package: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("package.json"))?)?;
    Ok(package["version"].as_str().context("a package without version")?.to_owned())
}
