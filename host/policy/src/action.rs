//! What operators ask for, over the control socket or HTTP.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plugins::Plugins;

/// A request. Content (a component, key-value data) comes beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PluginAction {
    /// All configured plugins, or those of a tenant.
    List {
        /// Whose.
        tenant: Option<String>,
    },
    /// A component becomes the version that is asked. Content: the component.
    Add {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
    /// A component is asked beside the active version, without effect. Content: the component.
    Shadow {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
    /// No longer.
    EndShadow {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
    /// All that is stored of a plugin that is not configured any more is deleted: versions,
    /// key-value data.
    Forget {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
    /// Ask it again.
    Enable {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
    /// Ask it no more; mail passes as if it were not there.
    Disable {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
    /// Another version that was added before becomes the one that is asked.
    Rollback {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
        /// Which; the beginning is enough. None: the one before.
        digest: Option<String>,
    },
    /// Recorded messages are judged again, without effect. Content: a component that was not added,
    /// to be tried; or nothing.
    Replay {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
        /// Against which version; the beginning is enough. None: the active one.
        digest: Option<String>,
        /// The last so many messages; none: all that are recorded.
        last: Option<usize>,
    },
    /// Other key-value data, all of it. Content: lines with key, tab and value.
    KvImport {
        /// Whose.
        tenant: String,
        /// Its name in the configuration.
        plugin: String,
    },
}

/// Why it was not done. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// No such tenant, plugin or version.
    #[error("{0}")]
    NotFound(String),
    /// The content or the version is not fit.
    #[error("{0}")]
    Refused(String),
    /// Something else must end first: to be tried again.
    #[error("{0}")]
    Busy(String),
    /// The host could not do it.
    #[error("{0}")]
    Failed(String),
}

impl PluginAction {
    /// How much content it may come with: to be asked before the content is read.
    ///
    /// # Errors
    /// There is no such plugin, whatever the content is.
    pub fn room(&self, plugins: &Plugins) -> Result<Room, ActionError> {
        match self {
            Self::Add { tenant, plugin }
            | Self::Shadow { tenant, plugin }
            | Self::Replay { tenant, plugin, .. } => {
                plugins.lifecycle.configured(tenant, plugin)?;
                let octets = plugins.lifecycle.settings.get().plugins.upload.octets;
                Ok(Room { octets, setting: Some(format!("`max_size = {octets}` of [plugins]")) })
            }
            Self::KvImport { tenant, plugin } => {
                let granted = plugins.lifecycle.configured(tenant, plugin)?.kv_size;
                // Tabs, line ends and notes come on top of keys and values.
                let octets = granted.saturating_mul(2).saturating_add(64 << 10);
                let octets = usize::try_from(octets).unwrap_or(usize::MAX);
                Ok(Room { octets, setting: Some(format!("`kv_size = {granted}` of the plugin")) })
            }
            _ => Ok(Room { octets: 0, setting: None }),
        }
    }
}

/// For the content of an action. Its text is for those who bring more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The most that there may be.
    pub octets: usize,
    /// What says so; nothing where no content is taken.
    setting: Option<String>,
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.setting {
            Some(setting) => {
                write!(f, "the content is larger than the {} octets that {setting} allows", self.octets)
            }
            None => f.write_str("content is not taken here"),
        }
    }
}

/// Runs what reads and writes files.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ActionError> + Send + 'static,
) -> Result<T, ActionError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| ActionError::Failed(e.to_string()))?
}
