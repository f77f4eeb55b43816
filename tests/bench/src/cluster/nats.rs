//! Three NATS servers that keep each record three times and sync before they answer.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::servers::{Servers, until};
use crate::api::runtime;
use crate::http_client::HttpClient;
use crate::relay::free_port;

/// What `/jsz` says of streams.
#[derive(Debug, Deserialize)]
struct Jsz {
    #[serde(default)]
    account_details: Vec<Account>,
}

#[derive(Debug, Deserialize)]
struct Account {
    #[serde(default)]
    stream_detail: Vec<Stream>,
}

#[derive(Debug, Deserialize)]
struct Stream {
    name: String,
    state: StreamState,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct StreamState {
    bytes: u64,
    last_seq: u64,
}

pub(crate) struct Nats {
    pub(crate) servers: Servers,
    directory: PathBuf,
    clients: Vec<SocketAddr>,
    monitors: Vec<SocketAddr>,
}

impl Nats {
    pub(crate) const USER: (&str, &str) = ("relevo", "mail");
    pub(crate) const SYSTEM: (&str, &str) = ("sys", "system");

    pub(crate) fn start(program: &Path, directory: &Path) -> Result<Self> {
        ensure!(
            program.exists(),
            "{} is missing: `tests/cluster/install` fetches it, `--nats` names another place",
            program.display()
        );
        let ports = || (0..3).map(|_| free_port()).collect::<Result<Vec<_>>>();
        let (clients, monitors, routes) = (ports()?, ports()?, ports()?);
        let all: Vec<String> = routes.iter().map(|route| format!("nats://{route}")).collect();
        let all = all.join(", ");
        let mut servers = Servers::new("nats");
        for (n, ((client, monitor), route)) in clients.iter().zip(&monitors).zip(&routes).enumerate() {
            let place = directory.join(format!("nats{n}"));
            fs::create_dir_all(&place)?;
            let store = place.join("store").display().to_string();
            let ((user, password), (system, secret)) = (Self::USER, Self::SYSTEM);
            let text = format!(
                "server_name: e{n}\nlisten: \"{client}\"\nhttp: \"{monitor}\"\n\
                 jetstream {{ store_dir: \"{store}\", sync_interval: always }}\n\
                 cluster {{ name: mail, listen: \"{route}\", routes: [{all}] }}\n\
                 accounts {{ $SYS {{ users: [{{ user: {system}, password: {secret} }}] }}, \
                 MAIL {{ jetstream: enabled, users: [{{ user: {user}, password: {password} }}] }} }}\n"
            );
            let file = place.join("nats.conf");
            fs::write(&file, text)?;
            let file = file.display().to_string();
            servers.start(program, None, &["-c", &file], &place.join("log"))?;
        }
        let nats = Self { servers, directory: directory.to_owned(), clients, monitors };
        for (n, monitor) in nats.monitors.iter().enumerate() {
            let log = directory.join(format!("nats{n}")).join("log");
            until("a NATS server is ready", Duration::from_secs(60), &log, || {
                get(*monitor, "/healthz").is_ok()
            })?;
        }
        Ok(nats)
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.clients.iter().map(|client| format!("nats://{client}")).collect()
    }

    /// The section of a relay's configuration.
    pub(crate) fn section(&self) -> Result<String> {
        let file = |name: &str, text: &str| super::secret(&self.directory.join(name), text);
        let ((user, password), (system, secret)) = (Self::USER, Self::SYSTEM);
        let (password, secret) = (file("mail.password", password)?, file("system.password", secret)?);
        Ok(format!(
            "[cluster.nats]\nservers = {:?}\nuser = \"{user}\"\npassword_file = \"{password}\"\n\
             system_user = \"{system}\"\nsystem_password_file = \"{secret}\"\n",
            self.urls()
        ))
    }

    /// Records of all logs and their octets: those of the server that has the most of each.
    pub(crate) fn logs(&self) -> Result<(u64, u64)> {
        let mut streams: BTreeMap<String, StreamState> = BTreeMap::new();
        for monitor in &self.monitors {
            let answer: Jsz = serde_json::from_slice(&get(*monitor, "/jsz?streams=true")?)?;
            for stream in answer.account_details.into_iter().flat_map(|account| account.stream_detail) {
                let known = streams.entry(stream.name).or_insert(stream.state);
                if stream.state.last_seq > known.last_seq {
                    *known = stream.state;
                }
            }
        }
        let logs = || streams.iter().filter(|(name, _)| name.contains("-shard-")).map(|(_, state)| state);
        Ok((logs().map(|log| log.last_seq).sum(), logs().map(|log| log.bytes).sum()))
    }
}

fn get(from: SocketAddr, path: &str) -> Result<Vec<u8>> {
    runtime()?
        .block_on(async {
            let answer = HttpClient::connect(from).await?.get(&from.to_string(), path, "").await?;
            ensure!(answer.status == 200, "NATS {path}: {}", answer.status);
            Ok::<_, anyhow::Error>(answer.body)
        })
        .context("the monitor of a NATS server")
}
