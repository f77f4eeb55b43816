//! Calls of a plugin: what they get, and what comes of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use relevo_mailkit::policy::{Decision, Event, Message};
use relevo_mailkit::source::Source;

use super::config::PluginConfig;
use super::metrics::PluginMetrics;
use crate::{Blame, FaultKind};

/// The SHA-256 of a component as it was uploaded.
pub type Digest = [u8; 32];

/// The data of one plugin of one tenant, as it was when the message came: all calls for a message
/// see the same.
///
/// Called on a guest thread, never on one that serves sockets, but it must not wait for a peer:
/// elapsed time counts against the plugin. Keys are 1 to 512 octets without NUL; that is checked
/// before, and so are the quotas.
pub trait KeyValues: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// The store cannot be read: the plugin is told `unavailable`.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable>;

    /// The first entries whose keys begin with `prefix` and come after `after`, ordered by the
    /// octets of the key: at most `limit` of them and at most `octets` octets of values, but one if
    /// there is one.
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

    /// An exported call begins: what is read from here on is read in it, and what was read before
    /// the first one, by the instance while it was made. For stores that keep account of who read
    /// what.
    fn enters(&self, _export: Export) {}
}

/// A store that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key-value store cannot be read")]
pub struct Unavailable;

/// What a call may see of the plugin's data. `None` is an empty store, when `kv` is granted.
pub type Data = Option<Arc<dyn KeyValues>>;

/// A message to be judged. Its `now` is the clock of the call, its `id` and `now` seed the
/// randomness.
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
pub struct CallOutcome<T> {
    /// The answer, or the fault that stands in place of it.
    pub result: Result<T, PluginFault>,
    /// What it used.
    pub cost: Cost,
    /// What it logged, in order: escaped, cut, at most as many lines as its limits say for each
    /// exported call.
    pub log: Vec<LogLine>,
    /// Lines beyond that.
    pub log_dropped: u64,
}

impl<T> CallOutcome<T> {
    /// The same with another answer.
    #[must_use]
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> CallOutcome<U> {
        let Self { result, cost, log, log_dropped } = self;
        CallOutcome { result: result.map(with), cost, log, log_dropped }
    }

    /// Without having run anything.
    pub(crate) fn unspent(result: Result<T, PluginFault>) -> Self {
        Self { result, cost: Cost::default(), log: Vec::new(), log_dropped: 0 }
    }
}

/// A plugin's checked answer about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// `decide` and `inspect` put together. Every rule of [`relevo_mailkit::recheck::policy`]
    /// holds. What the tenant is granted (pool, priority, route) is not known here.
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

    /// Index in [`Self::ALL`].
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

/// A call without a usable answer. Only those with [`Blame::Guest`] are the plugin's and count for
/// its circuit breaker; what the sender is told is the failure policy's.
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
/// Futures wait for a share of the tenant's threads. Dropping one does not stop a call that has
/// begun; its limits do. Nothing that a plugin does is seen before its call has returned and its
/// answer was checked.
#[async_trait]
pub trait Policy: Send + Sync {
    /// What it was made of.
    fn config(&self) -> &PluginConfig;

    /// Of the component.
    fn digest(&self) -> Digest;

    /// Whether there is this export. `decide` always is.
    fn exports(&self, export: Export) -> bool;

    /// Makes an instance and configures it, for the self-test. Does nothing more when `configure`
    /// is not exported.
    async fn configure(&self, now: u64, data: Data) -> CallOutcome<()>;

    /// `configure` where it is due, `decide`, and `inspect` where it is exported and something is
    /// left to decide.
    async fn judge(&self, case: Case) -> CallOutcome<Judgement>;

    /// As [`Self::judge`], for what nobody waits for, such as a replay. Returns none at once if no
    /// thread is idle or the tenant's share of them is taken.
    async fn judge_if_idle(&self, case: Case) -> Option<CallOutcome<Judgement>>;

    /// `observe`. Does nothing when it is not exported.
    async fn observe(&self, batch: Batch) -> CallOutcome<()>;

    /// What its calls came to since it was loaded.
    fn metrics(&self) -> PluginMetrics;
}
