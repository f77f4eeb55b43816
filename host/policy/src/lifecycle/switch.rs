//! What is in use changes: another version, nothing, or nothing beside it any more. What can fail
//! is done before anything is stored.

use std::sync::Arc;

use relevo_relay::settings::PluginSettings;
use relevo_runtime::policy::Policy;
use relevo_store::PluginRecord;
use serde_json::{Value, json};

use super::table::{PluginTable, Versions as _};
use super::{Lifecycle, no_version, not_stored};
use crate::action::{ActionError, blocking};
use crate::active::ActivePlugin;

/// A change of a plugin, made without the table's lock.
pub(super) struct PreparedChange {
    /// That it was made with.
    pub(super) settings: Arc<PluginSettings>,
    /// That it was made of.
    pub(super) before: PluginRecord,
    /// [`PluginTable::changes`] before it was made.
    pub(super) changes: u64,
    pub(super) after: PluginRecord,
    /// What is put in use. None: nothing is.
    pub(super) plugin: Option<ActivePlugin>,
    /// The component that it brings.
    pub(super) uploaded: Option<Arc<Vec<u8>>>,
}

impl ActivePlugin {
    /// Itself, unless its version or data cannot be used.
    pub(super) fn working(self) -> Result<Self, ActionError> {
        match &self.policy {
            Ok(_) => Ok(self),
            Err(why) => Err(ActionError::Refused(why.clone())),
        }
    }
}

impl Lifecycle {
    pub(crate) async fn end_shadow(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
    ) -> Result<Value, ActionError> {
        let before = self.known(tenant, plugin).await?;
        let Some(ended) = before.shadow.clone() else {
            let text = format!("no version is asked beside the active one of `{plugin}`");
            return Err(ActionError::NotFound(text));
        };
        loop {
            let settings = self.configured(tenant, plugin)?;
            let after = PluginRecord { shadow: None, ..before.clone() };
            let changes = self.changes().await;
            let made = match self.active.get(tenant, plugin) {
                Some(active) => Some(self.make(&settings, active.digest.clone(), None, None).await?),
                None => None,
            };
            let (active, digest) = (made.is_some(), before.active.clone());
            let before = before.clone();
            let change = PreparedChange { settings, before, changes, after, plugin: made, uploaded: None };
            if self.put_changed(change).await? {
                return Ok(json!({
                    "tenant": tenant, "plugin": plugin, "digest": digest, "active": active, "ended": ended,
                }));
            }
        }
    }

    pub(crate) async fn enable(self: &Arc<Self>, tenant: &str, plugin: &str) -> Result<Value, ActionError> {
        let change = |record: &mut PluginRecord| {
            record.enabled = true;
            record.active.clone().ok_or_else(|| no_version(plugin))
        };
        self.switch(tenant, plugin, change).await
    }

    pub(crate) async fn rollback(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        digest: Option<&str>,
    ) -> Result<Value, ActionError> {
        let change = |record: &mut PluginRecord| {
            let digest = match digest {
                Some(digest) => record.find(digest)?.digest.clone(),
                None => record.previous.clone().ok_or_else(|| {
                    ActionError::NotFound(format!("there was no version of `{plugin}` before"))
                })?,
            };
            record.activate(&digest);
            Ok(digest)
        };
        self.switch(tenant, plugin, change).await
    }

    /// Puts a version in use that has passed the self-test once; `configure` must like the settings
    /// of today.
    async fn switch(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        change: impl Fn(&mut PluginRecord) -> Result<String, ActionError>,
    ) -> Result<Value, ActionError> {
        self.configured(tenant, plugin)?;
        let before = self.known(tenant, plugin).await?;
        loop {
            let settings = self.configured(tenant, plugin)?;
            let mut after = before.clone();
            let digest = change(&mut after)?;
            let policy = self.load_or_compile(&settings, &digest, None).await?;
            let changes = self.changes().await;
            let made = self.make(&settings, digest.clone(), Some(Arc::clone(&policy)), after.shadow.clone());
            let made = made.await?.working()?;
            let now = u64::try_from(self.clock.now()).unwrap_or(0);
            let configured = policy.configure(now, Some(made.data.clone())).await.result;
            let refuses = |fault| format!("`{plugin}` of `{tenant}` refuses its settings: {fault}");
            configured.map_err(|fault| ActionError::Refused(refuses(fault)))?;
            let before = before.clone();
            let change =
                PreparedChange { settings, before, changes, after, plugin: Some(made), uploaded: None };
            if self.put_changed(change).await? {
                tracing::info!(tenant, plugin, digest, "another version of a plugin is in use");
                return Ok(json!({ "tenant": tenant, "plugin": plugin, "digest": digest, "active": true }));
            }
        }
    }

