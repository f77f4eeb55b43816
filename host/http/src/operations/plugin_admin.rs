//! The seam to the plugins: HTTP knows commands, not how they are done.

use std::pin::Pin;

use serde_json::Value;

use crate::error::RequestError;

/// A command of an operator. Content (a component, key-value data) comes beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginRequest {
    /// Lists the plugins of a tenant, or all.
    List {
        /// None: all.
        tenant: Option<String>,
    },
    /// Does something with one plugin.
    Act {
        /// Its owner.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
        /// What to do.
        verb: PluginVerb,
    },
}

/// What is done with a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginVerb {
    /// Makes the content the active version.
    Add,
    /// Asks the content beside the active version, without effect.
    Shadow,
    /// Ends that.
    EndShadow,
    /// Deletes all that is stored of a plugin that is not configured any more.
    Forget,
    /// Asks the plugin again.
    Enable,
    /// Asks the plugin no more.
    Disable,
    /// Makes a former version the active one.
    Rollback {
        /// The beginning of its digest. None: the version before.
        digest: Option<String>,
    },
    /// Judges recorded messages again, without effect: by the content when there is one.
    Replay {
        /// The beginning of a version's digest. None: the active one.
        digest: Option<String>,
        /// The last so many messages. None: all that are recorded.
        last: Option<usize>,
    },
    /// Replaces the key-value data by the content.
    ImportKv,
}

/// The largest content of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyLimit {
    /// Octets.
    pub octets: usize,
    /// The text of a refusal.
    pub exceeded: String,
}

/// The answer of a command.
pub type PluginResponse = Pin<Box<dyn Future<Output = Result<Value, RequestError>> + Send>>;

/// The plugins, as operators administer them.
pub trait PluginAdmin: Send + Sync {
    /// The largest content that `command` takes. Asked once for each request, before its content is
    /// read.
    ///
    /// # Errors
    /// There is no such plugin.
    fn body_limit(&self, command: &PluginRequest) -> Result<BodyLimit, RequestError>;

    /// Does `command`. `actor` is who asks, as the audit log names them. The answer is durable.
    ///
    /// # Errors
    /// In the answer: nothing has changed then.
    fn run(&self, actor: &str, command: PluginRequest, content: Vec<u8>) -> PluginResponse;
}
