//! Arguments of `relevo store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct StoreTransferArgs {
    #[command(subcommand)]
    pub(crate) command: StoreTransferCommand,
    /// The configuration file, whose `[store] url` and `data_dir` count.
    #[arg(long, value_name = "FILE", default_value = "relevo.toml", global = true)]
    pub(crate) config: PathBuf,
    /// One JSON document instead of text, on standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreTransferCommand {
    /// Write everything into a file. The relay may run: the file is of one moment.
    Export {
        /// The file, which must not be there; `-` for standard output.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Read an export into an empty store, all of it or nothing. The relay must be stopped.
    ///
    /// The file must be of the same version of the tables. The other database is made first, such as
    /// by `createdb`; a SQLite file is made here.
    Import {
        /// The file; `-` for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}
