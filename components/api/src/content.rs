//! From the content of a message to calls of the `template` component. The host and the edge gateway
//! call it as this module says, so that both build the same octets.

use relevo_mailkit::model::{Rendered, TemplateError, TemplateLimits, TemplateSource};
use relevo_mailkit::unsubscribe::{PLACEHOLDER, PLACEHOLDER_HOST};
use serde_json::{Map, Value};

use crate::message::MessageContent;
use crate::problem::Problem;
use crate::template::{StoredTemplate, line_of, main_source, source_problem, within_request};

/// The variable that every rendering has.
pub const UNSUBSCRIBE: &str = "unsubscribe_url";
/// Bounds of a rendering. A mail is far below them.
pub const LIMITS: TemplateLimits =
    TemplateLimits { max_output: 2 << 20, max_steps: 1_000_000, max_depth: 64 };

/// How subject and bodies of a message are made.
#[derive(Debug, Clone, PartialEq)]
pub enum Rendering {
    /// They are there.
    Ready(Rendered),
    /// `template.render` makes them.
    Call(RenderCall),
}

/// A call of `template.render`.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderCall {
    /// The sources.
    pub source: TemplateSource,
    /// Values for them.
    pub variables: Map<String, Value>,
    /// A subject that is no template.
    subject: Option<String>,
    origin: SourceOrigin,
}

/// Where the sources of a rendering come from: decides how their mistakes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceOrigin {
    /// `subject`, `html` and `text` of the request.
    Request,
    /// A stored template, with the source that takes most of the time.
    Stored(&'static str),
}

impl RenderCall {
    /// A call for the sources of a request.
    #[must_use]
    pub fn new(source: TemplateSource, variables: Map<String, Value>) -> Self {
        let variables = with_unsubscribe(variables);
        Self { source, variables, subject: None, origin: SourceOrigin::Request }
    }

    /// A call for a stored template. `subject` is in place of its own, a template like that one.
    #[must_use]
    pub fn stored(template: &StoredTemplate, variables: &Map<String, Value>, subject: Option<&str>) -> Self {
        let mut source = template.source.clone();
        if let Some(subject) = subject {
            subject.clone_into(&mut source.subject);
        }
        let mut all = template.fallbacks.clone();
        all.extend(variables.clone());
        let origin = SourceOrigin::Stored(main_source(&source));
        Self { source, variables: with_unsubscribe(all), subject: None, origin }
    }

    /// The values as JSON text, as `template.render` takes them.
    #[must_use]
    pub fn variables_json(&self) -> String {
        Value::Object(self.variables.clone()).to_string()
    }

    /// What the message gets, from what `template.render` returned.
    #[must_use]
    pub fn finish(self, rendered: Rendered) -> Rendered {
        match self.subject {
            Some(subject) => Rendered { subject, ..rendered },
            None => rendered,
        }
    }

    /// The mistake that `template.render` found; `variables` is where the variables stand in the
    /// request.
    #[must_use]
    pub fn problem(&self, error: &TemplateError, variables: &str) -> Problem {
        match self.origin {
            SourceOrigin::Request => render_problem(error, variables),
            SourceOrigin::Stored(_) => within_request(source_problem(error), variables),
        }
    }

    /// The mistake of sources that ask too much of the sandbox, which `message` says.
    #[must_use]
    pub fn too_expensive(&self, message: &str) -> Problem {
        match self.origin {
            SourceOrigin::Request => Problem::new("html", message),
            SourceOrigin::Stored(place) => within_request(Problem::new(place, message), "template.variables"),
        }
    }
}

/// How the content of a message is made. `stored` is the template that it names; none if that is
/// missing, which has to be fetched first.
#[must_use]
pub fn rendering(content: &MessageContent, stored: Option<&StoredTemplate>) -> Option<Rendering> {
    match content {
        MessageContent::Literal(source) => Some(literal(source)),
        MessageContent::Inline(source, variables) => {
            Some(Rendering::Call(RenderCall::new(source.clone(), variables.clone())))
        }
        MessageContent::Stored { variables, subject, .. } => {
            Some(Rendering::Call(RenderCall::stored(stored?, variables, subject.as_deref())))
        }
    }
}

/// Content that is no template: only a text that is missing is made from the HTML.
fn literal(source: &TemplateSource) -> Rendering {
    let subject = source.subject.clone();
    if let (html, Some(text)) = (&source.html, &source.text) {
        return Rendering::Ready(Rendered { subject, html: html.clone(), text: text.clone() });
    }
    // The HTML is a value, so that nothing in it is read as a template.
    let html = source.html.clone().unwrap_or_default();
    let variables = Map::from_iter([("html".to_owned(), Value::String(html))]);
    let whole = TemplateSource { html: Some("{{ html|safe }}".to_owned()), ..TemplateSource::default() };
    let (subject, origin) = (Some(subject), SourceOrigin::Request);
    Rendering::Call(RenderCall { source: whole, variables, subject, origin })
}

