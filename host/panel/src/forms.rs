//! Forms: what was typed stays, and mistakes stand at their fields.

use std::collections::BTreeMap;
use std::fmt;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use crate::api::Problem;
use crate::visitor::Visitor;

/// Octets of a form as it is sent: a template of 2 MiB has three times as many when it is encoded.
const MAX_FORM: usize = 6 << 20;
/// Octets of a form of somebody who has not signed in. That of a session that has ended may be in it.
pub(crate) const MAX_PUBLIC_FORM: usize = 1 << 20;
/// Fields of a form.
const MAX_FIELDS: usize = 2_000;
/// The field that proves that a form is one of this session's pages.
pub(crate) const CSRF: &str = "_csrf";

/// The fields of a form, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded`. Line ends become LF.
    #[must_use]
    pub(crate) fn read(body: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(body).take(MAX_FIELDS);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n"))).collect())
    }

    /// Fields with these values.
    pub(crate) fn of<'v>(values: impl IntoIterator<Item = (&'v str, &'v str)>) -> Self {
        Self(values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The first value of a field; empty if there is none.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The first value of a field without spaces around it. None: it is empty.
    #[must_use]
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        Some(self.get(name).trim()).filter(|value| !value.is_empty())
    }

    /// Every value of a field.
    pub(crate) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns true if a box is checked, or a button was pressed.
    #[must_use]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// All fields, without the one that proves the session.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter(|(name, _)| name != CSRF).map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A form that was sent from a page of this session.
pub(crate) struct Posted(pub Fields);

impl<S: Send + Sync> FromRequest<S> for Posted {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let visitor = parts.extensions.get::<Visitor>().ok_or_else(Problem::not_found)?;
        let csrf = visitor.csrf.clone();
        let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !media_type.unwrap_or_default().starts_with("application/x-www-form-urlencoded") {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", "this is no form"));
        }
        let fields = Fields::read(&form_body(body, MAX_FORM).await?);
        let is_ours = fields.get(CSRF).as_bytes().ct_eq(csrf.as_bytes());
        if csrf.is_empty() || !bool::from(is_ours) {
            return Err(Problem::new(StatusCode::FORBIDDEN, "stale_form", ""));
        }
        Ok(Self(fields))
    }
}

/// The octets of a form.
pub(crate) async fn form_body(body: Body, max: usize) -> Result<Bytes, Problem> {
    let too_large = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "");
    to_bytes(body, max).await.map_err(too_large)
}

/// A text in a field of a form, escaped: templates write it with `|safe`. It comes back with the form, so
/// that nothing in it is replaced: texts that are only shown lose what turns round the text beside them.
pub(crate) struct Typed<'a>(pub(crate) &'a str);

impl fmt::Display for Typed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&relevo_pages::html::escape(self.0))
    }
}

/// The values of a form that is shown, and its mistakes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form {
    values: BTreeMap<String, String>,
    mistakes: BTreeMap<String, String>,
    /// Mistakes of no field.
    pub general: Vec<String>,
}

impl Form {
    /// With these values.
    pub(crate) fn of<'v>(values: impl IntoIterator<Item = (&'v str, &'v str)>) -> Self {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { values: values.collect(), ..Self::default() }
    }

    /// As it was sent.
    #[must_use]
    pub(crate) fn sent(fields: &Fields) -> Self {
        Self::of(fields.iter())
    }

    /// With the mistakes that the API found. `names` maps a parameter of the API to a field of the
    /// form; a parameter `to[0]` or `tags.name` belongs to the field of its first part.
    #[must_use]
    pub(crate) fn with_problem(mut self, problem: &Problem, names: &[(&str, &str)]) -> Self {
        for (param, message) in &problem.fields {
            let first = param.split(['.', '[']).next().unwrap_or_default();
            let mapped =
                names.iter().find(|(api, _)| *api == param || *api == first).map(|(_, field)| *field);
            let field = mapped.unwrap_or(first);
            let message = if param == first { message.clone() } else { format!("{param}: {message}") };
            if self.values.contains_key(field) || mapped.is_some() {
                self.mistakes.entry(field.to_owned()).or_insert(message);
            } else {
                self.general.push(message);
            }
        }
        if problem.fields.is_empty() {
            let message = if problem.message.is_empty() { &problem.name } else { &problem.message };
            self.general.push(message.clone());
        }
        self
    }

    /// With a mistake at a field.
    #[must_use]
    pub(crate) fn with_mistake(mut self, field: &str, message: &str) -> Self {
        self.mistakes.insert(field.to_owned(), message.to_owned());
        self
    }

    /// The value of a field.
    #[must_use]
    pub(crate) fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// The value of a field as a form sends it back: without markup, and otherwise as it was typed.
    #[must_use]
    pub(crate) fn typed(&self, name: &str) -> Typed<'_> {
        Typed(self.value(name))
    }

    /// Returns true if the field has this value.
    #[must_use]
    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.value(name) == value
    }

    /// Returns true if a box is checked.
    #[must_use]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The mistake at a field.
    #[must_use]
    pub(crate) fn mistake(&self, name: &str) -> Option<&str> {
        self.mistakes.get(name).map(String::as_str)
    }

    /// Every mistake at a field.
    pub(crate) fn mistakes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mistakes.iter().map(|(name, message)| (name.as_str(), message.as_str()))
    }

    /// Returns true if there are mistakes.
    #[must_use]
    pub(crate) fn is_wrong(&self) -> bool {
        !self.mistakes.is_empty() || !self.general.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(askama::Template)]
    #[template(
        source = "{% import \"_form.html\" as parts %}{% call parts::line(form, \"a\", \"A\", \"text\", \"\") %}{% endcall %}{% call parts::area(form, \"b\", \"B\", 3, \"\") %}{% endcall %}",
        ext = "html"
    )]
    struct TwoFields {
        form: Form,
    }

    #[test]
    fn what_was_typed_comes_back_as_it_was() {
        let typed = "</textarea><b title=\"x\">\u{202e}&amp;";
        let page = askama::Template::render(&TwoFields { form: Form::of([("a", typed), ("b", typed)]) });
        let page = page.expect("a page");
        let escaped = "&lt;/textarea&gt;&lt;b title=&quot;x&quot;&gt;\u{202e}&amp;amp;";
        assert_eq!(page.matches(escaped).count(), 2, "{page}");
        assert_eq!(page.matches("</textarea>").count(), 1, "{page}");
    }

    #[test]
    fn mistakes_stand_at_their_fields() {
        let fields = Fields::read(b"_csrf=x&name=a%0D%0Ab&tag=1&tag=2&on=");
        assert_eq!(fields.get("name"), "a\nb");
        assert_eq!(fields.all("tag").collect::<Vec<_>>(), ["1", "2"]);
        assert!(fields.has("on") && fields.given("on").is_none());
        let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", "m");
        let param = |name: &str| (name.to_owned(), format!("{name} is wrong"));
        problem.fields = vec![param("name"), param("tags[0].name"), param("elsewhere")];
        let form = Form::sent(&fields).with_problem(&problem, &[("tags", "tag")]);
        assert_eq!(form.mistake("name"), Some("name is wrong"));
        assert_eq!(form.mistake("tag"), Some("tags[0].name: tags[0].name is wrong"));
        assert_eq!(form.general, ["elsewhere is wrong"]);
        assert!(!form.has(CSRF), "the proof of a session is not shown again");
    }
}
