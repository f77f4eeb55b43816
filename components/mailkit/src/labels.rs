//! What a sender attaches to a message: for filters, statistics and webhooks.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Kind of mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// An answer to what its recipient did.
    #[default]
    Transactional,
    /// Mail to a list. It carries one-click unsubscribing (RFC 8058).
    Marketing,
}

impl Stream {
    /// `transactional` or `marketing`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Marketing => "marketing",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "transactional" => Ok(Self::Transactional),
            "marketing" => Ok(Self::Marketing),
            other => Err(format!("`{}` is neither `transactional` nor `marketing`", other.escape_debug())),
        }
    }
}

/// A name and a value for filters and statistics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Tag {
    /// ASCII letters, digits, `_` and `-`.
    pub name: String,
    /// ASCII letters, digits, `_` and `-`; empty for a tag without value.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub value: String,
}

/// What the sender attached to a message, and the domain that it is sent from. Every event about the
/// message has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Labels {
    /// The kind of mail; left out of JSON when it is transactional.
    #[serde(default, skip_serializing_if = "Stream::is_default")]
    pub stream: Stream,
    /// The configured domain that the message is sent from; empty for none. The relay sets it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The topic that a recipient can leave without leaving the others; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Keys and values of the sender's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The id of the template; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub template: String,
    /// The id of the request that the message belongs to, where it is not the message's own: that
    /// of the first of several personalised messages.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub email_id: String,
    /// The id of the batch that the message came with; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub batch_id: String,
}

impl Labels {
    /// True when the sender attached nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Octets of tags and metadata. Every event about the message has a copy of them.
    #[must_use]
    pub fn octets(&self) -> usize {
        let tags = self.tags.iter().map(|tag| tag.name.len() + tag.value.len());
        let metadata = self.metadata.iter().map(|(key, value)| key.len() + value.len());
        tags.chain(metadata).sum()
    }
}

/// Clients send `null` for what they leave out.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_left_out_of_json() {
        assert_eq!(serde_json::to_string(&Labels::default()).unwrap(), "{}");
        let labels = Labels { stream: Stream::Marketing, ..Labels::default() };
        assert_eq!(serde_json::to_string(&labels).unwrap(), r#"{"stream":"marketing"}"#);
        assert_eq!(serde_json::from_str::<Labels>("{}").unwrap(), Labels::default());
    }

    #[test]
    fn streams_have_names() {
        for stream in [Stream::Transactional, Stream::Marketing] {
            assert_eq!(stream.name().parse(), Ok(stream));
        }
        assert!("Marketing".parse::<Stream>().is_err());
    }
}
