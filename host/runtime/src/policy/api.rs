//! The seam between the product and the plugins' sandbox: what is granted, what a call gets, and what comes of it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use relevo_mailkit::policy::{Attribute, Decision, Event, Message};
use relevo_mailkit::recheck::policy::HeaderNames;
use relevo_mailkit::source::Source;

use super::metrics::PluginMetrics;
use crate::{Blame, FaultKind};

/// The SHA-256 of a component as it was uploaded.
pub type Digest = [u8; 32];

/// How much a plugin may be, and how its instances live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Pooled memory, a fresh instance for each message.
    Small,
    /// Memory on demand, warm instances that serve one message of one tenant after the other. For languages whose runtime
    /// takes long to start.
    Large,
}

/// What one exported call, or an instance, may use. `wit/relevo-policy-0.1.0/types.wit` has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginLimits {
    /// Octets of linear memory, all memories of an instance together. In class `small` at most
    /// [`EngineConfig::small_memory`].
    pub memory: usize,
    /// Elements of tables, all of an instance together. In class `small` at most 10,000.
    pub table_elements: usize,
    /// CPU time of one exported call. All calls on one inspector together have ten times that.
    pub call_cpu: Duration,
    /// Elapsed time of one exported call, host calls included. All calls on one inspector together have ten times that.
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
pub struct Grants(pub BTreeSet<Capability>);

impl Default for Grants {
    /// `log` and `clock`.
    fn default() -> Self {
        Self(BTreeSet::from([Capability::Log, Capability::Clock]))
    }
}

/// How the engine for plugins is set up. One for a process.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where compiled plugins are kept, made 0700. Nobody else may write there: it holds native code.
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
    /// Warm instances of class `large` that are kept, of all plugins together. Each may hold as much memory as its limits say.
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
    pub grants: Grants,
    /// The header fields that it may add.
    pub header_names: HeaderNames,
    /// What `configure` gets, in order. Names as for attributes, values of at most 4,096 octets, at most 100.
    pub settings: Vec<Attribute>,
}

/// The data of one plugin of one tenant, as it was when the message came: all calls for a message see the same.
///
/// Called on a guest thread, never on one that serves sockets, but it must not wait for a peer: elapsed time counts against the
/// plugin. Keys are 1 to 512 octets without NUL; that is checked before, and so are the quotas.
pub trait KeyValues: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// The store cannot be read: the plugin is told `unavailable`.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable>;

    /// The first entries whose keys begin with `prefix` and come after `after`, ordered by the octets of the key: at most
    /// `limit` of them and at most `octets` octets of values, but one if there is one.
    ///
    /// # Errors
    /// The store cannot be read.
    fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        octets: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, Unavailable>;

    /// An exported call begins: what is read from here on is read in it, and what was read before the first one, by the instance
    /// while it was made. For stores that keep account of who read what.
    fn enters(&self, _export: Export) {}
}

/// A store that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key-value store cannot be read")]
pub struct Unavailable;

/// What a call may see of the plugin's data. `None` is an empty store, when `kv` is granted.
pub type Data = Option<Arc<dyn KeyValues>>;

/// A message to be judged. Its `now` is the clock of the call, its `id` and `now` seed the randomness.
#[derive(Clone)]
pub struct Case {
    /// What the plugin is told.
    pub message: Arc<Message>,
    /// For `inspect`.
    pub body: Body,
    /// For `relevo:host/kv`.
    pub data: Data,
}

/// The octets after the empty line that ends the header.
#[derive(Clone)]
pub struct Body {
    /// The message.
    pub source: Arc<dyn Source>,
    /// Where the body begins in it; it goes on to the end.
    pub offset: u64,
}

/// Events to be observed.
#[derive(Clone)]
pub struct Batch {
    /// At most 100, oldest first.
    pub events: Vec<Event>,
    /// Milliseconds since 1970: the clock of the call.
    pub now: u64,
    /// For `relevo:host/kv`.
    pub data: Data,
}

/// What came of a call, whether it answered or not.
#[derive(Debug, Clone)]
pub struct Outcome<T> {
    /// The answer, or the fault that stands in place of it.
    pub result: Result<T, PluginFault>,
    /// What it used.
    pub cost: Cost,
    /// What it logged, in order: escaped, cut, at most as many lines as its limits say for each exported call.
    pub log: Vec<LogLine>,
    /// Lines beyond that.
    pub log_dropped: u64,
}

impl<T> Outcome<T> {
    /// The same with another answer.
    #[must_use]
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Outcome<U> {
        let Self { result, cost, log, log_dropped } = self;
        Outcome { result: result.map(with), cost, log, log_dropped }
    }

    /// Without having run anything.
    pub(crate) fn unspent(result: Result<T, PluginFault>) -> Self {
        Self { result, cost: Cost::default(), log: Vec::new(), log_dropped: 0 }
    }
}

