//! `relevo check`.

use std::path::Path;
use std::process::ExitCode;

use crate::config;

/// Prints every mistake and warning. Success when there are no mistakes.
pub(crate) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let loaded = config::load(file);
    for warning in &loaded.warnings {
        println!("warning: {warning}");
    }
    for mistake in &loaded.mistakes {
        println!("error: {mistake}");
    }
    let Some(config) = loaded.config else {
        println!("{}: {} mistake(s)", file.display(), loaded.mistakes.len());
        return Ok(ExitCode::FAILURE);
    };
    let directory = &config.settings.directory;
    println!(
        "{}: ok ({} tenants, {} domains)",
        file.display(),
        directory.tenants().count(),
        directory.domains().count()
    );
    Ok(ExitCode::SUCCESS)
}
