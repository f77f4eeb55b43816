//! Other key-value data for a place, all of it. It is one of the changes of the place, which take turns; but `list`, `disable`, a reload and
//! other places wait only while what was made takes its place.

use std::sync::Arc;

use relevo_relay::settings::PluginSettings;
use serde_json::{Value, json};

use crate::action::{ActionError, blocking};
use crate::files::Staged;
use crate::kv::KvData;
use crate::place::Place;
use crate::plugins::Plugins;

/// Data that are read and on disk, and not in use yet.
pub(crate) struct Import {
    /// That the lines were counted with.
    settings: Arc<PluginSettings>,
    /// What was in use when it was begun. None: nothing.
    before: Option<Arc<Place>>,
    /// The same version with the new data.
    after: Option<Arc<Place>>,
    staged: Staged,
    entries: usize,
}

impl Plugins {
    pub(crate) async fn import(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        content: Vec<u8>,
    ) -> Result<Value, ActionError> {
        self.slot(tenant, plugin)?;
        let _turn = self.turns.of(tenant, plugin).await;
        let content = Arc::new(content);
        loop {
            let import = self.prepare_import(tenant, plugin, &content).await?;
            let (entries, before) = (import.entries, import.before.as_ref().map(|place| place.data.len()));
            if self.put_imported(import).await? {
                tracing::info!(tenant, plugin, entries, "key-value data of a plugin was imported");
                return Ok(
                    json!({ "tenant": tenant, "plugin": plugin, "entries": entries, "before": before }),
                );
            }
        }
    }

    /// Reads, writes beside the file, and loads: all but the taking of its place. Whoever has the place's turn may call it.
    pub(crate) async fn prepare_import(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        content: &Arc<Vec<u8>>,
    ) -> Result<Import, ActionError> {
        let (settings, before, shadow) = {
            let state = self.state.lock().await;
            let shadow = state.entry(tenant, plugin).and_then(|entry| entry.shadow.clone());
            (self.slot(tenant, plugin)?, self.place(tenant, plugin), shadow)
        };
        let (plugins, content) = (Arc::clone(self), Arc::clone(content));
        blocking(move || {
            let data = Arc::new(KvData::parse_new(&content, settings.kv_size).map_err(ActionError::Refused)?);
            let entries = data.len();
            let after = before.as_ref().map(|place| plugins.with_data(place, &settings, data, shadow));
            let path = plugins.files.kv(&settings.config.tenant, &settings.config.name);
            let staged = plugins.files.stage(&path, &content).map_err(failed)?;
            Ok(Import { settings, before, after, staged, entries })
        })
        .await
    }

    /// The version of a place, loaded anew: instances that have read the data before are not asked again. One that cannot be used stays
    /// one: it says why. Reads files.
    fn with_data(
        &self,
        place: &Place,
        settings: &Arc<PluginSettings>,
        data: Arc<KvData>,
        shadow: Option<String>,
    ) -> Arc<Place> {
        let policy = self.load(settings, &place.digest).map_err(|error| match &place.policy {
            Ok(_) => error.to_string(),
            Err(why) => why.clone(),
        });
        let mut made = self.place_of(Arc::clone(settings), place.digest.clone(), policy, data);
        made.shadow = shadow.and_then(|digest| self.shadow(settings, digest));
        Arc::new(made)
    }

    /// Puts data in use, and their file where the next start finds it. False when something else is in use than when it was begun (a
    /// reload, it was disabled, its code was compiled): it must be made again.
    pub(crate) async fn put_imported(self: &Arc<Self>, import: Import) -> Result<bool, ActionError> {
        let Import { settings, before, after, staged, .. } = import;
        let (tenant, plugin) = (&settings.config.tenant, &settings.config.name);
        // Nobody else puts a place in use, or takes it out, meanwhile.
        let _state = self.state.lock().await;
        let now = self.place(tenant, plugin);
        let same_place = now.as_ref().map(Arc::as_ptr) == before.as_ref().map(Arc::as_ptr);
        if !same_place || !Arc::ptr_eq(&self.slot(tenant, plugin)?, &settings) {
            return Ok(false);
        }
        let plugins = Arc::clone(self);
        blocking(move || {
            staged.put().map_err(failed)?;
            after.into_iter().for_each(|place| plugins.put(place));
            Ok(())
        })
        .await?;
        Ok(true)
    }
}

fn failed(error: std::io::Error) -> ActionError {
    ActionError::Failed(format!("key-value data cannot be stored: {error}"))
}