/// A plugin's checked answer about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// `decide` and `inspect` put together. Every rule of [`relevo_mailkit::recheck::policy`] holds. What the tenant is granted
    /// (pool, priority, route) is not known here.
    pub decision: Decision,
    /// A reply that broke a rule and was replaced. The refusal stands, and it counts as a fault.
    pub fault: Option<PluginFault>,
}

/// What calls used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// CPU time of the guest thread, instantiation included.
    pub cpu: Duration,
    /// Elapsed time on the guest thread.
    pub wall: Duration,
    /// The most linear memory that the instance had, in octets.
    pub memory: usize,
}

/// How important a plugin finds a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogLevel {
    /// `debug`
    Debug,
    /// `info`; standard output too.
    Info,
    /// `warn`; standard error too.
    Warn,
    /// `error`
    Error,
}

/// A line that a plugin logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// As the plugin says.
    pub level: LogLevel,
    /// One line of at most 1,024 octets, control characters escaped.
    pub text: String,
}

/// An exported function, or what comes before any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Export {
    /// Making an instance.
    Start,
    /// `configure.configure`
    Configure,
    /// `decide.decide`
    Decide,
    /// `inspect.inspector`, any of its functions.
    Inspect,
    /// `observe.observe`
    Observe,
}

impl Export {
    /// All of them, in the order of calls.
    pub const ALL: [Self; 5] = [Self::Start, Self::Configure, Self::Decide, Self::Inspect, Self::Observe];

    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// The place in [`Self::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The name in events, metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Configure => "configure",
            Self::Decide => "decide",
            Self::Inspect => "inspect",
            Self::Observe => "observe",
        }
    }
}

/// A call without a usable answer. Only those with [`Blame::Guest`] are the plugin's and count for its circuit breaker; what the
/// sender is told is the failure policy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {kind:?} ({blame:?}): {detail}", .export.name())]
pub struct PluginFault {
    /// In which call.
    pub export: Export,
    /// Whose fault it is.
    pub blame: Blame,
    /// What broke.
    pub kind: FaultKind,
    /// For the tenant and the operator; never for the peer. One line, bounded.
    pub detail: String,
}

/// A plugin of one tenant, ready to be called.
///
/// Futures wait for a share of the tenant's threads. Dropping one does not stop a call that has begun; its limits do. Nothing
/// that a plugin does is seen before its call has returned and its answer was checked.
#[async_trait]
pub trait Policy: Send + Sync {
    /// What it was made of.
    fn config(&self) -> &PluginConfig;

    /// Of the component.
    fn digest(&self) -> Digest;

    /// Whether there is this export. `decide` always is.
    fn exports(&self, export: Export) -> bool;

    /// Makes an instance and configures it, for the self-test. Does nothing more when `configure` is not exported.
    async fn configure(&self, now: u64, data: Data) -> Outcome<()>;

    /// `configure` where it is due, `decide`, and `inspect` where it is exported and something is left to decide.
    async fn judge(&self, case: Case) -> Outcome<Judgement>;

    /// As [`Self::judge`], for what nobody waits for, such as a replay. Returns none at once if no thread is idle or the tenant's share
    /// of them is taken.
    async fn judge_if_idle(&self, case: Case) -> Option<Outcome<Judgement>>;

    /// `observe`. Does nothing when it is not exported.
    async fn observe(&self, batch: Batch) -> Outcome<()>;

    /// What its calls came to since it was loaded.
    fn metrics(&self) -> PluginMetrics;
}

/// Why a component cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("the component does not compile: {0}")]
pub struct CompileError(pub String);

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The directory for compiled plugins cannot be made or cannot be trusted.
    #[error("{} cannot hold compiled plugins: {reason}", .directory.display())]
    Cache {
        /// Which.
        directory: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The engine cannot work here, such as when address space is limited.
    #[error("the sandbox for plugins cannot start: {0}")]
    Engine(String),
    /// No thread could be started.
    #[error("cannot start a thread for plugins")]
    Thread(#[source] std::io::Error),
}

/// Why a plugin is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// Its compiled code is not in the cache, is not what was written, or comes from another engine: compile again.
    #[error("it is not compiled")]
    NotCompiled,
    /// It is compiled, but has more core instances, memories or tables than its class holds.
    #[error("class `small` does not hold it: {}", super::inventory::TRY_LARGE)]
    Class,
    /// It imports what it is not granted.
    #[error("{}", denied(.0))]
    Denied(Vec<super::Denied>),
    /// It is no plugin: exports are missing or have other types, or it declares more than its limits.
    #[error("it is no plugin of this version: {0}")]
    Type(String),
    /// Settings for a plugin without `configure`.
    #[error("it takes no settings: `configure` is not exported")]
    NoSettings,
    /// A limit beyond what the engine was set up for.
    #[error("{0}")]
    Limit(String),
    /// Writing the cache failed.
    #[error("the compiled code cannot be kept")]
    Io(#[from] std::io::Error),
}

fn denied(denied: &[super::Denied]) -> String {
    denied.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
