//! Arguments of `relevo cluster` and `relevo shard`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    pub(crate) command: ClusterCommand,
    /// The configuration file of any node.
    #[arg(long, value_name = "FILE", default_value = "relevo.toml", global = true)]
    pub(crate) config: PathBuf,
    /// One JSON document instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Which nodes there are, which of them are alive, and who has which shard. Takes six seconds: it
    /// looks who renews.
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct ShardArgs {
    #[command(subcommand)]
    pub(crate) command: ShardCommand,
    /// The configuration file of the node whose home the shard is. The node must be stopped.
    #[arg(long, value_name = "FILE", default_value = "relevo.toml", global = true)]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShardCommand {
    /// Compares the log of the shard with the data directory.
    Verify,
    /// Writes the log of the shard anew from the data directory.
    Rebuild,
    /// Makes the data directory one without a log: the node is alone from then on.
    Leave,
}
