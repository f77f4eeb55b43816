//! The rules as they are written: TOML. `rules.toml` beside this file is the example.

use std::collections::BTreeMap;

use relevo_mailkit::classification::{Action, BounceType, Subject};
use serde::Deserialize;
use toml::Spanned;

/// A file of rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RulesFile {
    /// Comes back in each answer as `rules_version`.
    pub(crate) version: Spanned<String>,
    /// The default rules follow those of this file. Of two rules, categories or providers with the
    /// same name the file's counts.
    #[serde(default)]
    pub(crate) include_default: bool,
    /// Suffixes of the names of a provider's MX hosts, by the provider's name.
    #[serde(default)]
    pub(crate) provider: BTreeMap<String, Vec<String>>,
    /// What a rule can answer, by name.
    #[serde(default)]
    pub(crate) category: BTreeMap<String, CategoryEntry>,
    /// In the order in which they are asked. The first that holds decides.
    #[serde(default)]
    pub(crate) rule: Vec<RuleEntry>,
}

/// An answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CategoryEntry {
    #[serde(rename = "type")]
    pub(crate) bounce_type: BounceType,
    pub(crate) about: Subject,
    pub(crate) action: Action,
    /// What happened and what to do, in English.
    pub(crate) en: String,
    /// The same in Spanish.
    pub(crate) es: String,
    /// An `https` address.
    pub(crate) doc: Option<String>,
}

/// A rule: it holds when every condition that it has holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleEntry {
    /// Lower case letters, digits and hyphens.
    pub(crate) name: Spanned<String>,
    /// The answer.
    pub(crate) category: String,
    /// One of these providers.
    #[serde(default)]
    pub(crate) provider: Vec<String>,
    /// One of these codes: `550`, or `5xx`.
    #[serde(default)]
    pub(crate) code: Vec<String>,
    /// One of these enhanced codes: `5.1.1`, or `x.1.x`.
    #[serde(default)]
    pub(crate) enhanced: Vec<String>,
    /// One of these commands: `RCPT`, `DOT` and others.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// One of these phrases.
    #[serde(default)]
    pub(crate) any: Vec<String>,
    /// Each of these phrases.
    #[serde(default)]
    pub(crate) all: Vec<String>,
    /// None of these phrases.
    #[serde(default)]
    pub(crate) none: Vec<String>,
    /// Whether the text names an IP address.
    pub(crate) names_ip: Option<bool>,
    /// Decides instead of a rule that would suppress, when the reply names us. It has no
    /// conditions.
    #[serde(default)]
    pub(crate) guard: bool,
    /// Instead of what the category says.
    #[serde(rename = "type")]
    pub(crate) bounce_type: Option<BounceType>,
    pub(crate) about: Option<Subject>,
    pub(crate) action: Option<Action>,
    pub(crate) en: Option<String>,
    pub(crate) es: Option<String>,
    pub(crate) doc: Option<String>,
    /// Replies that this very rule decides: at least one.
    #[serde(default)]
    pub(crate) cases: Vec<String>,
    /// The host that speaks in the cases.
    pub(crate) case_host: Option<String>,
}
