//! The life of versions: from an upload to a version in use, and whatever changes what is in use.
//!
//! Changes are made without a lock: compiling and testing take long, and `list`, `disable` and a reload wait for neither. The state is
//! locked while a change is stored and put in use, and only then it is seen whether the change was made of what still holds. If the
//! settings are others by now, it is made again; if the plugin was changed meanwhile, it is refused.

mod add;
mod child;
mod clear;
mod compile;
mod files;
mod import;
#[cfg(test)]
mod import_tests;
mod list;
mod loader;
mod state;
mod switch;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use relevo_relay::clock::Clock;
use relevo_relay::settings::{PluginSettings, SettingsHandle};
use relevo_runtime::Blame;
use tokio::sync::{Mutex, mpsc};

use crate::action::{ActionError, blocking};
use crate::active_plugins::{ActivePlugins, ByTenant};
use crate::record::Recorder;

pub use child::compile_here;
pub(crate) use files::Files;
pub(crate) use loader::PluginLoader;
use loader::wanted;
use state::{Entry, State};

/// Between two looks for warm instances that nobody uses.
const SWEEP: Duration = Duration::from_secs(10);
/// The longest that [`Lifecycle::write_recordings`] waits.
const WRITE: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Lifecycle {
    pub(crate) loader: Arc<PluginLoader>,
    pub(crate) active: Arc<ActivePlugins>,
    program: PathBuf,
    pub(crate) settings: SettingsHandle,
    pub(crate) clock: Arc<dyn Clock>,
    /// Held for as long as it takes to look, or to store a change and put it in use.
    state: Mutex<State>,
    /// One compiler at a time: its limits are for one.
    compiler: Mutex<()>,
    /// Something is to be compiled in the background.
    missing: mpsc::Sender<()>,
}

impl Lifecycle {
    /// Reads what was in use. Also returns what [`Self::start`] needs.
    pub(crate) async fn open(
        directory: PathBuf,
        program: PathBuf,
        serving: bool,
        settings: SettingsHandle,
        clock: Arc<dyn Clock>,
    ) -> io::Result<(Arc<Self>, mpsc::Receiver<()>)> {
        let opened = tokio::task::spawn_blocking(move || {
            let files = Files::open(&directory)?;
            let state = files.read_state()?;
            Ok::<_, io::Error>((files, state))
        });
        let (files, state) = opened.await.map_err(io::Error::other)??;
        let recorder = if serving { Some(Recorder::start(files.recordings())?) } else { None };
        let active: Arc<ActivePlugins> = Arc::default();
        let (missing, asked) = mpsc::channel(1);
        let lifecycle = Self {
            loader: Arc::new(PluginLoader::new(files, Arc::clone(&active), recorder)),
            active,
            program,
            settings,
            clock,
            state: Mutex::new(state),
            compiler: Mutex::default(),
            missing,
        };
        Ok((Arc::new(lifecycle), asked))
    }

    /// Begins what is done in the background.
    pub(crate) fn start(self: &Arc<Self>, asked: mpsc::Receiver<()>) {
        tokio::spawn(sweep(Arc::downgrade(self)));
        tokio::spawn(compile::run(Arc::downgrade(self), asked, compile::AGAIN));
    }

    /// Settings have changed: every plugin is made anew with them.
    pub(crate) async fn refresh(self: &Arc<Self>) {
        let mut state = self.state.lock().await;
        state.changes += 1;
        let (loader, settings) = (Arc::clone(&self.loader), self.settings.get());
        let wanted = wanted(&settings, &state);
        let made = blocking(move || {
            if let Some(recorder) = &loader.recorder {
                recorder.keep(settings.directory.tenants().flat_map(|tenant| &tenant.plugins));
            }
            Ok(loader.load_all(wanted, None))
        });
        let (plugins, missing) = match made.await {
            Ok(made) => made,
            Err(error) => return tracing::error!(%error, "plugins could not be loaded"),
        };
        let before = self.active.replace_all(plugins);
        if missing {
            // Full: it has been asked already.
            let _ = self.missing.try_send(());
        }
        drop(state);
        self.try_settings(&before).await;
    }

    /// Plugins with other settings than `before` are asked whether they like them, so that whoever reloaded them reads it at once. What
    /// one does not like, each message meets, and its failure policy answers.
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

    /// See [`State::changes`].
    async fn changes(&self) -> u64 {
        self.state.lock().await.changes
    }

    /// What the state says of a plugin now; nothing, if no version was added yet.
    async fn entry(&self, tenant: &str, plugin: &str) -> Entry {
        self.state.lock().await.entry(tenant, plugin).cloned().unwrap_or_default()
    }

    /// As [`Self::entry`], of one to which a version was added.
    async fn known(&self, tenant: &str, plugin: &str) -> Result<Entry, ActionError> {
        let state = self.state.lock().await;
        state.entry(tenant, plugin).cloned().ok_or_else(|| no_version(plugin))
    }

    /// The digest of a version that was added before; the active one, when none is named.
    pub(crate) async fn stored(
        &self,
        tenant: &str,
        plugin: &str,
        digest: Option<&str>,
    ) -> Result<String, ActionError> {
        let entry = self.known(tenant, plugin).await?;
        match digest {
            Some(digest) => {
                entry.find(digest).map(|v| v.digest.clone()).map_err(|why| why.of(plugin, digest))
            }
            None => entry.active.ok_or_else(|| no_version(plugin)),
        }
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
