//! Arguments of commands that work on the store: `relevo api-key` and `relevo domain`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use relevo_relay::directory::Scope;

#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// Make a key and print the entry to configure.
    New {
        /// A name for it, for logs.
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Make a key in the store and print it, this once.
    Create {
        #[command(flatten)]
        store: StoreArgs,
        /// A name for it, for people and logs; unique among the keys of the tenant.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// send, relay, read, templates, suppressions, webhooks, settings, users, admin; separated by
        /// commas. Default: all.
        #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = scope)]
        scopes: Vec<Scope>,
        /// Send from this domain only.
        #[arg(long, value_name = "D")]
        domain: Option<String>,
        /// It counts for so many days. Default: until it is revoked.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
    },
    /// List the keys of a tenant that are in the store.
    List {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Give a key another token and print it, this once.
    Rotate {
        #[command(flatten)]
        store: StoreArgs,
        /// Its id or name.
        key: String,
        /// Hours for which the token before counts. 0: no longer.
        #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=720))]
        overlap_hours: u32,
    },
    /// Make a key count no longer.
    Revoke {
        #[command(flatten)]
        store: StoreArgs,
        /// Its id or name.
        key: String,
    },
}

/// Names a tenant, and the store by the configuration.

#[derive(Debug, Subcommand)]
pub(crate) enum DomainCommand {
    /// Claim a domain, make a DKIM key for it, and print the records to publish.
    Add(DomainArgs),
    /// List the domains of a tenant: those of the configuration file, and those of the store.
    List {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Print the DNS records to publish.
    Records(DomainArgs),
    /// Look for each record in DNS, now. A domain whose DKIM key is there may send from then on.
    ///
    /// The exit status is 1 unless each record is there.
    Check(DomainArgs),
    /// Remove a domain of the store with its keys. Mail can no longer be sent from it.
    Remove(DomainArgs),
}

/// Names a domain of a tenant.
#[derive(Debug, Args)]
pub(crate) struct DomainArgs {
    /// The domain, such as shop.example.com.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The tenant, of the configuration file or of the store.
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: String,
    /// One JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

fn scope(name: &str) -> Result<Scope, String> {
    name.parse()
}
