//! `relevo plugin new`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::cli::Language;

#[path = "../../../../components/policy-sdk/starters/files.rs"]
mod files;

/// The name that stands in the texts for the plugin's own.
const PLACEHOLDER: &str = "my-policy";
const PLACEHOLDER_RUST: &str = "my_policy";

/// Writes the project. The directory must not exist.
pub(crate) fn write(language: Language, directory: &Path) -> anyhow::Result<ExitCode> {
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !is_a_name(&name) {
        bail!(
            "`{name}` becomes the plugin's name: lower case letters, digits and -, beginning with a letter"
        );
    }
    let project = match language {
        Language::Rust => files::RUST,
        Language::Js => files::JS,
        Language::Python => files::PYTHON,
    };
    fs::create_dir(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    for (path, text) in project.iter().copied().flatten() {
        let path = directory.join(named(path, &name));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // What is brought along has no name to fill in.
        let brought =
            path.starts_with(directory.join("vendor")) || path.starts_with(directory.join("wit/deps"));
        let text = if brought { (*text).to_owned() } else { named(text, &name) };
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    println!("{}: read its README.md for building, testing and adding it", directory.display());
    Ok(ExitCode::SUCCESS)
}

fn named(text: &str, name: &str) -> String {
    text.replace(PLACEHOLDER, name).replace(PLACEHOLDER_RUST, &name.replace('-', "_"))
}

fn is_a_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits)
}
