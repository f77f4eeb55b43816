//! Arguments of `relevo tls`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    #[command(subcommand)]
    pub(crate) command: TlsCommand,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "relevo.toml", global = true)]
    pub(crate) config: PathBuf,
    /// One JSON document instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// What TLS mail to a domain needs and why: its MTA-STS policy, DANE of each MX host, and what a
    /// handshake with each host comes to.
    Show {
        /// The recipients' domain.
        domain: String,
        /// Connect to no host.
        #[arg(long)]
        offline: bool,
    },
}
