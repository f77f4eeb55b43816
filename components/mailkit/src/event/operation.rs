//! Events that are not about one message.

use serde::{Deserialize, Serialize};

/// The data of `suppression.added` and `suppression.removed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SuppressionChange {
    /// The recipient's address, lower case.
    pub recipient: String,
    /// `all`, a stream, or `topic:` and a topic.
    pub list: String,
    /// Why: `bounce`, `complaint`, `unsubscribe` or `manual`.
    pub reason: String,
    /// The rule that told what the receiver said; absent when no rule added the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classification_rule: Option<String>,
    /// The provider of the mailbox; absent when no rule added the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

/// The data of `suppression.paused`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SuppressionPause {
    /// The provider.
    pub provider: String,
    /// Hard bounces about recipients there, within the time that the rule looks at.
    pub bounces: u32,
    /// Attempts there, within the same time.
    pub attempts: u32,
    /// When the pause ends unless it goes on like that, RFC 3339.
    pub until: String,
}

/// The data of `plugin.fault`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PluginFault {
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// SHA-256 of its component, in hex.
    pub digest: String,
    /// The exported function, the kind of fault and whose it was: `observe: trap (guest)`.
    pub fault: String,
    /// The details of the fault.
    pub reason: String,
    /// How many outcomes the plugin was not told.
    pub count: u64,
}

/// The data of `shaping.suspended` and `shaping.resumed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ShapingSuspension {
    /// The name of the suspension: whose mail to which provider, such as `tenant:acme@gmail`.
    pub suspension: String,
    /// The provider.
    pub provider: String,
    /// When it ends, RFC 3339.
    pub until: String,
    /// Who made it: `rule` or `operator`.
    pub made_by: String,
    /// The name of the rule or of the operator.
    pub author: String,
    /// The words of the receiver or of the operator.
    pub reason: String,
    /// The operator who ended it early; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_by: Option<String>,
}
