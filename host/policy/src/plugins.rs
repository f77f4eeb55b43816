//! All plugins of a relay: what is in use, and how that changes.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use relevo_queue::EventLog;
use relevo_relay::clock::Clock;
use relevo_relay::settings::{PluginSettings, RecordSettings, Settings, SettingsHandle};
use relevo_runtime::Blame;
use relevo_runtime::policy::{EngineConfig, PluginError, Policy, PolicyEngine};
use tokio::sync::mpsc;

use crate::compile;
use crate::digest::parse_digest;
use crate::files::Files;
use crate::kv::KvData;
use crate::observe::{self, Listeners};
use crate::place::Place;
use crate::record::{Recorder, StoredRecording, directory_name, read_recordings};
use crate::shadow::Shadow;
use crate::state::State;
use crate::turns::{Pins, Turns};

/// Between two looks for warm instances that nobody uses.
const SWEEP: Duration = Duration::from_secs(10);

/// For messages that wait to be recorded.
const WRITE: Duration = Duration::from_secs(5);

/// Where plugins live.
#[derive(Clone)]
pub struct PluginsConfig {
    /// For components, compiled code and state; made 0700.
    pub directory: PathBuf,
    /// This program: it is started as `plugin-compile` (see [`crate::compile_here`]).
    pub program: PathBuf,
    /// Whether a relay runs on it. If not, nothing is recorded and nothing is done in the background.
    pub serving: bool,
    /// Where faults go that belong to no message.
    pub events: Option<Arc<dyn EventLog>>,
}

/// By tenant, then by name.
pub(crate) type Places = HashMap<String, HashMap<String, Arc<Place>>>;

/// See the crate.
pub struct Plugins {
    pub(crate) files: Files,
    pub(crate) program: PathBuf,
    pub(crate) events: Option<Arc<dyn EventLog>>,
    pub(crate) settings: SettingsHandle,
    pub(crate) clock: Arc<dyn Clock>,
    /// Made when the first plugin needs it: a relay without plugins pays nothing.
    engine: Mutex<Option<Arc<PolicyEngine>>>,
    /// Held for as long as it takes to look, or to store a change and put it in use; never while something is compiled, tested or
    /// imported.
    pub(crate) state: tokio::sync::Mutex<State>,
    /// Before the state: one change of a place at a time, from an upload to its use.
    pub(crate) turns: Turns,
    pub(crate) pins: Arc<Pins>,
    /// One compiler at a time: its limits are for one.
    pub(crate) compiler: tokio::sync::Mutex<()>,
    /// Something is to be compiled in the background.
    missing: mpsc::Sender<()>,
    places: RwLock<Arc<Places>>,
    pub(crate) listeners: Listeners,
    /// None while no relay runs on it.
    recorder: Option<Arc<Recorder>>,
    /// One replay at a time.
    pub(crate) replays: tokio::sync::Mutex<()>,
}

