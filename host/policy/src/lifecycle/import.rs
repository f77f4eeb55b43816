//! Other key-value data for a plugin, all of it.

use std::sync::Arc;

use relevo_relay::settings::PluginSettings;
use serde_json::{Value, json};

use super::loader::PluginLoader;
use super::{Lifecycle, not_stored};
use crate::action::{ActionError, blocking};
use crate::active::ActivePlugin;
use crate::kv::KvData;

/// Data that are read, and neither stored nor in use yet.
pub(super) struct PreparedImport {
    /// That the lines were counted with.
    settings: Arc<PluginSettings>,
    /// Of the table, when it was begun.
    changes: u64,
    /// Entries of the data before. None: nothing was in use.
    before: Option<usize>,
    data: Arc<KvData>,
    /// The same version with the new data.
    after: Option<Arc<ActivePlugin>>,
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
            let (entries, before) = (import.data.len(), import.before);
            if self.put_imported(import).await? {
                tracing::info!(tenant, plugin, entries, "key-value data of a plugin was imported");
                return Ok(
                    json!({ "tenant": tenant, "plugin": plugin, "entries": entries, "before": before }),
                );
            }
        }
    }

    /// Reads the lines, and loads the version anew: everything but storing the data and putting
    /// them in use.
    pub(super) async fn prepare_import(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        content: &Arc<Vec<u8>>,
    ) -> Result<PreparedImport, ActionError> {
        let (settings, before, shadow, changes) = {
            let table = self.table.lock().await;
            let shadow = table.get(tenant, plugin).and_then(|stored| stored.shadow.clone());
            (self.configured(tenant, plugin)?, self.active.get(tenant, plugin), shadow, table.changes)
        };
        let (loader, content) = (Arc::clone(&self.loader), Arc::clone(content));
        blocking(move || {
            let data = Arc::new(KvData::parse(&content, settings.kv_size).map_err(ActionError::Refused)?);
            let after =
                before.as_ref().map(|active| loader.with_data(active, &settings, Arc::clone(&data), shadow));
            let before = before.map(|active| active.data.len());
            Ok(PreparedImport { settings, changes, before, data, after })
        })
        .await
    }

    /// Stores data and puts them in use. False when something else is in use than when it was begun
    /// (a reload, it was disabled, its code was compiled): it must be made again.
    pub(super) async fn put_imported(&self, import: PreparedImport) -> Result<bool, ActionError> {
        let PreparedImport { settings, changes, data, after, .. } = import;
        let (tenant, plugin) = (&settings.config.tenant, &settings.config.name);
        // Nobody else puts a plugin in use, or takes it out, meanwhile.
        let mut table = self.table.lock().await;
        if table.changes != changes || !Arc::ptr_eq(&self.configured(tenant, plugin)?, &settings) {
            return Ok(false);
        }
        let stored = self.store.replace_plugin_data(table.revision, tenant, plugin, data.entries()).await;
        table.revision = stored.map_err(|error| not_stored(&error))?;
        table.changes += 1;
        let record = table.record(tenant, plugin);
        table.put(record);
        after.into_iter().for_each(|plugin| self.active.put(plugin));
        Ok(true)
    }
}

impl PluginLoader {
    /// The version of a plugin, loaded anew: instances that have read the data before are not asked
    /// again. One that cannot be used stays one: it says why.
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
        let mut made = self.plugin(Arc::clone(settings), active.digest.clone(), policy, Ok(data));
        made.shadow = shadow.and_then(|digest| self.shadow(settings, digest));
        Arc::new(made)
    }
}
