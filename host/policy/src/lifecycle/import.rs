//! Other key-value data for a plugin, all of it.

use std::sync::Arc;

use relevo_relay::settings::PluginSettings;
use serde_json::{Value, json};

use super::Lifecycle;
use super::files::StagedFile;
use super::loader::PluginLoader;
use crate::action::{ActionError, blocking};
use crate::active::ActivePlugin;
use crate::kv::KvData;

/// Data that are read and on disk, and not in use yet.
pub(super) struct Import {
    /// That the lines were counted with.
    settings: Arc<PluginSettings>,
    /// Of the state, when it was begun.
    changes: u64,
    /// Entries of the data before. None: nothing was in use.
    before: Option<usize>,
    /// The same version with the new data.
    after: Option<Arc<ActivePlugin>>,
    staged: StagedFile,
    entries: usize,
}

impl Lifecycle {
    pub(crate) async fn import(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        content: Vec<u8>,
    ) -> Result<Value, ActionError> {
        self.configured(tenant, plugin)?;
        let content = Arc::new(content);
        loop {
            let import = self.prepare_import(tenant, plugin, &content).await?;
            let (entries, before) = (import.entries, import.before);
            if self.put_imported(import).await? {
                tracing::info!(tenant, plugin, entries, "key-value data of a plugin was imported");
                return Ok(
                    json!({ "tenant": tenant, "plugin": plugin, "entries": entries, "before": before }),
                );
            }
        }
    }

    /// Reads, writes beside the file, and loads: everything but putting it in use.
    pub(super) async fn prepare_import(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        content: &Arc<Vec<u8>>,
    ) -> Result<Import, ActionError> {
        let (settings, before, shadow, changes) = {
            let state = self.state.lock().await;
            let shadow = state.entry(tenant, plugin).and_then(|entry| entry.shadow.clone());
            (self.configured(tenant, plugin)?, self.active.get(tenant, plugin), shadow, state.changes)
        };
        let (loader, content) = (Arc::clone(&self.loader), Arc::clone(content));
        blocking(move || {
            let data = Arc::new(KvData::parse_new(&content, settings.kv_size).map_err(ActionError::Refused)?);
            let entries = data.len();
            let after = before.as_ref().map(|active| loader.with_data(active, &settings, data, shadow));
            let path = loader.files.kv(&settings.config.tenant, &settings.config.name);
            let staged = loader.files.stage(&path, &content).map_err(failed)?;
            let before = before.map(|active| active.data.len());
            Ok(Import { settings, changes, before, after, staged, entries })
        })
        .await
    }

    /// Puts data in use, and their file where the next start finds it. False when something else is in use than when it was begun (a
    /// reload, it was disabled, its code was compiled): it must be made again.
    pub(super) async fn put_imported(self: &Arc<Self>, import: Import) -> Result<bool, ActionError> {
        let Import { settings, changes, after, staged, .. } = import;
        let (tenant, plugin) = (&settings.config.tenant, &settings.config.name);
        // Nobody else puts a plugin in use, or takes it out, meanwhile.
        let mut state = self.state.lock().await;
        if state.changes != changes || !Arc::ptr_eq(&self.configured(tenant, plugin)?, &settings) {
            return Ok(false);
        }
        let active = Arc::clone(&self.active);
        blocking(move || {
            staged.put().map_err(failed)?;
            after.into_iter().for_each(|plugin| active.put(plugin));
            Ok(())
        })
        .await?;
        state.changes += 1;
        Ok(true)
    }
}

impl PluginLoader {
    /// The version of a plugin, loaded anew: instances that have read the data before are not asked again. One that cannot be used stays
    /// one: it says why.
    fn with_data(
        &self,
        active: &ActivePlugin,
        settings: &Arc<PluginSettings>,
        data: Arc<KvData>,
        shadow: Option<String>,
    ) -> Arc<ActivePlugin> {
        let policy = self.load(settings, &active.digest).map_err(|error| match &active.policy {
            Ok(_) => error.to_string(),
            Err(why) => why.clone(),
        });
        let mut made = self.plugin_with(Arc::clone(settings), active.digest.clone(), policy, data);
        made.shadow = shadow.and_then(|digest| self.shadow(settings, digest));
        Arc::new(made)
    }
}

fn failed(error: std::io::Error) -> ActionError {
    ActionError::Failed(format!("key-value data cannot be stored: {error}"))
}
