//! `relevo check`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use relevo_relay::directory::{Directory, DirectorySource as _, StoreSource};
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
    match findings(&config) {
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

/// What file and store come to together: entries of the store that do not count, because the file
/// has their names too or because they are wrong, and what lacks something. A store that was never
/// made is not made here.
fn findings(config: &RelayConfig) -> anyhow::Result<Vec<String>> {
    let file = &config.settings.directory;
    if matches!(&config.store, StoreUrl::File(path) if !path.exists()) {
        return Ok(unsigned_reports(config, file).into_iter().collect());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Arc::new(ControlStore::open(&config.store).await?);
        let loaded = StoreSource::new(store.clone(), config.data_dir.clone()).load().await?;
        let merged = config.settings.directory.with_source(&loaded.entries);
        store.close().await;
        let conflicts = merged.conflicts().iter().map(ToString::to_string);
        Ok(conflicts.chain(loaded.mistakes).chain(unsigned_reports(config, &merged)).collect())
    })
}

/// TLS reports by mail that nobody may read (RFC 8460 section 3).
fn unsigned_reports(config: &RelayConfig, directory: &Directory) -> Option<String> {
    let from = &config.tls.report.as_ref()?.from;
    let domain = from.rsplit_once('@')?.1.to_ascii_lowercase();
    let is_signed = directory.domain(&domain).is_some_and(|domain| !domain.dkim.is_empty());
    (!is_signed).then(|| {
        format!(
            "[tls_report] from: {domain} has no DKIM key, and receivers ignore reports by mail that are \
             not signed (RFC 8460 section 3): make it a domain of a tenant, with a key"
        )
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
        assert_eq!(findings(&config).expect("nothing to read"), [] as [&str; 0]);
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
        let found = findings(&config).expect("reads");
        assert_eq!(found, ["tenant acme of the store: the configuration file has it too, and counts"]);
    }

    #[test]
    fn reports_that_nobody_may_read_are_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("relevo.toml");
        let text = "hostname = \"mta.test\"\npostmaster = \"p@mta.test\"\ndata_dir = \".\"\n[smtp]\n\
                    [tls_report]\nfrom = \"tls@mta.test\"\n[[tenant]]\nid = \"acme\"\n";
        std::fs::write(&file, text).expect("writes");
        let found = findings(&config::load(&file).config.expect("no mistake")).expect("nothing to read");
        assert!(matches!(found.as_slice(), [one] if one.contains("mta.test has no DKIM key")), "{found:?}");
    }
}
