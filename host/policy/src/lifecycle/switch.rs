//! What is in use changes: another version, nothing, or nothing beside it any more. What can fail is done before anything is stored.

use std::sync::Arc;

use relevo_relay::settings::PluginSettings;
use relevo_runtime::policy::Policy;
use serde_json::{Value, json};

use super::state::{Entry, State};
use super::{Lifecycle, no_version};
use crate::action::{ActionError, blocking};
use crate::active::ActivePlugin;

/// A change of a plugin, made without the state's lock.
pub(super) struct PreparedChange {
    /// That it was made with.
    pub(super) settings: Arc<PluginSettings>,
    /// That it was made of.
    pub(super) before: Entry,
    /// [`State::changes`] before it was made.
    pub(super) changes: u64,
    pub(super) after: Entry,
    /// What is put in use. None: nothing is.
    pub(super) plugin: Option<ActivePlugin>,
    /// The component that it brings.
    pub(super) uploaded: Option<String>,
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
            let after = Entry { shadow: None, ..before.clone() };
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
        let change = |entry: &mut Entry| {
            entry.enabled = true;
            entry.active.clone().ok_or_else(|| no_version(plugin))
        };
        self.switch(tenant, plugin, change).await
    }

    pub(crate) async fn rollback(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        digest: Option<&str>,
    ) -> Result<Value, ActionError> {
        let change = |entry: &mut Entry| {
            let digest = match digest {
                Some(digest) => entry.find(digest).map_err(|why| why.of(plugin, digest))?.digest.clone(),
                None => entry.previous.clone().ok_or_else(|| {
                    ActionError::NotFound(format!("there was no version of `{plugin}` before"))
                })?,
            };
            entry.activate(&digest);
            Ok(digest)
        };
        self.switch(tenant, plugin, change).await
    }

    /// Puts a version in use that has passed the self-test once; `configure` must like the settings of today.
    async fn switch(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        change: impl Fn(&mut Entry) -> Result<String, ActionError>,
    ) -> Result<Value, ActionError> {
        self.configured(tenant, plugin)?;
        let before = self.known(tenant, plugin).await?;
        loop {
            let settings = self.configured(tenant, plugin)?;
            let mut after = before.clone();
            let digest = change(&mut after)?;
            let (lifecycle, of, name) = (Arc::clone(self), Arc::clone(&settings), digest.clone());
            let policy = blocking(move || lifecycle.load_or_compile(&of, &name)).await?;
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
        let mut state = self.state.lock().await;
        let mut next = state.clone();
        let entry = next.tenants.get_mut(tenant).and_then(|of_tenant| of_tenant.get_mut(plugin));
        entry.ok_or_else(|| no_version(plugin))?.enabled = false;
        self.commit(&mut state, next).await?;
        self.active.remove(tenant, plugin);
        tracing::info!(tenant, plugin, "a plugin was disabled");
        Ok(json!({ "tenant": tenant, "plugin": plugin, "active": false }))
    }

    /// A plugin with this version; its policy, unless it is to be loaded; and what is beside it. It may be broken.
    pub(super) async fn make(
        self: &Arc<Self>,
        settings: &Arc<PluginSettings>,
        digest: String,
        policy: Option<Arc<dyn Policy>>,
        shadow: Option<String>,
    ) -> Result<ActivePlugin, ActionError> {
        let (loader, settings) = (Arc::clone(&self.loader), Arc::clone(settings));
        blocking(move || {
            // Where it is recorded: instances that were made for the self-test have read what is in no recording.
            let policy = match policy.filter(|_| settings.record.is_none()) {
                Some(policy) => Ok(policy),
                None => loader.load(&settings, &digest).map_err(|error| error.to_string()),
            };
            let mut plugin = loader.plugin(Arc::clone(&settings), digest, policy);
            plugin.shadow = shadow.and_then(|digest| loader.shadow(&settings, digest));
            Ok(plugin)
        })
        .await
    }

    /// Stores a change and puts it in use. False when settings or data may have changed since it was made: it must be made again.
    ///
    /// # Errors
    /// The plugin was changed meanwhile, or the state cannot be stored; nothing has changed.
    pub(super) async fn put_changed(self: &Arc<Self>, change: PreparedChange) -> Result<bool, ActionError> {
        let PreparedChange { settings, before, changes, after, plugin: made, uploaded } = change;
        let (tenant, plugin) = (&settings.config.tenant, &settings.config.name);
        let mut state = self.state.lock().await;
        if !Arc::ptr_eq(&self.configured(tenant, plugin)?, &settings) {
            return Ok(false);
        }
        let changed =
            || ActionError::Busy(format!("`{plugin}` was changed or disabled meanwhile: try again"));
        if state.entry(tenant, plugin).cloned().unwrap_or_default() != before {
            return Err(changed());
        }
        if state.changes != changes {
            return Ok(false);
        }
        // Another upload of the same octets, which was refused, may have removed them.
        if let Some(digest) = uploaded {
            let component = self.loader.files.component(&digest);
            if !blocking(move || Ok(component.exists())).await? {
                return Err(changed());
            }
        }
        let mut next = state.clone();
        *next.entry_mut(tenant, plugin) = after;
        self.commit(&mut state, next).await?;
        made.into_iter().for_each(|plugin| self.active.put(Arc::new(plugin)));
        Ok(true)
    }

    /// On disk first, then in memory. Components that are remembered no more are removed.
    async fn commit(self: &Arc<Self>, state: &mut State, mut next: State) -> Result<(), ActionError> {
        next.changes += 1;
        let (files, stored) = (self.loader.files.clone(), next.clone());
        let written = blocking(move || {
            files
                .write_state(&stored)
                .map_err(|e| ActionError::Failed(format!("the state cannot be stored: {e}")))
        });
        written.await?;
        let before = std::mem::replace(state, next);
        self.forget_gone(&before, state).await;
        Ok(())
    }
}
