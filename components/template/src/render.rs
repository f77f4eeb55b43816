//! Sources and variables to the parts of a message.

use relevo_mailkit::model::{Rendered, TemplateError, TemplateLimits, TemplateSource};

use crate::failure::{TOO_LONG, failure, invalid};
use crate::{engine, mjml, text, variables};

/// What MJML makes of one element: a section is a table in a table in a comment.
const MJML_FACTOR: u32 = 8;

/// Renders a source with a JSON object of variables.
///
/// # Errors
/// What is wrong, with its template, and with line and column where it has a place. For `mjml` that
/// is a place in the document after MiniJinja has filled it in.
pub fn render(
    source: &TemplateSource,
    variables: &str,
    limits: &TemplateLimits,
) -> Result<Rendered, TemplateError> {
    if source.html.is_some() && source.mjml.is_some() {
        return Err(invalid("html", "there is MJML already"));
    }
    if source.html.is_none() && source.mjml.is_none() && source.text.is_none() {
        return Err(invalid("text", "neither text nor HTML nor MJML"));
    }
    let values = variables::parse(variables, limits)?;
    let render = |name, text: &str| engine::render(name, text, &source.partials, &values, limits);
    let subject = subject(&render("subject", &source.subject)?)?;
    let (html, origin, depth) = match (&source.html, &source.mjml) {
        (Some(html), _) => (Some(render("html", html)?), "html", limits.max_depth),
        (None, Some(document)) => {
            let filled = render("mjml", document)?;
            (Some(mjml::to_html(&filled, limits)?), "mjml", limits.max_depth.saturating_mul(MJML_FACTOR))
        }
        (None, None) => (None, "html", limits.max_depth),
    };
    let text = match (&source.text, &html) {
        (Some(template), html) => {
            if let Some(html) = html {
                text::check(html, origin, depth)?;
            }
            render("text", template)?
        }
        (None, Some(html)) => text::from_html(html, origin, depth)?,
        (None, None) => String::new(),
    };
    if text.len() as u64 > limits.max_output {
        return Err(failure(TOO_LONG, "text", format!("more than {} octets", limits.max_output)));
    }
    Ok(Rendered { subject, html, text })
}

/// One line: what a template adds at its ends is cut, what is in the middle would be another field.
fn subject(rendered: &str) -> Result<String, TemplateError> {
    let subject = rendered.trim();
    if subject.contains(char::is_control) {
        return Err(invalid("subject", "a line break or another control character"));
    }
    Ok(subject.to_owned())
}