impl Plugins {
    /// Reads what was in use and puts it in use again. What is not compiled for this version of the program is compiled in the
    /// background; until then its failure policy answers.
    ///
    /// # Errors
    /// The directory cannot be used, or its state is damaged or from a newer version.
    pub async fn open(
        config: PluginsConfig,
        settings: SettingsHandle,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Arc<Self>> {
        let PluginsConfig { directory, program, serving, events } = config;
        let opened = tokio::task::spawn_blocking(move || {
            let files = Files::open(&directory)?;
            let state = files.read_state()?;
            Ok::<_, io::Error>((files, state))
        });
        let (files, state) = opened.await.map_err(io::Error::other)??;
        let recorder = if serving { Some(Recorder::start(files.recordings())?) } else { None };
        let (listeners, happening) = Listeners::new();
        let (missing, asked) = mpsc::channel(1);
        let plugins = Arc::new(Self {
            files,
            program,
            events,
            settings,
            clock,
            engine: Mutex::default(),
            state: tokio::sync::Mutex::new(state),
            turns: Turns::default(),
            pins: Arc::default(),
            compiler: tokio::sync::Mutex::default(),
            missing,
            places: RwLock::default(),
            listeners,
            recorder,
            replays: tokio::sync::Mutex::default(),
        });
        plugins.refresh().await;
        if serving {
            tokio::spawn(observe::run(Arc::downgrade(&plugins), happening));
            tokio::spawn(sweep(Arc::downgrade(&plugins)));
            tokio::spawn(compile::run(Arc::downgrade(&plugins), asked, compile::AGAIN));
            tokio::spawn(Arc::clone(&plugins).clear());
        }
        Ok(plugins)
    }

    /// Settings have changed: every place is made anew with them.
    pub async fn refresh(self: &Arc<Self>) {
        let state = self.state.lock().await;
        let (plugins, settings) = (Arc::clone(self), self.settings.get());
        let wanted = wanted(&settings, &state);
        let made = tokio::task::spawn_blocking(move || {
            if let Some(recorder) = &plugins.recorder {
                recorder.keep(settings.tenants.by_id.values().flat_map(|tenant| &tenant.plugins));
            }
            plugins.load_all(wanted, None)
        });
        let made = made.await;
        let Ok((places, missing)) = made else {
            tracing::error!("plugins could not be loaded");
            return;
        };
        let before = self.put_all(places);
        if missing {
            // Full: it has been asked already.
            let _ = self.missing.try_send(());
        }
        drop(state);
        self.try_settings(&before).await;
    }

    /// Plugins with other settings than `before` are asked whether they like them, so that whoever reloaded them reads it at once. What one
    /// does not like, each message meets, and its failure policy answers.
    async fn try_settings(&self, before: &Places) {
        let places = self.places();
        for place in places.values().flat_map(HashMap::values) {
            let config = &place.settings.config;
            let was = before.get(&config.tenant).and_then(|of_tenant| of_tenant.get(&config.name));
            let changed = was.is_some_and(|was| was.settings.config.settings != config.settings);
            let (true, Ok(policy)) = (changed, &place.policy) else { continue };
            let (_, data) = place.data();
            let now = u64::try_from(self.now()).unwrap_or(0);
            let result = policy.configure(now, Some(data)).await.result;
            place.note_configure(&result);
            if let Err(fault) = result
                && fault.blame == Blame::Guest
            {
                tracing::error!(tenant = config.tenant, plugin = config.name, digest = place.digest, %fault,
                    "a plugin refuses its new settings: its failure policy answers");
            }
        }
    }

    /// Reads files. Also returns whether something must be compiled first; `problem` is why it could not be.
    pub(crate) fn load_all(&self, wanted: Vec<Wanted>, problem: Option<&str>) -> (Places, bool) {
        let (mut places, mut missing) = (Places::new(), false);
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
            let mut place = self.place_with(want.settings, want.digest, loaded);
            if let Some(digest) = want.shadow {
                place.shadow = self.shadow(&place.settings, digest);
                missing |= place.shadow.is_none();
            }
            places.entry(tenant).or_default().insert(name, Arc::new(place));
        }
        (places, missing)
    }

    /// A place with the plugin's data as it is on disk. Blocks.
    pub(crate) fn place_with(
        &self,
        settings: Arc<PluginSettings>,
        digest: String,
        policy: Result<Arc<dyn Policy>, String>,
    ) -> Place {
        match self.data(&settings) {
            Ok(data) => self.place_of(settings, digest, policy, data),
            // Without its data it would decide something else.
            Err(error) => self.place_of(settings, digest, Err(error), Arc::default()),
        }
    }

    /// A place with these data.
    pub(crate) fn place_of(
        &self,
        settings: Arc<PluginSettings>,
        digest: String,
        policy: Result<Arc<dyn Policy>, String>,
        data: Arc<KvData>,
    ) -> Place {
        let recording = self.recorder.as_ref().and_then(|recorder| recorder.handle(&settings, &digest));
        let mut place = Place::new(settings, digest, policy, data);
        place.recording = recording;
        let config = &place.settings.config;
        if let Some(before) = self.place(&config.tenant, &config.name) {
            place.note_configure_of(&before);
        }
        place
    }

