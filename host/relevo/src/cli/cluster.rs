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
    /// What each shard has: who serves it, how many messages, and the log. Takes six seconds.
    ///
    /// `behind` are records that the directory of the holder lacks, as it said within the last seconds.
    /// The exit status is 1 if nobody serves a shard.
    Shards,
    /// Give the shards of a running node to the others, and wait until they serve them.
    ///
    /// Mail is refused (451) and `/readyz` says so; attempts under way may end. It stays so until
    /// `undrain` or the next start. Run it on the node. The exit status is 1 if others do not serve all.
    Drain,
    /// Let a node that was drained take its home again. Run it on the node.
    Undrain,
    /// Remove a node for good: it is not counted and not shown any more.
    ///
    /// It must be stopped, and its home must have no messages: the others send what is there. They keep
    /// the shard with its events.
    Forget {
        /// Its name, as `status` shows it.
        #[arg(value_name = "NODE")]
        node: String,
    },
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
