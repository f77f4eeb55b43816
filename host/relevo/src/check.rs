//! `relevo check`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use relevo_relay::directory::{DirectorySource as _, StoreSource};
use relevo_store::{ControlStore, StoreUrl};

use crate::config::{self, RelayConfig};

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
    match store_findings(&config) {
        Ok(findings) => findings.iter().for_each(|finding| println!("warning: {finding}")),
        Err(error) => println!("warning: {} was not looked at: {error:#}", config.store),
    }
    let directory = &config.settings.directory;
    println!(
        "{}: ok ({} tenants, {} domains)",
        file.display(),
        directory.tenants().count(),
        directory.domains().count()
    );
    Ok(ExitCode::SUCCESS)
}

/// Entries of the store that do not count, because the file has their names too or because they are
/// wrong. A store that was never made is not made here.
fn store_findings(config: &RelayConfig) -> anyhow::Result<Vec<String>> {
    if matches!(&config.store, StoreUrl::File(path) if !path.exists()) {
        return Ok(Vec::new());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Arc::new(ControlStore::open(&config.store).await?);
        let loaded = StoreSource::new(store.clone(), config.data_dir.clone()).load().await?;
        let merged = config.settings.directory.with_source(&loaded.entries);
        store.close().await;
        Ok(merged.conflicts().iter().map(ToString::to_string).chain(loaded.mistakes).collect())
    })
}

#[cfg(test)]
mod tests {
    use relevo_store::{DirectoryStore as _, TenantRecord, TenantSettings};

    use super::*;

    #[test]
    fn a_name_that_file_and_store_have_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("relevo.toml");
        let text = "hostname = \"mta.test\"\npostmaster = \"p@mta.test\"\ndata_dir = \".\"\n[smtp]\n\
                    [store]\nurl = \"sqlite:tenants.sqlite\"\n[[tenant]]\nid = \"acme\"\n";
        std::fs::write(&file, text).expect("writes");
        let config = config::load(&file).config.expect("no mistake");
        assert_eq!(config.store, StoreUrl::File(directory.path().join("tenants.sqlite")));
        assert_eq!(store_findings(&config).expect("nothing to read"), [] as [&str; 0]);
        assert!(!directory.path().join("tenants.sqlite").exists(), "it is not made");

        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let store = ControlStore::open(&config.store).await.expect("opens");
            for id in ["acme", "other"] {
                let tenant = TenantRecord { id: id.into(), settings: TenantSettings::default() };
                store.put_tenant(&tenant).await.expect("adds");
            }
            store.close().await;
        });
        let found = store_findings(&config).expect("reads");
        assert_eq!(found, ["tenant acme of the store: the configuration file has it too, and counts"]);
    }
}
