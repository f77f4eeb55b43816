//! Nodes as one server.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::engine::LogEngine;
use crate::bench::note;
use crate::metrics::Metrics;
use crate::process::{self, Cpu};
use crate::relay::{Launch, NextHop, Relay, Setup, free_port};
use crate::server::{EngineCounters, Server};

/// Where nodes are made, and from what.
pub(crate) struct Ground<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) directory: PathBuf,
    pub(crate) next_hop: NextHop,
    /// Compiled components, so that not every node compiles them.
    pub(crate) components: &'a Path,
}

impl Ground<'_> {
    /// Starts a node; what its directory has is used.
    pub(crate) fn node(&self, number: u32, engine: Option<&LogEngine>) -> Result<Relay> {
        let directory = self.directory.join(format!("node{number}"));
        let components = directory.join("data").join("components");
        if !components.exists() {
            copy(self.components, &components)?;
        }
        let sections = match engine {
            Some(engine) => engine.sections(number, free_port()?)?,
            None => String::new(),
        };
        let setup =
            Setup { binary: self.binary, directory: &directory, next_hop: self.next_hop, retry: "1m" };
        let mut relay = Relay::launch(&setup, &Launch { sections, ..Launch::default() })?;
        relay.wait_until_it_listens()?;
        Ok(relay)
    }

    /// Starts so many, each with a shard of its own, or with nothing but its disk.
    pub(crate) fn nodes<'e>(&self, count: u32, engine: Option<&'e LogEngine>) -> Result<Nodes<'e>> {
        let relays = (1..=count).map(|n| self.node(n, engine)).collect::<Result<Vec<_>>>()?;
        let number = if count == 1 { "one node" } else { "three nodes" };
        let name = format!("{number}, {}", engine.map_or("embedded", |engine| engine.kind().name()));
        note(&name);
        Ok(Nodes { name, relays, engine })
    }
}

/// See the module.
pub(crate) struct Nodes<'e> {
    name: String,
    pub(crate) relays: Vec<Relay>,
    engine: Option<&'e LogEngine>,
}

impl Nodes<'_> {
    fn first(&self) -> Result<&Relay> {
        self.relays.first().context("no node")
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.relays.into_iter().try_for_each(Relay::stop)
    }
}

impl Server for Nodes<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn smtp(&self) -> SocketAddr {
        self.relays.first().map_or(SocketAddr::from(([127, 0, 0, 1], 0)), |relay| relay.smtp)
    }

    fn entrances(&self) -> Vec<SocketAddr> {
        self.relays.iter().map(|relay| relay.smtp).collect()
    }

    fn cpu(&self) -> Result<Cpu> {
        self.relays
            .iter()
            .map(|relay| process::cpu(relay.pid()))
            .try_fold(Cpu::default(), |sum, cpu| Ok(sum.plus(cpu?)))
    }

    fn main_process(&self) -> Option<u32> {
        self.first().ok().filter(|_| self.relays.len() == 1).map(Relay::pid)
    }

    fn written(&self) -> Result<Option<u64>> {
        self.relays.iter().map(|relay| process::written(relay.pid())).sum::<Result<u64>>().map(Some)
    }

    fn engine(&self) -> Result<Option<EngineCounters>> {
        self.engine.map(LogEngine::counters).transpose()
    }

    fn metrics(&self) -> Result<Option<Metrics>> {
        let mut all = Metrics::default();
        for relay in &self.relays {
            all = all.plus(&relay.metrics()?);
        }
        Ok(Some(all))
    }

    fn settle(&self, limit: Duration) -> Result<()> {
        self.relays.iter().try_for_each(|relay| relay.settle(limit))
    }
}

/// A directory of files, with the rights that they have.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name()))?,
            false => drop(fs::copy(entry.path(), to.join(entry.file_name()))?),
        }
    }
    Ok(())
}
