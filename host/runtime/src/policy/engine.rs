//! The second engine: compiled plugins, the threads they run on, and who may use how much of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use relevo_mailkit::recheck::policy as recheck;

use super::api::{Digest, Export};
use super::code::Code;
use super::config::{Class, EngineConfig, PluginConfig, PluginLimits};
use super::convert;
use super::engines::Engines;
use super::error::{EngineError, PluginError};
use super::inventory;
use super::metrics::PluginCounters;
use super::plugin::{LoadedPlugin, SandboxedPlugin};
use super::pool::PluginThreads;
use super::warm::WarmInstances;
use crate::cache::Cache;
use crate::ticker::Ticker;

/// The name of a compiled plugin in the cache: the code does not depend on the class.
const CACHED: &str = "plugin";

/// Settings of one plugin, and octets of the value of one.
const MAX_SETTINGS: usize = 100;
const MAX_SETTING: usize = 4096;

/// The engine for plugins. One for a process; plugins keep it alive.
pub struct PolicyEngine {
    inner: Arc<EngineParts>,
    cache: Cache,
    small_memory: usize,
    codes: Mutex<HashMap<(Class, Digest), Weak<Code>>>,
    /// One file at a time: who comes second finds the code. Not held by those who find it at once.
    reading: Mutex<()>,
    plugins: AtomicU64,
}

/// What operations need.
pub(crate) struct EngineParts {
    pub(crate) engines: Engines,
    pub(crate) ticker: Ticker,
    pub(crate) pool: PluginThreads,
    pub(crate) warm: WarmInstances,
    pub(crate) wait: Duration,
    busy: AtomicU64,
}

