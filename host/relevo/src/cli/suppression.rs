//! Arguments of `relevo suppression`.

use clap::{Args, Subcommand};

use super::RelayArgs;

#[derive(Debug, Args)]
pub(crate) struct SuppressionArgs {
    #[command(subcommand)]
    pub(crate) command: SuppressionCommand,
    #[command(flatten)]
    pub(crate) relay: RelayArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SuppressionCommand {
    /// Remove the entries that rules added in a window of time.
    ///
    /// All conditions must be true. Entries of complaints, of recipients who left and those that were
    /// added by hand stay, unless --reason asks for them.
    Undo(UndoArgs),
}

#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// Entries from this time on, RFC 3339: 2026-11-29T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) after: String,
    /// Entries before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) before: String,
    /// The provider of the mailboxes, such as google.
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// The MX host that answered, or a domain that the hosts are in.
    #[arg(long, value_name = "HOST")]
    pub(crate) mx: Option<String>,
    /// The domain of the addresses.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Option<String>,
    /// The rule that told what the reply means.
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,
    /// bounce, complaint, unsubscribe or manual. Default: what rules added for a bounce.
    #[arg(long, value_name = "WHY")]
    pub(crate) reason: Option<String>,
    /// One tenant. Default: all.
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<String>,
    /// Remove nothing, and say what would be removed.
    #[arg(long)]
    pub(crate) dry_run: bool,
}
