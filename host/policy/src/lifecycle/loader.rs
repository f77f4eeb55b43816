//! Makes plugins that can be asked, of compiled code, settings and data.

use std::io;
use std::sync::{Arc, OnceLock};

use relevo_relay::settings::{PluginSettings, RecordSettings};
use relevo_runtime::policy::{EngineConfig, PluginError, Policy, PolicyEngine};

use super::files::Files;
use super::state::State;
use crate::active::ActivePlugin;
use crate::active_plugins::{ActivePlugins, ByTenant};
use crate::digest::parse_digest;
use crate::kv::KvData;
use crate::record::{Recorder, StoredRecording, directory_name, read_recordings};
use crate::shadow::Shadow;

/// See the module. Most of its functions read files, and block.
pub(crate) struct PluginLoader {
    pub(crate) files: Files,
    pub(super) active: Arc<ActivePlugins>,
    /// None while no relay runs on it.
    pub(super) recorder: Option<Arc<Recorder>>,
    /// Made when the first plugin needs it: a relay without plugins pays nothing.
    engine: OnceLock<Arc<PolicyEngine>>,
}

/// A version that is to be in use.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) settings: Arc<PluginSettings>,
    pub(super) digest: String,
    pub(super) shadow: Option<String>,
}

/// What is to be in use.
pub(super) fn wanted(settings: &relevo_relay::settings::Settings, state: &State) -> Vec<Wanted> {
    let plugins = settings.directory.tenants().flat_map(|tenant| &tenant.plugins);
    plugins
        .filter_map(|plugin| {
            let entry = state.entry(&plugin.config.tenant, &plugin.config.name)?;
            let digest = entry.active.clone().filter(|_| entry.enabled)?;
            Some(Wanted { settings: Arc::clone(plugin), digest, shadow: entry.shadow.clone() })
        })
        .collect()
}

impl PluginLoader {
    pub(crate) fn new(files: Files, active: Arc<ActivePlugins>, recorder: Option<Arc<Recorder>>) -> Self {
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

    /// Also returns whether something must be compiled first; `problem` is why it could not be.
    pub(super) fn load_all(&self, wanted: Vec<Wanted>, problem: Option<&str>) -> (ByTenant, bool) {
        let (mut plugins, mut missing) = (ByTenant::new(), false);
        for want in wanted {
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
            let mut plugin = self.plugin(want.settings, want.digest, loaded);
            if let Some(digest) = want.shadow {
                plugin.shadow = self.shadow(&plugin.settings, digest);
                missing |= plugin.shadow.is_none();
            }
            plugins.entry(tenant).or_default().insert(name, Arc::new(plugin));
        }
        (plugins, missing)
    }

    /// A plugin with its data as they are on disk.
    pub(super) fn plugin(
        &self,
        settings: Arc<PluginSettings>,
        digest: String,
        policy: Result<Arc<dyn Policy>, String>,
    ) -> ActivePlugin {
        match self.data(&settings) {
            Ok(data) => self.plugin_with(settings, digest, policy, data),
            // Without its data it would decide something else.
            Err(error) => self.plugin_with(settings, digest, Err(error), Arc::default()),
        }
    }

    /// A plugin with these data.
    pub(super) fn plugin_with(
        &self,
        settings: Arc<PluginSettings>,
        digest: String,
        policy: Result<Arc<dyn Policy>, String>,
        data: Arc<KvData>,
    ) -> ActivePlugin {
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

    /// The plugin's data as they were imported last: those in use while they fit, for they may be large. Otherwise they are read.
    pub(crate) fn data(&self, settings: &PluginSettings) -> Result<Arc<KvData>, String> {
        let config = &settings.config;
        if let Some(plugin) = self.active.get(&config.tenant, &config.name)
            && plugin.policy.is_ok()
            && plugin.settings.kv_size <= settings.kv_size
        {
            return Ok(Arc::clone(&plugin.data));
        }
        let path = self.files.kv(&config.tenant, &config.name);
        let data = match std::fs::read(&path) {
            Ok(content) => KvData::parse(&content, settings.kv_size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KvData::default()),
            Err(error) => Err(error.to_string()),
        };
        data.map(Arc::new).map_err(|error| {
            tracing::error!(path = %path.display(), error, "key-value data of a plugin cannot be used");
            format!("its key-value data: {error}")
        })
    }

    /// A version to be asked beside the active one. One that cannot be loaded is not: nothing depends on it.
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
