//! What is in use changes: another version, other data, nothing, or nothing beside it any more.

use std::sync::Arc;

use relevo_relay::settings::PluginSettings;
use relevo_runtime::policy::Policy;
use serde_json::{Value, json};

use crate::action::{ActionError, blocking};
use crate::kv::KvData;
use crate::place::Place;
use crate::plugins::Plugins;
use crate::state::{Entry, State};

impl Plugins {
    pub(crate) async fn end_shadow(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
    ) -> Result<Value, ActionError> {
        let mut state = self.state.lock().await;
        let mut next = state.clone();
        entry(&mut next, tenant, plugin)?.shadow = None;
        self.commit(&mut state, next).await?;
        if let Some(place) = self.place(tenant, plugin) {
            self.use_again(&place, &state).await?;
        }
        Ok(json!({ "tenant": tenant, "plugin": plugin, "active": self.place(tenant, plugin).is_some() }))
    }

    pub(crate) async fn enable(self: &Arc<Self>, tenant: &str, plugin: &str) -> Result<Value, ActionError> {
        let settings = self.slot(tenant, plugin)?;
        let mut state = self.state.lock().await;
        let mut next = state.clone();
        let entry = entry(&mut next, tenant, plugin)?;
        let digest = entry.active.clone().ok_or_else(|| no_version(plugin))?;
        entry.enabled = true;
        self.switch(&mut state, next, settings, digest).await
    }

    pub(crate) async fn rollback(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        digest: Option<&str>,
    ) -> Result<Value, ActionError> {
        let settings = self.slot(tenant, plugin)?;
        let mut state = self.state.lock().await;
        let mut next = state.clone();
        let entry = entry(&mut next, tenant, plugin)?;
        let digest = match digest {
            Some(digest) => {
                let found = entry.find(digest).map(|v| v.digest.clone());
                let missing = || format!("`{digest}` names no version of `{plugin}`, or several");
                found.ok_or_else(|| ActionError::NotFound(missing()))?
            }
            None => entry
                .previous
                .clone()
                .ok_or_else(|| ActionError::NotFound(format!("there was no version of `{plugin}` before")))?,
        };
        entry.activate(&digest);
        self.switch(&mut state, next, settings, digest).await
    }

    /// Puts a version in use that has passed the self-test once; `configure` must like the settings of today.
    async fn switch(
        self: &Arc<Self>,
        state: &mut State,
        next: State,
        settings: Arc<PluginSettings>,
        digest: String,
    ) -> Result<Value, ActionError> {
        let (plugins, of, name) = (Arc::clone(self), Arc::clone(&settings), digest.clone());
        let policy = blocking(move || plugins.load_or_compile(&of, &name)).await?;
        let place = self.place_with(Arc::clone(&settings), digest.clone(), Ok(Arc::clone(&policy)));
        let now = u64::try_from(self.now()).unwrap_or(0);
        let configured = policy.configure(now, Some(place.data.clone())).await.result;
        configured.map_err(|fault| ActionError::Refused(fault.to_string()))?;
        self.commit(state, next).await?;
        let (tenant, plugin) = (settings.config.tenant.clone(), settings.config.name.clone());
        self.use_version(settings, digest.clone(), policy, state).await?;
        tracing::info!(tenant, plugin, digest, "another version of a plugin is in use");
        Ok(json!({ "tenant": tenant, "plugin": plugin, "digest": digest, "active": true }))
    }

    pub(crate) async fn disable(self: &Arc<Self>, tenant: &str, plugin: &str) -> Result<Value, ActionError> {
        let mut state = self.state.lock().await;
        let mut next = state.clone();
        entry(&mut next, tenant, plugin)?.enabled = false;
        self.commit(&mut state, next).await?;
        self.take(tenant, plugin);
        tracing::info!(tenant, plugin, "a plugin was disabled");
        Ok(json!({ "tenant": tenant, "plugin": plugin, "active": false }))
    }

    pub(crate) async fn import(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        content: Vec<u8>,
    ) -> Result<Value, ActionError> {
        let settings = self.slot(tenant, plugin)?;
        let data = KvData::parse(&content, settings.kv_size).map_err(ActionError::Refused)?;
        let entries = data.len();
        // The place must not change in between.
        let state = self.state.lock().await;
        let (files, path) = (self.files.clone(), self.files.kv(tenant, plugin));
        let written =
            blocking(move || files.replace(&path, &content).map_err(|e| ActionError::Failed(e.to_string())));
        written.await?;
        if let Some(place) = self.place(tenant, plugin) {
            self.use_again(&place, &state).await?;
        }
        tracing::info!(tenant, plugin, entries, "key-value data of a plugin was imported");
        Ok(json!({ "tenant": tenant, "plugin": plugin, "entries": entries }))
    }

    /// The same version with the data on disk, and what is beside it now.
    pub(crate) async fn use_again(self: &Arc<Self>, place: &Place, state: &State) -> Result<(), ActionError> {
        let (plugins, settings, digest) =
            (Arc::clone(self), Arc::clone(&place.settings), place.digest.clone());
        let policy = blocking(move || plugins.load_or_compile(&settings, &digest)).await?;
        self.use_version(Arc::clone(&place.settings), place.digest.clone(), policy, state).await
    }

    pub(crate) async fn use_version(
        self: &Arc<Self>,
        settings: Arc<PluginSettings>,
        digest: String,
        policy: Arc<dyn Policy>,
        state: &State,
    ) -> Result<(), ActionError> {
        let plugins = Arc::clone(self);
        let config = &settings.config;
        let shadow = state.entry(&config.tenant, &config.name).and_then(|e| e.shadow.clone());
        let made = blocking(move || {
            let policy = match settings.record {
                // Its instances were made for the self-test: what they read then is in no recording.
                Some(_) => plugins.load_or_compile(&settings, &digest)?,
                None => policy,
            };
            let mut place = plugins.place_with(Arc::clone(&settings), digest, Ok(policy));
            place.shadow = shadow.and_then(|digest| plugins.shadow(&settings, digest));
            Ok(Arc::new(place))
        });
        self.put(made.await?);
        Ok(())
    }
}

fn entry<'a>(state: &'a mut State, tenant: &str, plugin: &str) -> Result<&'a mut Entry, ActionError> {
    let found = state.tenants.get_mut(tenant).and_then(|t| t.get_mut(plugin));
    found.ok_or_else(|| no_version(plugin))
}

fn no_version(plugin: &str) -> ActionError {
    ActionError::NotFound(format!("no version of `{plugin}` was added yet"))
}
