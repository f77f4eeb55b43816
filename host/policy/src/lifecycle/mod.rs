//! The life of versions: from an upload to a version in use, and whatever changes what is in use.
//!
//! Changes are made without a lock: compiling and testing take long, and `list`, `disable` and a
//! reload wait for neither. The table is locked while a change is stored and put in use, and only
//! then it is seen whether the change was made of what still holds. If the settings are others by
//! now, it is made again; if the plugin was changed meanwhile, it is refused.

mod add;
mod child;
mod clear;
mod compile;
mod files;
mod follow;
mod import;
#[cfg(test)]
mod import_tests;
mod list;
mod loader;
mod switch;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use relevo_relay::clock::Clock;
use relevo_relay::settings::{PluginSettings, SettingsHandle};
use relevo_runtime::Blame;
use relevo_store::{ControlStoreError, PluginRecord, PluginStore};
use tokio::sync::{Mutex, mpsc};

use crate::action::{ActionError, blocking};
use crate::active_plugins::{ActivePlugins, ByTenant};
use crate::kv::KvData;
use crate::plugins::PluginsConfig;
use crate::record::Recorder;

pub use child::compile_here;
use files::PluginFiles;
pub(crate) use loader::PluginLoader;
use loader::{ReadData, WantedVersion, wanted};
use table::{PluginTable, Versions as _};

/// Between two looks for warm instances that nobody uses.
const SWEEP: Duration = Duration::from_secs(10);
/// The longest that [`Lifecycle::write_recordings`] waits.
const WRITE: Duration = Duration::from_secs(5);

