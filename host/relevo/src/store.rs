//! Opens the store of control-plane data for a command, beside a running relay or without one.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use relevo_relay::audit::{Act, AuditLog};
use relevo_relay::clock::{Clock, RandomIds, SystemClock};
use relevo_relay::directory::{DirectorySource, StoreSource};
use relevo_relay::settings::SettingsHandle;
use relevo_store::ControlStore;

use crate::cli::StoreArgs;
use crate::config::ServerParts;
use crate::{assembly, config, log};

/// The store, and what a command needs beside it.
pub(crate) struct OpenStore {
    pub(crate) store: Arc<ControlStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<RandomIds>,
    /// Those of the file. The directory has the file's entries, and those of the store.
    pub(crate) settings: SettingsHandle,
    pub(crate) parts: ServerParts,
    audit: AuditLog,
}

impl OpenStore {
    /// Opens the store that the configuration names.
    ///
    /// # Errors
    /// The configuration has mistakes, the store cannot be opened, or there is no such tenant.
    pub(crate) async fn open(args: &StoreArgs) -> anyhow::Result<Self> {
        Self::open_for(&args.config, Some(&args.tenant)).await
    }

    /// The same. None: the command is about no tenant, or does not know yet about which.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub(crate) async fn open_for(config: &Path, tenant: Option<&str>) -> anyhow::Result<Self> {
        let config = load(config)?;
        let (mut settings, parts) = config.split();
        ensure!(
            parts.data_dir.is_dir(),
            "there is no data directory {}: start the relay once, which makes it",
            parts.data_dir.display()
        );
        let store = assembly::open_control_store(&parts.store).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let ids = Arc::new(RandomIds);
        let source = StoreSource::new(store.clone(), parts.data_dir.clone());
        settings.directory = settings.directory.with_source(&source.load().await?.entries);
        ensure!(
            tenant.is_none_or(|tenant| settings.directory.tenant(tenant).is_some()),
            "there is no tenant `{}`, neither in the configuration file nor in the store",
            tenant.unwrap_or_default()
        );
        let audit = AuditLog::new(store.clone(), clock.clone(), ids.clone());
        Ok(Self { store, clock, ids, settings: SettingsHandle::new(settings), parts, audit })
    }

    /// Writes to the audit log what the command did. `result` is why it did not, if it did not.
    pub(crate) async fn audit<E: std::fmt::Display>(
        &self,
        tenant: &str,
        action: &str,
        subject: &str,
        result: Option<&E>,
    ) {
        let actor = actor();
        let result = result.map_or_else(|| "done".to_owned(), ToString::to_string);
        let act = Act { tenant, actor: &actor, action, subject, result: &result };
        self.audit.write(act).await;
    }
}

/// This process's user, as the audit log names those of commands.
pub(crate) fn actor() -> String {
    format!("cli uid {}", rustix::process::getuid().as_raw())
}

/// Reads the configuration, and says its mistakes.
pub(crate) fn load(file: &Path) -> anyhow::Result<config::RelayConfig> {
    let loaded = config::load(file);
    for mistake in &loaded.mistakes {
        eprintln!("error: {mistake}");
    }
    match loaded.config {
        Some(config) => Ok(config),
        None => bail!("the configuration has mistakes"),
    }
}

/// Refuses a data directory of another user: the relay could not read the files that are made in
/// it.
pub(crate) fn ensure_own(data_dir: &Path) -> anyhow::Result<()> {
    let found = std::fs::metadata(data_dir).with_context(|| data_dir.display().to_string())?;
    ensure!(
        found.uid() == rustix::process::geteuid().as_raw(),
        "{} belongs to another user (id {}): run this as the relay's user",
        data_dir.display(),
        found.uid()
    );
    Ok(())
}

/// Runs a command that waits for the store.
pub(crate) fn run<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    log::start("error");
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
