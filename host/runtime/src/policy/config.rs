//! Settings of the engine and of each plugin: class, limits, grants.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use relevo_mailkit::policy::Attribute;
use relevo_mailkit::recheck::policy::HeaderNames;

/// How much a plugin may be, and how its instances live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Pooled memory, a fresh instance for each message.
    Small,
    /// Memory on demand, warm instances that serve one message of one tenant after the other. For
    /// languages whose runtime takes long to start.
    Large,
}

/// What one exported call, or an instance, may use. `wit/relevo-policy-0.1.0/types.wit` has the
/// table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginLimits {
    /// Octets of linear memory, all memories of an instance together. In class `small` at most
    /// [`EngineConfig::small_memory`].
    pub memory: usize,
    /// Elements of tables, all of an instance together. In class `small` at most 10,000.
    pub table_elements: usize,
    /// CPU time of one exported call. All calls on one inspector together have ten times that.
    pub call_cpu: Duration,
    /// Elapsed time of one exported call, host calls included. All calls on one inspector together
    /// have ten times that.
    pub call_wall: Duration,
    /// Octets that a call returns.
    pub result: usize,
    /// Lines of the log for each exported call; further ones are counted and dropped.
    pub log_lines: u32,
    /// Keys looked up or returned, for each exported call.
    pub kv_keys: u32,
    /// Octets of values, for each exported call.
    pub kv_octets: usize,
}

impl PluginLimits {
    /// The limits unless the operator says otherwise.
    #[must_use]
    pub fn of(class: Class) -> Self {
        let large = class == Class::Large;
        Self {
            memory: if large { 128 << 20 } else { 16 << 20 },
            table_elements: if large { 100_000 } else { 10_000 },
            call_cpu: Duration::from_millis(if large { 200 } else { 50 }),
            call_wall: Duration::from_millis(if large { 2_000 } else { 500 }),
            result: 256 << 10,
            log_lines: 20,
            kv_keys: 10_000,
            kv_octets: 1 << 20,
        }
    }
}

/// A capability: an interface of `relevo:host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// `relevo:host/log`
    Log,
    /// `relevo:host/clock`
    Clock,
    /// `relevo:host/kv`
    Kv,
}

impl Capability {
    /// All that the native host can grant. It never grants `relevo:host/signer`.
    pub const ALL: [Self; 3] = [Self::Log, Self::Clock, Self::Kv];

    /// The name in the configuration: that of the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Clock => "clock",
            Self::Kv => "kv",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }
}

/// What a plugin may import besides the tolerated parts of WASI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityGrants(pub BTreeSet<Capability>);

impl Default for CapabilityGrants {
    /// `log` and `clock`.
    fn default() -> Self {
        Self(BTreeSet::from([Capability::Log, Capability::Clock]))
    }
}

/// How the engine for plugins is set up. One for a process.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where compiled plugins are kept, made 0700. Nobody else may write there: it holds native
    /// code.
    pub cache_dir: PathBuf,
    /// Threads that plugins run on.
    pub threads: usize,
    /// What is added to the nice value of those threads (Linux): 0 to 19.
    pub nice: i32,
    /// Threads that one tenant's plugins may keep busy at the same time.
    pub threads_per_tenant: usize,
    /// How long a call may wait for a thread before the host gives up (a fault of the host).
    pub wait: Duration,
    /// The most memory that a plugin of class `small` can be allowed.
    pub small_memory: usize,
    /// Warm instances of class `large` that are kept, of all plugins together. Each may hold as
    /// much memory as its limits say.
    pub warm: usize,
    /// Warm instances that are kept for one plugin.
    pub warm_per_plugin: usize,
    /// How long a warm instance may be idle before [`super::PolicyEngine::sweep`] drops it.
    pub warm_idle: Duration,
}

impl EngineConfig {
    /// The defaults, with compiled plugins in `cache_dir`.
    #[must_use]
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let threads = cores.clamp(2, 32);
        Self {
            cache_dir: cache_dir.into(),
            threads,
            nice: 5,
            threads_per_tenant: (threads / 2).max(1),
            wait: Duration::from_secs(5),
            small_memory: PluginLimits::of(Class::Small).memory,
            warm: 8,
            warm_per_plugin: 2,
            warm_idle: Duration::from_secs(60),
        }
    }
}

/// A version of a plugin as one tenant uses it.
#[derive(Debug, Clone)]
pub struct PluginConfig {
    /// Whose it is. Instances are never shared between tenants; threads are shared out by tenant.
    pub tenant: String,
    /// The plugin's name in configuration, logs and metrics.
    pub name: String,
    /// How its instances live.
    pub class: Class,
    /// What it may use.
    pub limits: PluginLimits,
    /// What it may import.
    pub grants: CapabilityGrants,
    /// The header fields that it may add.
    pub header_names: HeaderNames,
    /// What `configure` gets, in order. Names as for attributes, values of at most 4,096 octets, at
    /// most 100.
    pub settings: Vec<Attribute>,
}
