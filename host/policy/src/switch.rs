//! What is in use changes: another version, nothing, or nothing beside it any more. What can fail is done before anything is stored.

use std::sync::Arc;

use relevo_relay::settings::PluginSettings;
use relevo_runtime::policy::Policy;
use serde_json::{Value, json};

use crate::action::{ActionError, blocking};
use crate::place::Place;
use crate::plugins::Plugins;
use crate::state::{Entry, State};

/// Of a place, made without the state's lock.
pub(crate) struct Change {
    /// That it was made with.
    pub(crate) settings: Arc<PluginSettings>,
    /// That it was made of.
    pub(crate) before: Entry,
    pub(crate) after: Entry,
    /// What is put in use. None: the place is switched off.
    pub(crate) place: Option<Place>,
}

impl Place {
    /// Itself, unless its version or data cannot be used.
    pub(crate) fn working(self) -> Result<Self, ActionError> {
        match &self.policy {
            Ok(_) => Ok(self),
            Err(why) => Err(ActionError::Refused(why.clone())),
        }
    }
}

impl Plugins {
    pub(crate) async fn end_shadow(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
    ) -> Result<Value, ActionError> {
        let _turn = self.turns.of(tenant, plugin).await;
        // Of before the first try: it may be disabled in any of them.
        let before = self.known(tenant, plugin).await?;
        let Some(ended) = before.shadow.clone() else {
            let text = format!("no version is asked beside the active one of `{plugin}`");
            return Err(ActionError::NotFound(text));
        };
        loop {
            let settings = self.slot(tenant, plugin)?;
            let after = Entry { shadow: None, ..before.clone() };
            let place = match self.place(tenant, plugin) {
                Some(place) => Some(self.make(&settings, place.digest.clone(), None, None).await?),
                None => None,
            };
            let (active, digest) = (place.is_some(), before.active.clone());
            if self.put_changed(Change { settings, before: before.clone(), after, place }).await? {
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
        self.slot(tenant, plugin)?;
        let _turn = self.turns.of(tenant, plugin).await;
        // Of before the first try: it may be disabled in any of them.
        let before = self.known(tenant, plugin).await?;
        loop {
            let settings = self.slot(tenant, plugin)?;
            let mut after = before.clone();
            let digest = change(&mut after)?;
            let (of, name) = (Arc::clone(&settings), digest.clone());
            let loaded = self.work(move |plugins| plugins.load_or_compile(&of, &name));
            let policy = loaded.await?;
            let place = self.make(&settings, digest.clone(), Some(Arc::clone(&policy)), after.shadow.clone());
            let place = place.await?.working()?;
            let now = u64::try_from(self.now()).unwrap_or(0);
            let configured = policy.configure(now, Some(place.data.clone())).await.result;
            let refuses = |fault| format!("`{plugin}` of `{tenant}` refuses its settings: {fault}");
            configured.map_err(|fault| ActionError::Refused(refuses(fault)))?;
            if self
                .put_changed(Change { settings, before: before.clone(), after, place: Some(place) })
                .await?
            {
                tracing::info!(tenant, plugin, digest, "another version of a plugin is in use");
                return Ok(json!({ "tenant": tenant, "plugin": plugin, "digest": digest, "active": true }));
            }
        }
    }

    /// Waits for no change that is under way: it takes effect at once, and what is under way is refused.
    pub(crate) async fn disable(self: &Arc<Self>, tenant: &str, plugin: &str) -> Result<Value, ActionError> {
        let mut state = self.state.lock().await;
        let mut next = state.clone();
        entry(&mut next, tenant, plugin)?.enabled = false;
        self.commit(&mut state, next).await?;
        self.take(tenant, plugin);
        tracing::info!(tenant, plugin, "a plugin was disabled");
        Ok(json!({ "tenant": tenant, "plugin": plugin, "active": false }))
    }

    /// A place with this version; its policy, unless it is to be loaded; and what is beside it. It may be broken.
    pub(crate) async fn make(
        self: &Arc<Self>,
        settings: &Arc<PluginSettings>,
        digest: String,
        policy: Option<Arc<dyn Policy>>,
        shadow: Option<String>,
    ) -> Result<Place, ActionError> {
        let (plugins, settings) = (Arc::clone(self), Arc::clone(settings));
        blocking(move || {
            // Where it is recorded: instances that were made for the self-test have read what is in no recording.
            let policy = match policy.filter(|_| settings.record.is_none()) {
                Some(policy) => Ok(policy),
                None => plugins.load(&settings, &digest).map_err(|error| error.to_string()),
            };
            let mut place = plugins.place_with(Arc::clone(&settings), digest, policy);
            place.shadow = shadow.and_then(|digest| plugins.shadow(&settings, digest));
            Ok(place)
        })
        .await
    }

    /// Stores a change and puts it in use. False when the settings have changed since it was made: it must be made again.
    ///
    /// # Errors
    /// The place was switched off meanwhile, or the state cannot be stored; nothing has changed.
    pub(crate) async fn put_changed(self: &Arc<Self>, change: Change) -> Result<bool, ActionError> {
        let Change { settings, before, after, place } = change;
        let (tenant, plugin) = (&settings.config.tenant, &settings.config.name);
        let mut state = self.state.lock().await;
        if !Arc::ptr_eq(&self.slot(tenant, plugin)?, &settings) {
            return Ok(false);
        }
        // Whoever has its turn is the only one to change a place, but for this.
        if state.entry(tenant, plugin).cloned().unwrap_or_default() != before {
            return Err(ActionError::Refused(format!("`{plugin}` was disabled meanwhile")));
        }
        let mut next = state.clone();
        *next.entry_mut(tenant, plugin) = after;
        self.commit(&mut state, next).await?;
        place.into_iter().for_each(|place| self.put(Arc::new(place)));
        Ok(true)
    }

    /// What the state says of a place now; nothing, if no version was added yet.
    pub(crate) async fn entry(&self, tenant: &str, plugin: &str) -> Entry {
        self.state.lock().await.entry(tenant, plugin).cloned().unwrap_or_default()
    }

    async fn known(&self, tenant: &str, plugin: &str) -> Result<Entry, ActionError> {
        let state = self.state.lock().await;
        state.entry(tenant, plugin).cloned().ok_or_else(|| no_version(plugin))
    }
}

fn entry<'a>(state: &'a mut State, tenant: &str, plugin: &str) -> Result<&'a mut Entry, ActionError> {
    let found = state.tenants.get_mut(tenant).and_then(|t| t.get_mut(plugin));
    found.ok_or_else(|| no_version(plugin))
}

pub(crate) fn no_version(plugin: &str) -> ActionError {
    ActionError::NotFound(format!("no version of `{plugin}` was added yet: `relevo plugin add` does that"))
}