    /// The plugin's data as they were imported last: those of the place while they fit, for they may be large. Otherwise they are read,
    /// which blocks.
    pub(crate) fn data(&self, settings: &PluginSettings) -> Result<Arc<KvData>, String> {
        let config = &settings.config;
        if let Some(place) = self.place(&config.tenant, &config.name)
            && place.policy.is_ok()
            && place.settings.kv_size <= settings.kv_size
        {
            return Ok(Arc::clone(&place.data));
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

    /// Returns when everything that was recorded so far is in files, or when that takes too long.
    pub async fn write_recordings(&self) {
        let Some(recorder) = self.recorder.clone() else { return };
        let _ = tokio::time::timeout(WRITE, tokio::task::spawn_blocking(move || recorder.flush())).await;
    }

    /// The recordings of a plugin, the oldest first. Blocks.
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

    /// A version to be asked beside the active one. One that cannot be loaded is not: nothing depends on it.
    pub(crate) fn shadow(&self, settings: &PluginSettings, digest: String) -> Option<Arc<Shadow>> {
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

    /// Loads compiled code for a place. Reads a file.
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

    pub(crate) fn engine(&self) -> Result<Arc<PolicyEngine>, String> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            return Ok(Arc::clone(engine));
        }
        let config = EngineConfig::new(self.files.code());
        let made = Arc::new(PolicyEngine::new(&config).map_err(|e| e.to_string())?);
        *engine = Some(Arc::clone(&made));
        Ok(made)
    }

    fn made_engine(&self) -> Option<Arc<PolicyEngine>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn has_places(&self, tenant: &str) -> bool {
        self.places().contains_key(tenant)
    }

    pub(crate) fn place(&self, tenant: &str, plugin: &str) -> Option<Arc<Place>> {
        self.places().get(tenant)?.get(plugin).cloned()
    }

    /// Returns what was there before.
    fn put_all(&self, places: Places) -> Arc<Places> {
        let mut now = self.places.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut now, Arc::new(places))
    }

    /// Puts a place in use. Messages that are being judged stay with the one before, which goes with the last of them.
    pub(crate) fn put(&self, place: Arc<Place>) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let config = &place.settings.config;
        let tenant = Arc::make_mut(&mut *places).entry(config.tenant.clone()).or_default();
        tenant.insert(config.name.clone(), Arc::clone(&place));
    }

    /// Takes a place out of use.
    pub(crate) fn take(&self, tenant: &str, plugin: &str) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let places = Arc::make_mut(&mut *places);
        if let Some(of_tenant) = places.get_mut(tenant) {
            of_tenant.remove(plugin);
            if of_tenant.is_empty() {
                places.remove(tenant);
            }
        }
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now()
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The settings of a place.
    pub(crate) fn configured(&self, tenant: &str, plugin: &str) -> Option<Arc<PluginSettings>> {
        let settings = self.settings.get();
        let found = settings.tenants.by_id.get(tenant)?.plugins.iter();
        found.into_iter().find(|p| p.config.name == plugin).cloned()
    }
}

/// A version that is to be in use.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) settings: Arc<PluginSettings>,
    pub(crate) digest: String,
    pub(crate) shadow: Option<String>,
}

/// What is to be in use.
pub(crate) fn wanted(settings: &Settings, state: &State) -> Vec<Wanted> {
    let places = settings.tenants.by_id.values().flat_map(|tenant| &tenant.plugins);
    places
        .filter_map(|place| {
            let entry = state.entry(&place.config.tenant, &place.config.name)?;
            let digest = entry.active.clone().filter(|_| entry.enabled)?;
            Some(Wanted { settings: Arc::clone(place), digest, shadow: entry.shadow.clone() })
        })
        .collect()
}

async fn sweep(plugins: std::sync::Weak<Plugins>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(plugins) = plugins.upgrade() else { return };
        if let Some(engine) = plugins.made_engine() {
            engine.sweep(Instant::now());
        }
    }
}
