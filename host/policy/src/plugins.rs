//! All plugins of a relay.

use std::path::PathBuf;
use std::sync::Arc;

use relevo_queue::EventLog;
use relevo_relay::clock::Clock;
use relevo_relay::settings::SettingsHandle;
use relevo_store::PluginStore;
use serde_json::Value;

use crate::action::{ActionError, PluginAction};
use crate::active_plugins::ActivePlugins;
use crate::lifecycle::{Lifecycle, OpenPluginsError};
use crate::observe::{OutcomeNotifier, Outcomes};
use crate::replay::Replays;

/// Surroundings of the plugins.
#[derive(Clone)]
pub struct PluginsConfig {
    /// Versions, components and key-value data.
    pub store: Arc<dyn PluginStore>,
    /// Directory of compiled code and recordings; made 0700.
    pub directory: PathBuf,
    /// This program: it is started as `plugin-compile` (see [`crate::compile_here`]).
    pub program: PathBuf,
    /// Whether a relay runs on it. If not, nothing is recorded and nothing is done in the
    /// background.
    pub serving: bool,
    /// Where faults go that belong to no message.
    pub events: Option<Arc<dyn EventLog>>,
}

/// See the crate.
pub struct Plugins {
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) active: Arc<ActivePlugins>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) outcomes: Outcomes,
    replays: Replays,
}

impl Plugins {
    /// Reads what was in use and puts it in use again. What is not compiled for this version of the
    /// program is compiled in the background; until then its failure policy answers.
    ///
    /// # Errors
    /// The directory cannot be used, or the store cannot be read.
    pub async fn open(
        config: PluginsConfig,
        settings: SettingsHandle,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, OpenPluginsError> {
        let (lifecycle, to_compile) = Lifecycle::open(&config, settings, Arc::clone(&clock)).await?;
        let PluginsConfig { serving, events, .. } = config;
        let active = Arc::clone(&lifecycle.active);
        let (outcomes, waiting) = Outcomes::new();
        if serving {
            lifecycle.clear().await;
        }
        lifecycle.refresh().await;
        if serving {
            let notifier = OutcomeNotifier {
                active: Arc::downgrade(&active),
                clock: Arc::clone(&clock),
                events,
                dropped: outcomes.dropped.clone(),
            };
            tokio::spawn(notifier.run(waiting));
            lifecycle.start(to_compile);
        }
        let replays = Replays::new(Arc::clone(&lifecycle));
        Ok(Arc::new(Self { lifecycle, active, clock, outcomes, replays }))
    }

    /// Settings have changed: every plugin is made anew with them.
    pub async fn refresh(&self) {
        self.lifecycle.refresh().await;
    }

    /// Returns when everything that was recorded so far is in files, or when that takes too long.
    pub async fn write_recordings(&self) {
        self.lifecycle.write_recordings().await;
    }

    /// Does it, durably: what is answered here is in use, and is again after a restart.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub async fn act(&self, action: PluginAction, content: Vec<u8>) -> Result<Value, ActionError> {
        let lifecycle = &self.lifecycle;
        match action {
            PluginAction::List { tenant } => Ok(lifecycle.list(tenant.as_deref()).await),
            PluginAction::Add { tenant, plugin } => lifecycle.add(&tenant, &plugin, content, false).await,
            PluginAction::Shadow { tenant, plugin } => lifecycle.add(&tenant, &plugin, content, true).await,
            PluginAction::EndShadow { tenant, plugin } => lifecycle.end_shadow(&tenant, &plugin).await,
            PluginAction::Forget { tenant, plugin } => lifecycle.forget_plugin(&tenant, &plugin).await,
            PluginAction::Enable { tenant, plugin } => lifecycle.enable(&tenant, &plugin).await,
            PluginAction::Disable { tenant, plugin } => lifecycle.disable(&tenant, &plugin).await,
            PluginAction::Rollback { tenant, plugin, digest } => {
                lifecycle.rollback(&tenant, &plugin, digest.as_deref()).await
            }
            PluginAction::Replay { tenant, plugin, digest, last } => {
                self.replays.replay(&tenant, &plugin, digest.as_deref(), last, content).await
            }
            PluginAction::KvImport { tenant, plugin } => lifecycle.import(&tenant, &plugin, content).await,
        }
    }
}
