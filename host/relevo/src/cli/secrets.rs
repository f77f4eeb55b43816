//! Arguments of `relevo key` and `relevo credential`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use relevo_mailkit::model::Algorithm;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Write a new private key (mode 0600) and print the DNS record to publish.
    Generate(KeyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// The sending domain, such as example.com.
    #[arg(long, value_name = "D")]
    pub(crate) domain: String,
    /// The selector, such as s1.
    #[arg(long, value_name = "S")]
    pub(crate) selector: String,
    /// rsa-sha256 (2048 bits) or ed25519-sha256.
    #[arg(long, value_name = "A", value_parser = algorithm)]
    pub(crate) algorithm: Algorithm,
    /// Where to write it; must not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

fn algorithm(s: &str) -> Result<Algorithm, String> {
    [Algorithm::RsaSha256, Algorithm::Ed25519Sha256]
        .into_iter()
        .find(|a| a.as_str() == s)
        .ok_or_else(|| "must be rsa-sha256 or ed25519-sha256".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialCommand {
    /// Make a password and print the entry to configure.
    New(CredentialArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    /// The user name.
    #[arg(long, value_name = "NAME", default_value = "USERNAME")]
    pub(crate) username: String,
    /// Read a password from standard input instead of making one.
    #[arg(long)]
    pub(crate) stdin: bool,
}
