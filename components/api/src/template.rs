//! Stored templates as a rendering needs them, and `POST /render`: the same natively and at the edge.

use relevo_mailkit::model::{Rendered, TemplateError, TemplateSource};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::content::RenderCall;
use crate::problem::Problem;
use crate::request::null_is_empty;

/// A version of a stored template with everything that it names: the answer of
/// `GET /relay/templates/{name}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StoredTemplate {
    /// The id, also where an alias was asked for.
    pub id: String,
    /// From 1.
    pub version: i64,
    /// The sources, and the published templates that they name.
    pub source: TemplateSource,
    /// Values for variables that are not given.
    #[serde(default, deserialize_with = "null_is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub fallbacks: Map<String, Value>,
}

/// The body of `POST /render`: sources of its own, or a stored template.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RenderRequest {
    /// MiniJinja source. With `template`: in place of its own.
    pub subject: Option<String>,
    /// MiniJinja source of the HTML.
    pub html: Option<String>,
    /// MiniJinja source of MJML, in place of `html`.
    pub mjml: Option<String>,
    /// MiniJinja source of the text. Absent: made from the HTML.
    pub text: Option<String>,
    /// A stored template, in place of `html`, `mjml` and `text`.
    pub template: Option<TemplateVersionChoice>,
    /// Values for the sources.
    #[serde(deserialize_with = "null_is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub variables: Map<String, Value>,
}

/// A stored template.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TemplateVersionChoice {
    /// Id or alias.
    pub id: String,
    /// Absent: the published version.
    #[serde(default)]
    pub version: Option<i64>,
}

/// The answer to a rendering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RenderAnswer {
    /// Unfolded text.
    pub subject: String,
    /// A document or a fragment; null where there is only text.
    pub html: Option<String>,
    /// The text alternative.
    pub text: String,
}

impl From<Rendered> for RenderAnswer {
    fn from(Rendered { subject, html, text }: Rendered) -> Self {
        Self { subject, html, text }
    }
}

impl RenderRequest {
    /// Refuses sources beside a stored template.
    ///
    /// # Errors
    /// The mistake.
    pub fn check(&self) -> Result<(), Problem> {
        let sources = [("html", &self.html), ("mjml", &self.mjml), ("text", &self.text)];
        match sources.into_iter().find(|(_, source)| source.is_some()) {
            Some((name, _)) if self.template.is_some() => {
                Err(Problem::new(name, "the template has its own: leave it out, or leave out `template`"))
            }
            _ => Ok(()),
        }
    }

    /// The sources of the request itself.
    #[must_use]
    pub fn source(&self) -> TemplateSource {
        TemplateSource {
            subject: self.subject.clone().unwrap_or_default(),
            html: self.html.clone(),
            mjml: self.mjml.clone(),
            text: self.text.clone(),
            partials: Vec::new(),
        }
    }

    /// The call of `template.render`. `stored` is the template that the request names.
    #[must_use]
    pub fn call(&self, stored: Option<&StoredTemplate>) -> RenderCall {
        match stored {
            Some(stored) => RenderCall::stored(stored, &self.variables, self.subject.as_deref()),
            None => {
                let own = StoredTemplate { source: self.source(), ..StoredTemplate::default() };
                RenderCall::stored(&own, &self.variables, None)
            }
        }
    }

    /// The mistake that `template.render` found.
    #[must_use]
    pub fn problem(&self, error: &TemplateError) -> Problem {
        match self.template {
            Some(_) => within_request(source_problem(error), "variables"),
            None => source_problem(error),
        }
    }
}

/// The source that a rendering takes most of its time for.
#[must_use]
pub fn main_source(source: &TemplateSource) -> &'static str {
    match source {
        TemplateSource { html: Some(_), .. } => "html",
        TemplateSource { mjml: Some(_), .. } => "mjml",
        _ => "text",
    }
}

/// The mistake of sources that are a template of their own: at `subject`, `html`, `mjml`, `text` or
/// `variables.NAME`.
#[must_use]
pub fn source_problem(error: &TemplateError) -> Problem {
    let place = line_of(error);
    match &error.path {
        Some(path) => Problem::new(
            format!("variables.{path}"),
            format!("the template uses this variable in its {}{place}, and it is not given", error.template),
        ),
        None => Problem::new(error.template.clone(), format!("{}{place}", error.message)),
    }
}

/// A mistake of [`source_problem`] in a request that names the template: at `template.id`, or in its
/// variables, which stand at `variables`.
#[must_use]
pub fn within_request(Problem { param, message }: Problem, variables: &str) -> Problem {
    match param.strip_prefix("variables.") {
        Some(path) => Problem::new(format!("{variables}.{path}"), message),
        None => Problem::new("template.id", format!("`{param}` of the template: {message}")),
    }
}

/// Where the error is, to be put behind its message.
pub(crate) fn line_of(error: &TemplateError) -> String {
    match (error.line, error.column) {
        (Some(line), Some(column)) => format!(" (line {line}, column {column})"),
        (Some(line), None) => format!(" (line {line})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_stands_where_the_caller_can_mend_it() {
        let error = |path: Option<&str>| TemplateError {
            kind: "x".into(),
            template: "html".into(),
            path: path.map(str::to_owned),
            line: Some(3),
            column: None,
            message: "is wrong".into(),
        };
        let missing = source_problem(&error(Some("user.name")));
        assert_eq!(missing.param, "variables.user.name");
        assert_eq!(
            within_request(missing, "recipients[1].variables").param,
            "recipients[1].variables.user.name"
        );
        let wrong = source_problem(&error(None));
        assert_eq!((wrong.param.as_str(), wrong.message.as_str()), ("html", "is wrong (line 3)"));
        let wrong = within_request(wrong, "template.variables");
        assert_eq!(wrong, Problem::new("template.id", "`html` of the template: is wrong (line 3)"));
    }

    #[test]
    fn a_template_has_its_own_sources() {
        let read =
            |body: &str| crate::json::read::<RenderRequest>(body.as_bytes()).expect("it is one").check();
        assert!(read(r#"{"template": {"id": "a"}, "subject": "s", "variables": null}"#).is_ok());
        assert!(read(r#"{"html": "a", "mjml": "b"}"#).is_ok(), "the component says what is wrong with it");
        let both = read(r#"{"template": {"id": "a", "version": 3}, "text": "t"}"#).expect_err("a mistake");
        assert_eq!(both.param, "text");
    }
}