/// Reason why the plugins cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenPluginsError {
    /// The directory of plugins cannot be used.
    #[error(transparent)]
    Directory(#[from] std::io::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] ControlStoreError),
    /// The process has no thread for it.
    #[error(transparent)]
    Thread(#[from] ActionError),
}

/// See the module.
pub(crate) struct Lifecycle {
    pub(crate) loader: Arc<PluginLoader>,
    pub(crate) active: Arc<ActivePlugins>,
    store: Arc<dyn PluginStore>,
    program: PathBuf,
    pub(crate) settings: SettingsHandle,
    pub(crate) clock: Arc<dyn Clock>,
    /// Held for as long as it takes to look, or to store a change and put it in use.
    table: Mutex<PluginTable>,
    /// One compiler at a time: its limits are for one.
    compiler: Arc<Mutex<()>>,
    /// Something is to be compiled in the background.
    missing: mpsc::Sender<()>,
}

impl Lifecycle {
    /// Reads what was in use. Also returns what [`Self::start`] needs.
    pub(crate) async fn open(
        config: &PluginsConfig,
        settings: SettingsHandle,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Self>, mpsc::Receiver<()>), OpenPluginsError> {
        let table = PluginTable::new(config.store.plugins().await?);
        let directory = config.directory.clone();
        let files = blocking(move || Ok(PluginFiles::open(&directory))).await??;
        let recorder = if config.serving { Some(Recorder::start(files.recordings())?) } else { None };
        let active: Arc<ActivePlugins> = Arc::default();
        let (missing, asked) = mpsc::channel(1);
        let lifecycle = Self {
            loader: Arc::new(PluginLoader::new(files, Arc::clone(&active), recorder)),
            active,
            store: Arc::clone(&config.store),
            program: config.program.clone(),
            settings,
            clock,
            table: Mutex::new(table),
            compiler: Arc::default(),
            missing,
        };
        Ok((Arc::new(lifecycle), asked))
    }

    /// Begins what is done in the background.
    pub(crate) fn start(self: &Arc<Self>, asked: mpsc::Receiver<()>) {
        tokio::spawn(sweep(Arc::downgrade(self)));
        tokio::spawn(follow::run(Arc::downgrade(self)));
        tokio::spawn(compile::run(Arc::downgrade(self), asked, compile::AGAIN));
    }

    /// Settings have changed: every plugin is made anew with them.
    pub(crate) async fn refresh(self: &Arc<Self>) {
        let mut table = self.table.lock().await;
        if let Some(recorder) = self.loader.recorder.clone() {
            let settings = self.settings.get();
            let keep = blocking(move || {
                recorder.keep(settings.directory.tenants().flat_map(|tenant| &tenant.plugins));
                Ok(())
            });
            let _ = keep.await;
        }
        let before = self.put_all(&mut table).await;
        drop(table);
        if let Some(before) = before {
            self.try_settings(&before).await;
        }
    }

    /// Puts everything in use that the table wants. Returns what was in use before; none if nothing
    /// has changed.
    async fn put_all(&self, table: &mut PluginTable) -> Option<Arc<ByTenant>> {
        let wanted = wanted(&self.settings.get(), table);
        let with_data = self.add_data(table, wanted).await;
        self.put_loaded(table, with_data).await
    }

    /// Puts versions with their data in use, and nothing else. Returns what [`Self::put_all`] does.
    async fn put_loaded(
        &self,
        table: &mut PluginTable,
        with_data: Vec<(WantedVersion, ReadData)>,
    ) -> Option<Arc<ByTenant>> {
        table.changes += 1;
        let (plugins, missing) = match self.load_all(with_data, None).await {
            Ok(made) => made,
            Err(error) => {
                tracing::error!(%error, "plugins could not be loaded");
                return None;
            }
        };
        let before = self.active.replace_all(plugins);
        if missing {
            // Full: it has been asked already.
            let _ = self.missing.try_send(());
        }
        Some(before)
    }

    /// Adds their data to versions of the table. It notes if the store does not give some.
    async fn add_data(
        &self,
        table: &mut PluginTable,
        wanted: Vec<WantedVersion>,
    ) -> Vec<(WantedVersion, ReadData)> {
        let mut with_data = Vec::new();
        for want in wanted {
            let data = match self.try_data(&want.settings).await {
                Ok(data) => data,
                Err(error) => {
                    table.lacks_data = true;
                    Err(unusable(&want.settings, &error))
                }
            };
            with_data.push((want, data));
        }
        with_data
    }

    /// Loads versions with their data. See [`PluginLoader::load_all`].
    async fn load_all(
        &self,
        with_data: Vec<(WantedVersion, ReadData)>,
        problem: Option<String>,
    ) -> Result<(ByTenant, bool), ActionError> {
        let loader = Arc::clone(&self.loader);
        blocking(move || Ok(loader.load_all(with_data, problem.as_deref()))).await
    }

    /// As [`Self::try_data`]; an error of the store is why they cannot be used.
    pub(crate) async fn data(&self, settings: &PluginSettings) -> ReadData {
        let data = self.try_data(settings).await;
        data.unwrap_or_else(|error| Err(unusable(settings, &error)))
    }

    /// The plugin's data as they were imported last: those in use while they fit, for they may be
    /// large. Otherwise they are read.
    async fn try_data(&self, settings: &PluginSettings) -> Result<ReadData, ControlStoreError> {
        let config = &settings.config;
        match self.active.get(&config.tenant, &config.name) {
            Some(plugin) if plugin.policy.is_ok() && plugin.data.fits(settings.kv_size) => {
                Ok(Ok(Arc::clone(&plugin.data)))
            }
            _ => self.stored_data(settings).await,
        }
    }

    /// Reads the data from the store. An error is one that may be gone the next time.
    async fn stored_data(&self, settings: &PluginSettings) -> Result<ReadData, ControlStoreError> {
        let config = &settings.config;
        match self.store.plugin_data(&config.tenant, &config.name).await {
            Ok(entries) => {
                let data = KvData::stored(entries, settings.kv_size).map(Arc::new);
                Ok(data.map_err(|error| unusable(settings, &error)))
            }
            // Of this plugin alone: the others do not wait for it.
            Err(error @ ControlStoreError::Damaged { .. }) => Ok(Err(unusable(settings, &error))),
            Err(error) => Err(error),
        }
    }

    /// Plugins with other settings than `before` are asked whether they like them, so that whoever
    /// reloaded them reads it at once. What one does not like, each message meets, and its failure
    /// policy answers.
    async fn try_settings(&self, before: &ByTenant) {
        let now = self.active.all();
        for plugin in now.values().flat_map(HashMap::values) {
            let config = &plugin.settings.config;
            let was = before.get(&config.tenant).and_then(|of_tenant| of_tenant.get(&config.name));
            let changed = was.is_some_and(|was| was.settings.config.settings != config.settings);
            let (true, Ok(policy)) = (changed, &plugin.policy) else { continue };
            let (_, data) = plugin.data();
            let now = u64::try_from(self.clock.now()).unwrap_or(0);
            let result = policy.configure(now, Some(data)).await.result;
            plugin.note_configure(&result);
            if let Err(fault) = result
                && fault.blame == Blame::Guest
            {
                tracing::error!(tenant = config.tenant, plugin = config.name, digest = plugin.digest, %fault,
                    "a plugin refuses its new settings: its failure policy answers");
            }
        }
    }

    /// Returns when everything that was recorded so far is in files, or when that takes too long.
    pub(crate) async fn write_recordings(&self) {
        let Some(recorder) = self.loader.recorder.clone() else { return };
        let _ = tokio::time::timeout(WRITE, tokio::task::spawn_blocking(move || recorder.flush())).await;
    }

    /// The settings of a plugin, or that there is none.
    pub(crate) fn configured(&self, tenant: &str, plugin: &str) -> Result<Arc<PluginSettings>, ActionError> {
        let settings = self.settings.get();
        let Some(known) = settings.directory.tenant(tenant) else {
            let text = format!("there is no tenant `{tenant}` in the configuration");
            return Err(ActionError::NotFound(text));
        };
        let found = known.plugins.iter().find(|p| p.config.name == plugin).cloned();
        found.ok_or_else(|| {
            ActionError::NotFound(format!(
                "tenant `{tenant}` has no plugin `{plugin}`: add a [[tenant.plugin]] to the configuration, which a \
                 running relay takes up when it is reloaded (SIGHUP)"
            ))
        })
    }

    /// See [`PluginTable::changes`].
    async fn changes(&self) -> u64 {
        self.table.lock().await.changes
    }

    /// See [`PluginTable::record`].
    async fn record(&self, tenant: &str, plugin: &str) -> PluginRecord {
        self.table.lock().await.record(tenant, plugin)
    }

    /// As [`Self::record`], of a plugin to which a version was added.
    async fn known(&self, tenant: &str, plugin: &str) -> Result<PluginRecord, ActionError> {
        let record = self.record(tenant, plugin).await;
        if record.versions.is_empty() { Err(no_version(plugin)) } else { Ok(record) }
    }

    /// The digest of a version that was added before; the active one, when none is named.
    pub(crate) async fn stored(
        &self,
        tenant: &str,
        plugin: &str,
        digest: Option<&str>,
    ) -> Result<String, ActionError> {
        let record = self.known(tenant, plugin).await?;
        match digest {
            Some(digest) => record.find(digest).map(|version| version.digest.clone()),
            None => record.active.ok_or_else(|| no_version(plugin)),
        }
    }
}

/// Logs why data of a plugin cannot be used, and says it.
fn unusable(settings: &PluginSettings, error: &dyn std::fmt::Display) -> String {
    let config = &settings.config;
    tracing::error!(
        tenant = config.tenant,
        plugin = config.name,
        %error,
        "key-value data of a plugin cannot be used"
    );
    format!("its key-value data: {error}")
}

/// The error of a store that did not keep a change.
fn not_stored(error: &ControlStoreError) -> ActionError {
    match error {
        ControlStoreError::Stale => ActionError::Busy(
            "another process has changed plugins in the store: try again in some seconds".to_owned(),
        ),
        other => ActionError::Failed(format!("it cannot be stored: {other}")),
    }
}

fn no_version(plugin: &str) -> ActionError {
    ActionError::NotFound(format!("no version of `{plugin}` was added yet: `relevo plugin add` does that"))
}

async fn sweep(lifecycle: Weak<Lifecycle>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(lifecycle) = lifecycle.upgrade() else { return };
        if let Some(engine) = lifecycle.loader.made_engine() {
            engine.sweep(Instant::now());
        }
    }
}
