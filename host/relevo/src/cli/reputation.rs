//! Arguments of `relevo reputation`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum ReputationCommand {
    /// Show what block lists say of the addresses, and the rates of a tenant's mail.
    Show(ApiArgs),
    /// Hand over an export of Google Postmaster Tools (JSON) or of Microsoft SNDS (CSV).
    Import {
        #[command(flatten)]
        api: ApiArgs,
        /// The file: its name ends with .json or .csv.
        file: PathBuf,
    },
}

/// Names the API of a running relay.
#[derive(Debug, Args)]
pub(crate) struct ApiArgs {
    /// The relay's HTTP API. Default: the environment's RELEVO_URL, or http://127.0.0.1:8025.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// A file that holds the API key. Default: the environment's RELEVO_API_KEY.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}
