//! An engine with its servers on loopback, and the control-plane store of its cluster.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use relevo_cluster::engine::Engine;
use relevo_cluster::jetstream::{JetStreamConfig, JetStreamEngine};
use relevo_cluster::postgres::PostgresEngine;
use serde::Serialize;

use super::nats::Nats;
use super::postgres::Postgres;
use super::secret;
use crate::server::EngineCounters;

/// What keeps logs and leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineKind {
    Nats,
    Postgres,
}

impl EngineKind {
    pub(crate) const ALL: [Self; 2] = [Self::Nats, Self::Postgres];

    /// For the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nats => "NATS",
            Self::Postgres => "PostgreSQL",
        }
    }

    /// As a configuration writes it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Postgres => "postgres",
        }
    }
}

/// See the module. Everything ends when it is dropped.
pub(crate) struct LogEngine {
    /// None: PostgreSQL keeps the logs, too.
    nats: Option<Nats>,
    database: Postgres,
    directory: PathBuf,
}

impl LogEngine {
    pub(crate) fn start(kind: EngineKind, nats_server: &Path, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let database = Postgres::start(directory)?;
        let nats = (kind == EngineKind::Nats).then(|| Nats::start(nats_server, directory)).transpose()?;
        Ok(Self { nats, database, directory: directory.to_owned() })
    }

    pub(crate) fn kind(&self) -> EngineKind {
        if self.nats.is_some() { EngineKind::Nats } else { EngineKind::Postgres }
    }

    /// Sections of a node's configuration.
    pub(crate) fn sections(&self, number: u32, limits: SocketAddr) -> Result<String> {
        let file = self.directory.join("cluster.secret");
        let file = secret(&file, "the same on all nodes, and known to nobody else")?;
        let nats = self.nats.as_ref().map_or(Ok(String::new()), Nats::section)?;
        Ok(format!(
            "[store]\nurl = \"{url}\"\n[cluster]\nengine = \"{kind}\"\nnode = \"n{number}\"\nshard = {number}\n\
             address = \"http://{{http}}\"\nlisten = \"{limits}\"\nsecret_file = \"{file}\"\n{nats}",
            url = self.database.url(),
            kind = self.kind().key(),
        ))
    }

    pub(crate) fn counters(&self) -> Result<EngineCounters> {
        let (servers, (appends, octets)) = match &self.nats {
            Some(nats) => (&nats.servers, nats.logs()?),
            None => (&self.database.servers, self.database.logs()?),
        };
        Ok(EngineCounters { appends, octets, written: servers.written(), cpu: servers.cpu()? })
    }

    /// As a node connects to it.
    pub(crate) async fn connect(&self) -> Result<Arc<dyn Engine>> {
        let login = |(user, password): (&str, &str)| Some((user.to_owned(), password.to_owned()));
        Ok(match &self.nats {
            Some(nats) => {
                let config = JetStreamConfig {
                    servers: nats.urls(),
                    user: login(Nats::USER),
                    system_user: login(Nats::SYSTEM),
                    ca_file: None,
                    name: "bench".to_owned(),
                    replicas: 3,
                    is_unsafe: false,
                };
                Arc::new(JetStreamEngine::connect(config).await.context("NATS")?)
            }
            None => {
                Arc::new(PostgresEngine::connect(&self.database.url(), false).await.context("PostgreSQL")?)
            }
        })
    }
}
