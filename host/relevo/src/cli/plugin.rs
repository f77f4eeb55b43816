//! Arguments of `relevo plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::RelayArgs;

#[derive(Debug, Args)]
pub(crate) struct PluginArgs {
    #[command(subcommand)]
    pub(crate) command: PluginCommand,
    #[command(flatten)]
    pub(crate) relay: RelayArgs,
}

/// Names a configured plugin: `[[tenant.plugin]]`.
#[derive(Debug, Args)]
pub(crate) struct PluginNameArgs {
    /// The tenant.
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: String,
    /// The plugin's name in the configuration.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Write a starter project.
    New {
        /// rust, js or python.
        #[arg(long, value_name = "LANG")]
        lang: Language,
        /// Where; must not exist. Its name becomes the plugin's.
        dir: PathBuf,
    },
    /// Check a component, compile it, test it, and use it.
    Add {
        #[command(flatten)]
        named: PluginNameArgs,
        /// Ask it beside the active version, without effect; `list` reports where their verdicts
        /// differ.
        #[arg(long)]
        shadow: bool,
        /// The component.
        file: PathBuf,
    },
    /// No longer ask a version beside the active one.
    EndShadow {
        #[command(flatten)]
        named: PluginNameArgs,
    },
    /// List the configured plugins and their versions.
    List {
        /// Only this tenant's.
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
    },
    /// Delete all that is stored of a plugin that was removed from the configuration: versions,
    /// key-value data.
    Forget {
        #[command(flatten)]
        named: PluginNameArgs,
    },
    /// Use it again.
    Enable {
        #[command(flatten)]
        named: PluginNameArgs,
    },
    /// Mail passes as if it were not there.
    Disable {
        #[command(flatten)]
        named: PluginNameArgs,
    },
    /// Use another version that was added before.
    Rollback {
        #[command(flatten)]
        named: PluginNameArgs,
        /// Its digest, or the beginning of it. Default: the version before this one.
        #[arg(long, value_name = "SHA256")]
        digest: Option<String>,
    },
    /// Judge recorded messages again (`record` in the configuration), without effect, and report
    /// where the verdicts differ.
    Replay {
        #[command(flatten)]
        named: PluginNameArgs,
        /// Against this version: its digest, or the beginning of it. Default: the active one.
        #[arg(long, value_name = "SHA256", conflicts_with = "component")]
        digest: Option<String>,
        /// Against a component that was not added: it is checked, compiled and tested as by `add`,
        /// and then forgotten.
        #[arg(long, value_name = "FILE")]
        component: Option<PathBuf>,
        /// Only the last N messages. Default: all that are recorded.
        #[arg(long, value_name = "N")]
        last: Option<usize>,
    },
    /// Key-value data.
    Kv {
        #[command(subcommand)]
        command: KvCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KvCommand {
    /// Replace all of it. One entry a line: the key, a tab, the value; lines that begin with # are
    /// left out.
    Import {
        #[command(flatten)]
        named: PluginNameArgs,
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Language {
    Rust,
    Js,
    Python,
}
