//! The form of a file of shaping rules.

use std::time::Duration;

use relevo_mailkit::classification::{Action, Subject};
use serde::Deserialize;
use toml::Spanned;

use super::rules::{Limits, ReplyAction, ReplyRule};
use super::values::{Count, MxSuffix, Name, Share, Span};

/// A file of rules: the built-in one, or an operator's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesFile {
    pub(super) version: Option<String>,
    pub(super) default: LimitsTable,
    pub(super) warmup: WarmupTable,
    pub(super) provider: Vec<Spanned<ProviderTable>>,
    pub(super) reply: Vec<Spanned<ReplyRule>>,
}

/// Limits of the providers that are not named.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsTable {
    connections: Option<Count>,
    messages_per_connection: Option<Count>,
    messages_per_minute: Option<Count>,
    recipients_per_transaction: Option<Count>,
    retry: Option<Vec<Span>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WarmupTable {
    pub(super) ladder: Option<Spanned<Vec<Count>>>,
    pub(super) deferrals: Option<Share>,
    pub(super) complaints: Option<Share>,
    #[serde(rename = "use")]
    pub(super) used: Option<Share>,
    pub(super) hour: Option<Share>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderTable {
    pub(super) name: Name,
    #[serde(default)]
    pub(super) mx: Vec<MxSuffix>,
    connections: Option<Count>,
    messages_per_connection: Option<Count>,
    messages_per_minute: Option<Count>,
    recipients_per_transaction: Option<Count>,
    retry: Option<Vec<Span>>,
    pub(super) ladder: Option<Spanned<Vec<Count>>>,
    pub(super) source: Option<String>,
    pub(super) checked: Option<String>,
    #[serde(default)]
    pub(super) reply: Vec<Spanned<ReplyRule>>,
}

impl LimitsTable {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            connections: self.connections.map(|count| count.0),
            messages_per_connection: self.messages_per_connection.map(|count| count.0),
            messages_per_minute: self.messages_per_minute.map(|count| count.0),
            recipients_per_transaction: self.recipients_per_transaction.map(|count| count.0),
            retry: retry(self.retry.as_deref()),
        }
    }
}

impl ProviderTable {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            connections: self.connections.map(|count| count.0),
            messages_per_connection: self.messages_per_connection.map(|count| count.0),
            messages_per_minute: self.messages_per_minute.map(|count| count.0),
            recipients_per_transaction: self.recipients_per_transaction.map(|count| count.0),
            retry: retry(self.retry.as_deref()),
        }
    }
}

fn retry(spans: Option<&[Span]>) -> Option<Vec<Duration>> {
    spans.filter(|spans| !spans.is_empty()).map(|spans| spans.iter().map(|span| span.0).collect())
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyTable {
    name: Name,
    category: Option<String>,
    action: Option<Action>,
    #[serde(default)]
    about: Vec<Subject>,
    #[serde(rename = "do")]
    act: ReplyAction,
    after: Option<Count>,
    #[serde(rename = "for")]
    span: Option<Span>,
}

impl<'de> Deserialize<'de> for ReplyRule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = |text: &str| Err(serde::de::Error::custom(text));
        let table = ReplyTable::deserialize(deserializer)?;
        if table.category.is_none() && table.action.is_none() {
            return wrong("needs a `category` or an `action` that it is for");
        }
        let after = table.after.map_or(1, |count| count.0);
        if after > MAX_AFTER {
            return wrong("`after` must be 1000 at most");
        }
        if table.span.is_none() && table.act != ReplyAction::BackOff {
            return wrong("needs `for`, such as \"2h\"");
        }
        Ok(Self {
            name: table.name.0,
            category: table.category,
            action: table.action,
            about: table.about,
            act: table.act,
            after,
            span: table.span.map_or(Duration::ZERO, |span| span.0),
        })
    }
}

/// The highest threshold: so many times are kept for each rule and address.
const MAX_AFTER: u32 = 1000;