/// The variables with `unsubscribe_url`, unless the caller gives one.
#[must_use]
pub fn with_unsubscribe(mut variables: Map<String, Value>) -> Map<String, Value> {
    variables.entry(UNSUBSCRIBE).or_insert_with(|| PLACEHOLDER.into());
    variables
}

/// Returns true if the content has the URL that stands for the recipient's own one.
#[must_use]
pub fn has_unsubscribe_url(content: &Rendered) -> bool {
    // However the slashes of the URL are written.
    let has_it = |text: &str| text.contains(PLACEHOLDER_HOST);
    content.html.as_deref().is_some_and(has_it) || has_it(&content.text)
}

/// The mistake of content whose `unsubscribe_url` would lead nowhere: in mail that nobody
/// `can_leave`.
#[must_use]
pub fn dead_link(content: &Rendered, can_leave: bool) -> Option<Problem> {
    let is_dead = !can_leave && has_unsubscribe_url(content);
    is_dead
        .then(|| Problem::new("stream", "the content has `unsubscribe_url`: give `marketing`, or a `topic`"))
}

/// The mistake that `template.render` found; `variables` is where the variables stand in the request.
fn render_problem(error: &TemplateError, variables: &str) -> Problem {
    let place = line_of(error);
    match &error.path {
        Some(path) => Problem::new(
            format!("{variables}.{path}"),
            format!("`{}` uses this variable{place}, and it is not given", error.template),
        ),
        None => Problem::new(error.template.clone(), format!("{}{place}", error.message)),
    }
}

/// The mistake that `template.build` found, at the value of the request that it comes from.
#[must_use]
pub fn build_problem(error: &TemplateError) -> Problem {
    let param = match error.template.as_str() {
        "reply-to" => "reply_to",
        field if field.starts_with("fields") => "headers",
        field => field,
    };
    Problem::new(param, error.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(html: Option<&str>, text: Option<&str>) -> TemplateSource {
        TemplateSource {
            subject: "{{ s }}".into(),
            html: html.map(str::to_owned),
            text: text.map(str::to_owned),
            ..TemplateSource::default()
        }
    }

    #[test]
    fn literal_content_is_never_a_template() {
        let both = rendering(&MessageContent::Literal(source(Some("{{ a }}"), Some("{{ b }}"))), None);
        let expected =
            Rendered { subject: "{{ s }}".into(), html: Some("{{ a }}".into()), text: "{{ b }}".into() };
        assert_eq!(both, Some(Rendering::Ready(expected)));
        let html = rendering(&MessageContent::Literal(source(Some("{{ a }}"), None)), None);
        let Some(Rendering::Call(call)) = html else { panic!("a text is made from the HTML") };
        assert_eq!(call.variables["html"], "{{ a }}");
        let made = Rendered { subject: String::new(), html: Some("x".into()), text: "x".into() };
        assert_eq!(call.finish(made).subject, "{{ s }}");
    }

    #[test]
    fn a_template_has_a_link_to_leave() {
        let inline = MessageContent::Inline(source(None, Some("{{ unsubscribe_url }}")), Map::new());
        let Some(Rendering::Call(call)) = rendering(&inline, None) else { panic!("it is rendered") };
        assert_eq!(call.variables[UNSUBSCRIBE], PLACEHOLDER);
        let given = with_unsubscribe(Map::from_iter([(UNSUBSCRIBE.to_owned(), "mine".into())]));
        assert_eq!(given[UNSUBSCRIBE], "mine");
    }

    #[test]
    fn a_stored_template_has_its_fallbacks_and_its_own_words() {
        let stored = StoredTemplate {
            id: "t1".into(),
            version: 2,
            source: source(None, Some("{{ a }}")),
            fallbacks: Map::from_iter([("a".to_owned(), 1.into()), ("b".to_owned(), 2.into())]),
        };
        let variables = Map::from_iter([("a".to_owned(), Value::Null)]);
        let content = MessageContent::Stored { id: "welcome".into(), variables, subject: Some("own".into()) };
        assert_eq!(rendering(&content, None), None);
        let Some(Rendering::Call(call)) = rendering(&content, Some(&stored)) else { panic!("a call") };
        assert_eq!((&call.variables["a"], &call.variables["b"]), (&Value::Null, &2.into()));
        assert_eq!(
            (call.source.subject.as_str(), &call.variables[UNSUBSCRIBE]),
            ("own", &PLACEHOLDER.into())
        );
        let problem = call.too_expensive("takes too long");
        assert_eq!(problem, Problem::new("template.id", "`text` of the template: takes too long"));
    }

    #[test]
    fn a_link_to_leave_leads_somewhere() {
        let content = |text: &str| Rendered { subject: String::new(), html: None, text: text.to_owned() };
        let dead = dead_link(&content(&format!("x {PLACEHOLDER}")), false).expect("a mistake");
        assert_eq!(dead.param, "stream");
        assert_eq!(dead_link(&content(PLACEHOLDER), true), None);
        assert_eq!(dead_link(&content("x"), false), None);
    }
}