impl EngineParts {
    /// Counts CPU time of an operation.
    pub(crate) fn spent(&self, cpu: Duration) {
        self.busy.fetch_add(u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl PolicyEngine {
    /// Starts the threads and opens the cache.
    ///
    /// # Errors
    /// A cache that cannot be made or trusted; an engine or a thread that cannot start.
    pub fn new(config: &EngineConfig) -> Result<Self, EngineError> {
        let cache = Cache::open(&config.cache_dir)
            .map_err(|reason| EngineError::Cache { directory: config.cache_dir.clone(), reason })?;
        let engines = Engines::new(config)?;
        let inner = EngineParts {
            ticker: Ticker::start(engines.all()).map_err(EngineError::Thread)?,
            pool: PluginThreads::start(
                config.threads.max(1),
                config.threads_per_tenant,
                "plugin",
                config.nice,
            )
            .map_err(EngineError::Thread)?,
            warm: WarmInstances::new(config.warm, config.warm_per_plugin, config.warm_idle),
            wait: config.wait,
            busy: AtomicU64::default(),
            engines,
        };
        Ok(Self {
            inner: Arc::new(inner),
            cache,
            small_memory: config.small_memory,
            codes: Mutex::default(),
            reading: Mutex::default(),
            plugins: AtomicU64::default(),
        })
    }

    /// Puts compiled code into the cache, slowly, in pieces that are synced one by one. It must
    /// come from [`super::compile`] of this program, for it will be run as it is: from a child
    /// process of ours, never from anybody who asks.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, digest: &Digest, code: &[u8]) -> std::io::Result<()> {
        self.cache.put(self.inner.engines.of(Class::Large), CACHED, digest, code)
    }

    /// Removes compiled code from the cache. Plugins that use it go on.
    ///
    /// # Errors
    /// It is there and cannot be removed.
    pub fn forget(&self, digest: &Digest) -> std::io::Result<()> {
        self.cache.remove(self.inner.engines.of(Class::Large), CACHED, digest)
    }

    /// Removes all compiled code from the cache but that which is to be kept: also what other
    /// versions of this program have left. Plugins that use it go on. Returns how many files were
    /// removed.
    ///
    /// # Errors
    /// The cache cannot be read, or something cannot be removed.
    pub fn clear(&self, keep: impl Fn(&Digest) -> bool) -> std::io::Result<usize> {
        self.cache.clear(self.inner.engines.of(Class::Large), CACHED, keep)
    }

    /// Makes a plugin of compiled code, for one tenant. Reads a file: not to be called where
    /// sockets are served.
    ///
    /// The plugin's code has not run yet. Whether its functions have the right types, and whether
    /// it likes its settings, comes out of [`super::Policy::configure`].
    ///
    /// # Errors
    /// See [`PluginError`].
    pub fn load(&self, digest: Digest, config: PluginConfig) -> Result<Arc<SandboxedPlugin>, PluginError> {
        self.check_limits(&config)?;
        let code = self.code(config.class, digest)?;
        inventory::audit_names(&code.imports, &config.grants).map_err(PluginError::Denied)?;
        check_settings(&config, code.has(Export::Configure))?;
        let shared = LoadedPlugin {
            id: self.plugins.fetch_add(1, Ordering::Relaxed),
            engine: Arc::clone(&self.inner),
            code,
            settings: convert::to_attributes(&config.settings),
            config,
            counters: PluginCounters::default(),
        };
        Ok(Arc::new(SandboxedPlugin::new(shared)))
    }

    /// What the pool was made for.
    fn check_limits(&self, config: &PluginConfig) -> Result<(), PluginError> {
        if config.class == Class::Large {
            return Ok(());
        }
        let elements = PluginLimits::of(Class::Small).table_elements;
        if config.limits.memory > self.small_memory {
            return Err(PluginError::Limit(format!(
                "{} octets of memory: class `small` has {} at most",
                config.limits.memory, self.small_memory
            )));
        }
        if config.limits.table_elements > elements {
            return Err(PluginError::Limit(format!(
                "{} elements of tables: class `small` has {elements} at most",
                config.limits.table_elements
            )));
        }
        Ok(())
    }

    /// One for all that use it.
    fn code(&self, class: Class, digest: Digest) -> Result<Arc<Code>, PluginError> {
        if let Some(code) = self.known(class, digest) {
            return Ok(code);
        }
        let _turn = self.reading.lock();
        if let Some(code) = self.known(class, digest) {
            return Ok(code);
        }
        let engine = self.inner.engines.of(class);
        let Some(component) = self.cache.get(engine, CACHED, &digest) else {
            // Whether it was compiled does not depend on the class, what it may be made of does.
            let compiled = self.cache.get(self.inner.engines.of(Class::Large), CACHED, &digest).is_some();
            return Err(if compiled { PluginError::Class } else { PluginError::NotCompiled });
        };
        let code = Arc::new(Code::link(digest, &component)?);
        let mut codes = self.codes.lock();
        codes.retain(|_, code| code.strong_count() > 0);
        codes.insert((class, digest), Arc::downgrade(&code));
        Ok(code)
    }

    fn known(&self, class: Class, digest: Digest) -> Option<Arc<Code>> {
        let codes = self.codes.lock();
        codes.get(&(class, digest)).and_then(Weak::upgrade)
    }

    /// Drops warm instances that have been idle for too long. To be called every few seconds.
    pub fn sweep(&self, now: Instant) {
        self.inner.warm.sweep(now);
    }

    /// Warm instances that are kept now.
    #[must_use]
    pub fn warm_instances(&self) -> usize {
        self.inner.warm.len()
    }

    /// CPU time that plugins used since the start, the checks of answers included.
    #[must_use]
    pub fn threads_cpu(&self) -> Duration {
        Duration::from_nanos(self.inner.busy.load(Ordering::Relaxed))
    }
}

fn check_settings(config: &PluginConfig, takes_settings: bool) -> Result<(), PluginError> {
    if !config.settings.is_empty() && !takes_settings {
        return Err(PluginError::NoSettings);
    }
    if config.settings.len() > MAX_SETTINGS {
        return Err(PluginError::Limit(format!("more than {MAX_SETTINGS} settings")));
    }
    for setting in &config.settings {
        recheck::attribute(setting, MAX_SETTING)
            .map_err(|rule| PluginError::Limit(format!("setting `{}`: {rule}", setting.name)))?;
    }
    Ok(())
}
