//! What the API answers about templates.

use serde::Deserialize;
use serde_json::Value;

/// A template in the list.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TemplateRow {
    pub(super) id: String,
    #[serde(default)]
    pub(super) alias: Option<String>,
    pub(super) name: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) published_version: Option<i64>,
    pub(super) updated_at: String,
}

/// A template with one of its versions.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TemplateDetails {
    #[serde(flatten)]
    pub(super) template: TemplateRow,
    #[serde(flatten)]
    pub(super) content: VersionContent,
}

/// A version.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct VersionContent {
    pub(super) version: i64,
    pub(super) subject: String,
    pub(super) html: Option<String>,
    pub(super) mjml: Option<String>,
    pub(super) text: Option<String>,
    pub(super) from: Option<String>,
    pub(super) reply_to: Vec<String>,
    pub(super) variables: Vec<Variable>,
}

/// A variable, as its author described it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Variable {
    pub(super) key: String,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) fallback_value: Option<Value>,
}

/// A version in the list of versions.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct VersionRow {
    pub(super) version: i64,
    pub(super) created_at: String,
    #[serde(default)]
    pub(super) published: bool,
}

/// What a rendering makes.
#[derive(Debug, Deserialize)]
pub(super) struct Rendering {
    #[serde(default)]
    pub(super) subject: String,
    #[serde(default)]
    pub(super) html: Option<String>,
    #[serde(default)]
    pub(super) text: String,
}

/// The answer to what made something.
#[derive(Debug, Deserialize)]
pub(super) struct Made {
    pub(super) id: String,
}

impl VersionContent {
    /// The source of the HTML, and which language it is in: `mjml`, `html` or `text` for none.
    pub(super) fn body(&self) -> (&'static str, &str) {
        match (&self.mjml, &self.html) {
            (Some(source), _) => ("mjml", source),
            (None, Some(source)) => ("html", source),
            (None, None) => ("text", ""),
        }
    }
}
