//! Tenants' policy plugins: what each may use, and what is done when it breaks.

use std::time::Duration;

use relevo_runtime::policy::{BreakerConfig, PluginConfig, UploadBounds};

/// `[plugins]`: the same for all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginServer {
    /// SHA-256 of the keys that may change plugins over HTTP, each with a name for the log. None:
    /// not over HTTP.
    pub admin_keys: Vec<(String, [u8; 32])>,
    /// What an uploaded component may be.
    pub upload: UploadBounds,
    /// Octets of memory of the process that compiles.
    pub compile_memory: u64,
    /// CPU time of the process that compiles. Its elapsed time is bounded too, generously: it has
    /// the lowest priority.
    pub compile_time: Duration,
    /// How long held mail is kept, counted from its acceptance.
    pub hold_expire: Duration,
}

impl Default for PluginServer {
    fn default() -> Self {
        Self {
            admin_keys: Vec::new(),
            upload: UploadBounds::default(),
            compile_memory: 2 << 30,
            compile_time: Duration::from_secs(120),
            hold_expire: Duration::from_secs(5 * 86_400),
        }
    }
}

/// CPU time in a second of a tenant's plugins, unless set otherwise: half of a processor. A plugin
/// that accepts everything takes less than 0.2 ms for a message.
pub const TENANT_CPU: Duration = Duration::from_millis(500);

/// What a fault of a plugin means for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailurePolicy {
    /// 451 4.3.0: the sender tries again.
    Tempfail,
    /// As if the plugin were not there.
    Accept,
    /// 554 5.3.0.
    Reject,
}

/// `[[tenant.plugin]]`: a plugin in its tenant's order. Its version in use is not configuration:
/// `relevo plugin add` says that.
#[derive(Debug, Clone)]
pub struct PluginSettings {
    /// Name, class, limits, grants, and what `configure` is told.
    pub config: PluginConfig,
    /// Octets of keys and values of its key-value data.
    pub kv_size: u64,
    /// CPU time that all plugins of its tenant together may use in a second, what the host does for
    /// their answers included. While it is used up, their failure policies answer.
    pub tenant_cpu: Duration,
    /// What a fault means.
    pub failure: FailurePolicy,
    /// When it is not called any more after faults, and for how long.
    pub breaker: BreakerConfig,
    /// What is kept of the messages that it is asked about, to be replayed. None: nothing.
    pub record: Option<RecordSettings>,
}

/// `record`, `record_size` and `record_unredacted` of a `[[tenant.plugin]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSettings {
    /// The last so many messages; at least 1.
    pub messages: usize,
    /// Octets that they may take on disk; the oldest go first.
    pub octets: u64,
    /// Whether they are kept as they are, rather than with pseudonyms and without their bodies.
    pub unredacted: bool,
}
