//! What operators ask for, over the control socket or HTTP.

use std::sync::Arc;

use relevo_relay::clock::timestamp;
use relevo_relay::settings::PluginSettings;
use relevo_runtime::Blame;
use relevo_runtime::policy::{self, Data, Policy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kv::KvData;
use crate::plugins::{Plugins, digest_of, hex};
use crate::state::{Entry, State, Version};
use crate::test_message;

/// A request. Content (a component, key-value data) comes beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// All places for plugins, or those of a tenant.
    List {
        /// Whose.
        tenant: Option<String>,
    },
    /// A component becomes the version that is asked. Content: the component.
    Add {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
    /// A component is asked beside the active version, without effect. Content: the component.
    Shadow {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
    /// No longer.
    EndShadow {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
    /// Ask it again.
    Enable {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
    /// Ask it no more; mail passes as if it were not there.
    Disable {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
    /// Another version that was added before becomes the one that is asked.
    Rollback {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
        /// Which; the beginning is enough. None: the one before.
        digest: Option<String>,
    },
    /// Other key-value data, all of it. Content: lines with key, tab and value.
    KvImport {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
}

/// Why it was not done. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// No such tenant, place or version.
    #[error("{0}")]
    NotFound(String),
    /// The content or the version is not fit.
    #[error("{0}")]
    Refused(String),
    /// The host could not do it.
    #[error("{0}")]
    Failed(String),
}

impl Action {
    /// Octets of content that it may come with; none: it takes no content.
    #[must_use]
    pub fn most_content(&self, plugins: &Plugins) -> Option<usize> {
        match self {
            Self::Add { .. } | Self::Shadow { .. } => Some(plugins.settings.get().plugins.upload.octets),
            Self::KvImport { tenant, plugin } => {
                let granted = plugins.configured(tenant, plugin).map_or(0, |p| p.kv_size);
                // Tabs, line ends and notes come on top of keys and values.
                Some(
                    usize::try_from(granted.saturating_mul(2).saturating_add(64 << 10)).unwrap_or(usize::MAX),
                )
            }
            _ => None,
        }
    }
}

impl Plugins {
    /// Does it, durably: what is answered here is in use, and is again after a restart.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub async fn act(self: &Arc<Self>, action: Action, content: Vec<u8>) -> Result<Value, ActionError> {
        match action {
            Action::List { tenant } => Ok(self.list(tenant.as_deref()).await),
            Action::Add { tenant, plugin } => self.add(&tenant, &plugin, content, false).await,
            Action::Shadow { tenant, plugin } => self.add(&tenant, &plugin, content, true).await,
            Action::EndShadow { tenant, plugin } => self.end_shadow(&tenant, &plugin).await,
            Action::Enable { tenant, plugin } => self.enable(&tenant, &plugin).await,
            Action::Disable { tenant, plugin } => self.disable(&tenant, &plugin).await,
            Action::Rollback { tenant, plugin, digest } => {
                self.rollback(&tenant, &plugin, digest.as_deref()).await
            }
            Action::KvImport { tenant, plugin } => self.import(&tenant, &plugin, content).await,
        }
    }

    /// `beside`: without effect, beside the active version.
    async fn add(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        wasm: Vec<u8>,
        beside: bool,
    ) -> Result<Value, ActionError> {
        let settings = self.slot(tenant, plugin)?;
        let digest = hex(&digest_of(&wasm));
        let size = wasm.len() as u64;
        // One upload at a time: the compiler's limits are for one.
        let mut state = self.state.lock().await;
        let was_known = state.knows(&digest);
        let compared = self.place(tenant, plugin).filter(|_| beside);
        if beside && compared.is_none() {
            return Err(ActionError::Refused("there is no active version to compare it with".to_owned()));
        }
        let (plugins, of, name) = (Arc::clone(self), Arc::clone(&settings), digest.clone());
        let loaded = blocking(move || plugins.admit(&of, &name, &wasm)).await;
        let tested = match loaded {
            Ok(policy) => self.self_test(&settings, &policy).await.map(|()| policy),
            Err(error) => Err(error),
        };
        let policy = match tested {
            Ok(policy) => policy,
            Err(error) => {
                if !was_known {
                    // Nothing refers to it; what cannot be removed is overwritten by the next upload of the same.
                    let _ = std::fs::remove_file(self.files.component(&digest));
                }
                return Err(error);
            }
        };
        let mut next = state.clone();
        let entry = next.entry_mut(tenant, plugin);
        entry.remember(Version { digest: digest.clone(), added_at: self.now(), size });
        match &compared {
            Some(_) => entry.shadow = Some(digest.clone()),
            None => entry.activate(&digest),
        }
        self.commit(&mut state, next).await?;
        match compared {
            Some(place) => self.use_again(&place, &state).await?,
            None => self.use_version(settings, digest.clone(), policy, &state).await?,
        }
        tracing::info!(tenant, plugin, digest, size, beside, "a plugin was added");
        Ok(json!({ "tenant": tenant, "plugin": plugin, "digest": digest, "active": !beside }))
    }

    /// Everything between an upload and a loaded version. Blocks.
    fn admit(
        &self,
        settings: &PluginSettings,
        digest: &str,
        wasm: &[u8],
    ) -> Result<Arc<dyn Policy>, ActionError> {
        let refused = |what: String| ActionError::Refused(what);
        let bounds = self.settings.get().plugins.upload;
        if wasm.len() > bounds.octets {
            return Err(refused(format!("it has {} octets, {} are allowed", wasm.len(), bounds.octets)));
        }
        let inventory = policy::inspect(wasm).map_err(|e| refused(e.to_string()))?;
        inventory.check(&bounds, &settings.config.limits).map_err(refused)?;
        policy::audit(&inventory, &settings.config.grants).map_err(|denied| {
            refused(denied.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        let path = self.files.component(digest);
        self.files.replace(&path, wasm).map_err(|e| ActionError::Failed(e.to_string()))?;
        self.load_or_compile(settings, digest)
    }

    fn load_or_compile(
        &self,
        settings: &PluginSettings,
        digest: &str,
    ) -> Result<Arc<dyn Policy>, ActionError> {
        let refused = |error: policy::PluginError| ActionError::Refused(error.to_string());
        match self.load(settings, digest) {
            Err(policy::PluginError::NotCompiled) => {
                self.compile(digest).map_err(ActionError::Refused)?;
                self.load(settings, digest).map_err(refused)
            }
            other => other.map_err(refused),
        }
    }

    /// `configure` with the settings as they are, then sample messages. What it decides does not matter.
    async fn self_test(
        &self,
        settings: &PluginSettings,
        policy: &Arc<dyn Policy>,
    ) -> Result<(), ActionError> {
        let place = self.place_with(Arc::new(settings.clone()), String::new(), Ok(Arc::clone(policy)));
        let data: Data = Some(place.data.clone());
        let now = u64::try_from(self.now()).unwrap_or(0);
        let failed = |fault: policy::PluginFault| match fault.blame {
            Blame::Guest => ActionError::Refused(format!("the self-test failed: {fault}")),
            Blame::Host => ActionError::Failed(format!("the self-test could not be run: {fault}")),
        };
        policy.configure(now, data.clone()).await.result.map_err(failed)?;
        for case in test_message::cases(&settings.config.tenant, now, &data) {
            let answer = policy.judge(case).await.result.map_err(failed)?;
            if let Some(fault) = answer.fault {
                return Err(failed(fault));
            }
        }
        Ok(())
    }

    async fn end_shadow(self: &Arc<Self>, tenant: &str, plugin: &str) -> Result<Value, ActionError> {
        let mut state = self.state.lock().await;
        let mut next = state.clone();
        entry(&mut next, tenant, plugin)?.shadow = None;
        self.commit(&mut state, next).await?;
        if let Some(place) = self.place(tenant, plugin) {
            self.use_again(&place, &state).await?;
        }
        Ok(json!({ "tenant": tenant, "plugin": plugin, "active": self.place(tenant, plugin).is_some() }))
    }

    async fn enable(self: &Arc<Self>, tenant: &str, plugin: &str) -> Result<Value, ActionError> {
        let settings = self.slot(tenant, plugin)?;
        let mut state = self.state.lock().await;
        let mut next = state.clone();
        let entry = entry(&mut next, tenant, plugin)?;
        let digest = entry.active.clone().ok_or_else(|| no_version(plugin))?;
        entry.enabled = true;
        self.switch(&mut state, next, settings, digest).await
    }

    async fn rollback(
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

    async fn disable(self: &Arc<Self>, tenant: &str, plugin: &str) -> Result<Value, ActionError> {
        let mut state = self.state.lock().await;
        let mut next = state.clone();
        entry(&mut next, tenant, plugin)?.enabled = false;
        self.commit(&mut state, next).await?;
        self.take(tenant, plugin);
        tracing::info!(tenant, plugin, "a plugin was disabled");
        Ok(json!({ "tenant": tenant, "plugin": plugin, "active": false }))
    }

    async fn import(
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
    async fn use_again(
        self: &Arc<Self>,
        place: &crate::place::Place,
        state: &State,
    ) -> Result<(), ActionError> {
        let (plugins, settings, digest) =
            (Arc::clone(self), Arc::clone(&place.settings), place.digest.clone());
        let policy = blocking(move || plugins.load_or_compile(&settings, &digest)).await?;
        self.use_version(Arc::clone(&place.settings), place.digest.clone(), policy, state).await
    }

    async fn use_version(
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
            let mut place = plugins.place_with(Arc::clone(&settings), digest, Ok(policy));
            place.shadow = shadow.and_then(|digest| plugins.shadow(&settings, digest));
            Ok(Arc::new(place))
        });
        self.put(made.await?);
        Ok(())
    }

    async fn list(&self, tenant: Option<&str>) -> Value {
        let state = self.state.lock().await;
        let settings = self.settings.get();
        let mut listed = Vec::new();
        let mut tenants: Vec<_> = settings.tenants.by_id.values().collect();
        tenants.sort_by(|a, b| a.id.cmp(&b.id));
        for of in tenants.into_iter().filter(|t| tenant.is_none_or(|wanted| wanted == t.id)) {
            for plugin in &of.plugins {
                let entry = state.entry(&of.id, &plugin.config.name).cloned().unwrap_or_default();
                listed.push(self.listed(&of.id, &plugin.config.name, &entry));
            }
        }
        Value::Array(listed)
    }

    fn listed(&self, tenant: &str, plugin: &str, entry: &Entry) -> Value {
        let place = self.place(tenant, plugin);
        let versions: Vec<Value> = entry
            .versions
            .iter()
            .rev()
            .map(|v| json!({ "digest": v.digest, "added_at": timestamp(v.added_at), "size": v.size }))
            .collect();
        let state = match (&place, &entry.active) {
            (_, None) => "empty",
            (Some(place), Some(_)) if place.policy.is_ok() => "active",
            (Some(_), Some(_)) => "broken",
            (None, Some(_)) => "disabled",
        };
        json!({
            "tenant": tenant,
            "plugin": plugin,
            "state": state,
            "digest": entry.active,
            "previous": entry.previous,
            "versions": versions,
            "problem": place.as_ref().and_then(|p| p.policy.as_ref().err()),
            "breaker": place.as_ref().map(|p| p.breaker().0),
            "kv_entries": place.as_ref().map(|p| p.data.len()),
            "shadow": place.as_ref().and_then(|p| p.shadow.as_ref()).map(|s| s.listed()),
            "log": place.as_ref().map(|p| p.last_lines()),
        })
    }

    fn slot(&self, tenant: &str, plugin: &str) -> Result<Arc<PluginSettings>, ActionError> {
        self.configured(tenant, plugin).ok_or_else(|| {
            let text = format!("tenant `{tenant}` has no plugin `{plugin}` in the configuration");
            ActionError::NotFound(text)
        })
    }

    /// On disk first, then in memory.
    async fn commit(&self, state: &mut State, next: State) -> Result<(), ActionError> {
        let (files, stored) = (self.files.clone(), next.clone());
        let written = blocking(move || {
            files
                .write_state(&stored)
                .map_err(|e| ActionError::Failed(format!("the state cannot be stored: {e}")))
        });
        written.await?;
        *state = next;
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ActionError> + Send + 'static,
) -> Result<T, ActionError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| ActionError::Failed(e.to_string()))?
}
