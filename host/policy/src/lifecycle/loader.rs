//! Makes plugins that can be asked, of compiled code, settings and data.

use std::io;
use std::sync::{Arc, OnceLock};

use relevo_relay::settings::{PluginSettings, RecordSettings, Settings};
use relevo_runtime::policy::{EngineConfig, PluginError, Policy, PolicyEngine};

use super::PluginTable;
use super::files::PluginFiles;
use crate::active::ActivePlugin;
use crate::active_plugins::{ActivePlugins, ByTenant};
use crate::digest::parse_digest;
use crate::kv::KvData;
use crate::record::{Recorder, StoredRecording, directory_name, read_recordings};
use crate::shadow::Shadow;

/// See the module. Most functions read files, and block.
pub(crate) struct PluginLoader {
    pub(crate) files: PluginFiles,
    pub(super) active: Arc<ActivePlugins>,
    /// None while no relay runs on it.
    pub(super) recorder: Option<Arc<Recorder>>,
    /// Made when the first plugin needs it: a relay without plugins pays nothing.
    engine: OnceLock<Arc<PolicyEngine>>,
}

/// A version that is to be in use.
#[derive(Debug, Clone)]
pub(super) struct WantedVersion {
    pub(super) settings: Arc<PluginSettings>,
    pub(super) digest: String,
    pub(super) shadow: Option<String>,
}

/// Key-value data of a plugin, or why they cannot be used.
pub(super) type ReadData = Result<Arc<KvData>, String>;

/// What is to be in use.
pub(super) fn wanted(settings: &Settings, table: &PluginTable) -> Vec<WantedVersion> {
    let plugins = settings.directory.tenants().flat_map(|tenant| &tenant.plugins);
    plugins
        .filter_map(|plugin| {
            let stored = table.get(&plugin.config.tenant, &plugin.config.name)?;
            let digest = stored.active.clone().filter(|_| stored.enabled)?;
            Some(WantedVersion { settings: Arc::clone(plugin), digest, shadow: stored.shadow.clone() })
        })
        .collect()
}

impl PluginLoader {
    pub(crate) fn new(
        files: PluginFiles,
        active: Arc<ActivePlugins>,
        recorder: Option<Arc<Recorder>>,
    ) -> Self {
        Self { files, active, recorder, engine: OnceLock::new() }
    }

    pub(super) fn engine(&self) -> Result<Arc<PolicyEngine>, String> {
        if let Some(engine) = self.engine.get() {
            return Ok(Arc::clone(engine));
        }
        let made = PolicyEngine::new(&EngineConfig::new(self.files.code())).map_err(|e| e.to_string())?;
        // Of two that are made at once, one goes.
        Ok(Arc::clone(self.engine.get_or_init(|| Arc::new(made))))
    }

    /// Returns none if nothing needed it yet.
    pub(crate) fn made_engine(&self) -> Option<&PolicyEngine> {
        self.engine.get().map(Arc::as_ref)
    }

    /// Loads compiled code.
    pub(crate) fn load(
        &self,
        settings: &PluginSettings,
        digest: &str,
    ) -> Result<Arc<dyn Policy>, PluginError> {
        let octets = parse_digest(digest).ok_or(PluginError::NotCompiled)?;
        let engine = self.engine().map_err(PluginError::Limit)?;
        let plugin: Arc<dyn Policy> = engine.load(octets, settings.config.clone())?;
        Ok(plugin)
    }

    pub(super) fn is_compiled(&self, settings: &PluginSettings, digest: &str) -> bool {
        !matches!(self.load(settings, digest), Err(PluginError::NotCompiled))
    }

    /// Loads versions with their data. Also returns whether something must be compiled first;
    /// `problem` is why it could not be.
    pub(super) fn load_all(
        &self,
        wanted: Vec<(WantedVersion, ReadData)>,
        problem: Option<&str>,
    ) -> (ByTenant, bool) {
        let (mut plugins, mut missing) = (ByTenant::new(), false);
        for (want, data) in wanted {
            let (tenant, name) = (want.settings.config.tenant.clone(), want.settings.config.name.clone());
            let loaded = match self.load(&want.settings, &want.digest) {
                Ok(policy) => Ok(policy),
                Err(PluginError::NotCompiled) => {
                    missing = true;
                    let when =
                        if self.recorder.is_some() { "it is being" } else { "at its start the relay has it" };
                    let waits = || format!("{when} compiled for this version of the program");
                    Err(problem.map_or_else(waits, ToOwned::to_owned))
                }
                Err(error) => {
                    tracing::error!(tenant, plugin = name, digest = want.digest, %error,
                        "a plugin cannot be loaded: its failure policy answers");
                    Err(error.to_string())
                }
            };
            let mut plugin = self.plugin(want.settings, want.digest, loaded, data);
            if let Some(digest) = want.shadow {
                plugin.shadow = self.shadow(&plugin.settings, digest);
                missing |= plugin.shadow.is_none();
            }
            plugins.entry(tenant).or_default().insert(name, Arc::new(plugin));
        }
        (plugins, missing)
    }

    /// A plugin with its data.
    pub(super) fn plugin(
        &self,
        settings: Arc<PluginSettings>,
        digest: String,
        policy: Result<Arc<dyn Policy>, String>,
        data: ReadData,
    ) -> ActivePlugin {
        // Without its data it would decide something else.
        let (policy, data) = match data {
            Ok(data) => (policy, data),
            Err(error) => (Err(error), Arc::default()),
        };
        let config = &settings.config;
        let before = self.active.get(&config.tenant, &config.name);
        let cpu = self.active.cpu(&config.tenant, settings.tenant_cpu);
        let recording = self.recorder.as_ref().and_then(|recorder| recorder.handle(&settings, &digest));
        let mut plugin = ActivePlugin::new(settings, digest, policy, data, cpu);
        plugin.recording = recording;
        if let Some(before) = before {
            plugin.note_configure_of(&before);
        }
        plugin
    }

    /// A version to be asked beside the active one. One that cannot be loaded is not: nothing
    /// depends on it.
    pub(super) fn shadow(&self, settings: &PluginSettings, digest: String) -> Option<Arc<Shadow>> {
        match self.load(settings, &digest) {
            Ok(policy) => Some(Arc::new(Shadow::new(digest, policy))),
            Err(error) => {
                let config = &settings.config;
                tracing::warn!(tenant = config.tenant, plugin = config.name, digest, %error,
                    "a plugin cannot be asked beside the active one");
                None
            }
        }
    }

    /// The recordings of a plugin, the oldest first.
    pub(crate) fn recordings(
        &self,
        tenant: &str,
        plugin: &str,
        record: RecordSettings,
    ) -> io::Result<Vec<StoredRecording>> {
        let name = directory_name(tenant, plugin);
        match &self.recorder {
            Some(recorder) => recorder.read(&name, record),
            None => read_recordings(&self.files.recordings().join(name), record),
        }
    }
}
