//! Arguments of `relevo queue`.

use clap::{Args, Subcommand};

use super::RelayArgs;

#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    #[command(subcommand)]
    pub(crate) command: QueueCommand,
    #[command(flatten)]
    pub(crate) relay: RelayArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// All messages, oldest first.
    List,
    /// One message with all its deliveries.
    Show {
        /// The queue id.
        id: String,
    },
    /// What each recipient of a message is waiting for.
    Why {
        /// The queue id.
        id: String,
    },
    /// Make all its deliveries due at once.
    Retry {
        /// The queue id.
        id: String,
    },
    /// Attempt nothing more until released. It still expires.
    Hold {
        /// The queue id.
        id: String,
    },
    /// End a hold.
    Release {
        /// The queue id.
        id: String,
    },
    /// Delete it, without a bounce.
    Drop {
        /// The queue id.
        id: String,
    },
    /// Rebuild a lost or damaged index from bodies and segments, while no relay runs. Messages that
    /// are found are held.
    Recover {
        /// Make what is found due at once. Recipients that have it already get it again.
        #[arg(long)]
        release: bool,
    },
}
