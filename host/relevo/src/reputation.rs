//! `relevo reputation show` and `import`, by the HTTP API of a running relay.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use relevo_fetch::Method;

use crate::cli::{ApiArgs, ReputationCommand};
use crate::client::print_json;
use crate::send;

/// Octets of a file: as many as the API takes.
const MAX_FILE: u64 = 8 << 20;

/// Does what is asked, and prints the answer.
pub(crate) fn run(command: &ReputationCommand) -> anyhow::Result<ExitCode> {
    let (api, request) = match command {
        ReputationCommand::Show(api) => (api, ("/reputation", Method::Get, "application/json", Vec::new())),
        ReputationCommand::Import { api, file } => {
            let (kind, body) = export(file)?;
            (api, ("/reputation/imports", Method::Post, kind, body))
        }
    };
    let ApiArgs { url, key_file } = api;
    let answer = send::call(url.as_deref(), key_file.as_deref(), request)?;
    print_json(&answer)?;
    Ok(ExitCode::SUCCESS)
}

fn export(file: &Path) -> anyhow::Result<(&'static str, Vec<u8>)> {
    let kind = match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => "application/json",
        Some("csv") => "text/csv",
        _ => bail!(
            "{}: the name must end with .json (Google Postmaster Tools) or .csv (Microsoft SNDS)",
            file.display()
        ),
    };
    let body = relevo_keys::read_file(file, MAX_FILE).with_context(|| file.display().to_string())?;
    Ok((kind, body))
}
