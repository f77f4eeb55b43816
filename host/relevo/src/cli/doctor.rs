//! Arguments of `relevo doctor`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "relevo.toml")]
    pub(crate) config: PathBuf,
    /// Only this domain. Default: all of the configuration file and of the store.
    #[arg(long, value_name = "D")]
    pub(crate) domain: Option<String>,
    /// One JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}
