//! PostgreSQL with a synchronous standby.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::servers::{Servers, call, directory, until};
use crate::relay::free_port;

/// PostgreSQL refuses to run as root.
const OWNER: Option<&str> = Some("postgres");

pub(crate) struct Postgres {
    pub(crate) servers: Servers,
    programs: PathBuf,
    directory: PathBuf,
    primary: SocketAddr,
}

impl Postgres {
    pub(crate) fn start(below: &Path) -> Result<Self> {
        let (files, primary, standby) = (below.join("postgres"), free_port()?, free_port()?);
        directory(&files, OWNER)?;
        crate::peers::reachable(&files)?;
        let servers = Servers::new("postgres");
        let mut own = Self { servers, programs: programs()?, directory: files, primary };
        let data = own.directory.join("primary").display().to_string();
        own.call("initdb", &["-D", &data, "-A", "trust", "-U", "relevo", "--no-sync"])?;
        own.serve("primary", primary)?;
        own.sql("postgres", "CREATE DATABASE relevo")?;
        let data = own.directory.join("standby").display().to_string();
        let source = format!("host=127.0.0.1 port={} user=relevo application_name=standby", primary.port());
        let copy = ["-D", &data, "-R", "-X", "stream", "-c", "fast", "-C", "-S", "standby", "-d", &source];
        own.call("pg_basebackup", &copy)?;
        own.serve("standby", standby)?;
        own.sql("relevo", "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby)'")?;
        own.sql("relevo", "SELECT pg_reload_conf()")?;
        Ok(own)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://relevo@{}/relevo", self.primary)
    }

    fn serve(&mut self, name: &str, at: SocketAddr) -> Result<()> {
        let (data, port) = (self.directory.join(name).display().to_string(), at.port().to_string());
        let log = self.directory.join(format!("{name}.log"));
        let options = [
            "-D",
            &data,
            "-p",
            &port,
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
            "-c",
            "max_connections=200",
        ];
        self.servers.start(&self.programs.join("postgres"), OWNER, &options, &log)?;
        until("PostgreSQL listens", Duration::from_secs(60), &log, || {
            self.call("pg_isready", &["-h", "127.0.0.1", "-p", &port]).is_ok()
        })
        .map(drop)
    }

    fn call(&self, program: &str, arguments: &[&str]) -> Result<String> {
        call(&self.programs.join(program), OWNER, arguments)
    }

    fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let port = self.primary.port().to_string();
        self.call("psql", &["-h", "127.0.0.1", "-p", &port, "-U", "relevo", "-At", "-d", database, "-c", sql])
    }

    /// Records of all logs, and their octets.
    pub(crate) fn logs(&self) -> Result<(u64, u64)> {
        let sums = "SELECT COALESCE(SUM(last), 0), COALESCE(SUM(octets), 0) FROM shard_head";
        let said = self.sql("relevo", sums)?;
        let (appends, octets) = said.split_once('|').context("shard_head")?;
        Ok((appends.parse()?, octets.parse()?))
    }
}

/// Debian's, of the newest version that is installed.
fn programs() -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed")?;
    let versions = versions.flatten().filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((number, entry.path().join("bin")))
    });
    Ok(versions.max().context("PostgreSQL is not installed")?.1)
}