    /// Takes effect at once; changes that are under way are refused.
    pub(crate) async fn disable(self: &Arc<Self>, tenant: &str, plugin: &str) -> Result<Value, ActionError> {
        let mut table = self.table.lock().await;
        let known = table.get(tenant, plugin).filter(|plugin| !plugin.versions.is_empty());
        let after = PluginRecord { enabled: false, ..known.cloned().ok_or_else(|| no_version(plugin))? };
        self.commit(&mut table, after, None).await?;
        self.active.remove(tenant, plugin);
        tracing::info!(tenant, plugin, "a plugin was disabled");
        Ok(json!({ "tenant": tenant, "plugin": plugin, "active": false }))
    }

    /// A plugin with this version; its policy, unless it is to be loaded; and what is beside it. It
    /// may be broken.
    pub(super) async fn make(
        self: &Arc<Self>,
        settings: &Arc<PluginSettings>,
        digest: String,
        policy: Option<Arc<dyn Policy>>,
        shadow: Option<String>,
    ) -> Result<ActivePlugin, ActionError> {
        let data = self.data(settings).await;
        let (loader, settings) = (Arc::clone(&self.loader), Arc::clone(settings));
        blocking(move || {
            // Where it is recorded: instances that were made for the self-test have read what is in
            // no recording.
            let policy = match policy.filter(|_| settings.record.is_none()) {
                Some(policy) => Ok(policy),
                None => loader.load(&settings, &digest).map_err(|error| error.to_string()),
            };
            let mut plugin = loader.plugin(Arc::clone(&settings), digest, policy, data);
            plugin.shadow = shadow.and_then(|digest| loader.shadow(&settings, digest));
            Ok(plugin)
        })
        .await
    }

    /// Stores a change and puts it in use. False when settings or data may have changed since it
    /// was made: it must be made again.
    ///
    /// # Errors
    /// The plugin was changed meanwhile, or the change cannot be stored; nothing has changed.
    pub(super) async fn put_changed(self: &Arc<Self>, change: PreparedChange) -> Result<bool, ActionError> {
        let PreparedChange { settings, before, changes, after, plugin: made, uploaded } = change;
        let (tenant, plugin) = (&settings.config.tenant, &settings.config.name);
        let mut table = self.table.lock().await;
        if !Arc::ptr_eq(&self.configured(tenant, plugin)?, &settings) {
            return Ok(false);
        }
        if table.record(tenant, plugin) != before {
            return Err(ActionError::Busy(format!(
                "`{plugin}` was changed or disabled meanwhile: try again"
            )));
        }
        if table.changes != changes {
            return Ok(false);
        }
        self.commit(&mut table, after, uploaded.as_deref().map(Vec::as_slice)).await?;
        made.into_iter().for_each(|plugin| self.active.put(Arc::new(plugin)));
        Ok(true)
    }

    /// In the store first, then in memory. Code of components that are remembered no more is
    /// removed.
    async fn commit(
        &self,
        table: &mut PluginTable,
        after: PluginRecord,
        component: Option<&[u8]>,
    ) -> Result<(), ActionError> {
        let stored = self.store.put_plugin(table.revision, &after, component).await;
        let revision = stored.map_err(|error| not_stored(&error))?;
        let before = table.clone();
        table.put(after);
        (table.revision, table.changes) = (revision, table.changes + 1);
        self.forget_gone(&before, table).await;
        Ok(())
    }
}
