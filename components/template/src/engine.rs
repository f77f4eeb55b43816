//! MiniJinja within limits: strict about what is undefined, no access to other templates than those
//! that are given, bounded steps and output.

use std::io;

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use relevo_mailkit::model::{TemplateError, TemplateLimits, TemplatePartial};

use crate::failure::{MISSING, SYNTAX, TOO_DEEP, TOO_LONG, TOO_MANY_STEPS, UNDEFINED, at, failure};
use crate::filters;

/// Nested macro calls: the stack inside a sandbox is small.
const MAX_RECURSION: usize = 40;
/// Octets of a source.
const MAX_SOURCE: usize = 4 * 1024 * 1024;

/// Renders one source. HTML is escaped in `html` and `mjml`. Other templates are those of `partials`
/// that have a source of this kind.
pub(crate) fn render(
    name: &str,
    source: &str,
    partials: &[TemplatePartial],
    variables: &Value,
    limits: &TemplateLimits,
) -> Result<String, TemplateError> {
    check_length(name, source)?;
    let mut sources = vec![(name, source)];
    let mut environment = environment(name, limits);
    for partial in partials {
        let Some(text) = of_kind(partial, name) else { continue };
        check_length(name, text)?;
        sources.push((&partial.name, text));
        environment.add_template(&partial.name, text).map_err(|e| from_error(name, &sources, &e))?;
    }
    let failed = |error: &Error| match missing(name, partials, error) {
        Some(error) => error,
        None => from_error(name, &sources, error),
    };
    let template = environment.template_from_named_str(name, source).map_err(|e| failed(&e))?;
    let mut output = Limited { octets: Vec::new(), limit: limits.max_output, exceeded: false };
    let result = template.render_captured_to(variables.clone(), &mut output).map(drop);
    if output.exceeded {
        return Err(failure(TOO_LONG, name, format!("more than {} octets", limits.max_output)));
    }
    result.map_err(|e| failed(&e))?;
    Ok(String::from_utf8_lossy(&output.octets).into_owned())
}

/// Refuses a source that is too long to be parsed.
pub(crate) fn check_length(name: &str, source: &str) -> Result<(), TemplateError> {
    match source.len() > MAX_SOURCE {
        true => Err(failure(TOO_LONG, name, "the template has more than 4 MiB")),
        false => Ok(()),
    }
}

/// The source of a partial that sources of a kind use.
fn of_kind<'a>(partial: &'a TemplatePartial, kind: &str) -> Option<&'a str> {
    match kind {
        "subject" => Some(&partial.subject),
        "html" => partial.html.as_deref(),
        "mjml" => partial.mjml.as_deref(),
        _ => partial.text.as_deref(),
    }
}

fn environment<'a>(name: &str, limits: &TemplateLimits) -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    environment.set_fuel(Some(limits.max_steps));
    environment.set_recursion_limit(MAX_RECURSION);
    let is_html = matches!(name, "html" | "mjml");
    environment.set_auto_escape_callback(move |_| if is_html { AutoEscape::Html } else { AutoEscape::None });
    // It prints every variable there is.
    environment.remove_global("debug");
    filters::add_to(&mut environment);
    environment
}

/// The error within an included template or a block, where there is one.
fn innermost(error: &Error) -> &Error {
    let mut found = error;
    while matches!(found.kind(), ErrorKind::BadInclude | ErrorKind::EvalBlock)
        && let Some(inner) = std::error::Error::source(found).and_then(|e| e.downcast_ref::<Error>())
    {
        found = inner;
    }
    found
}

/// A template that is named and not there, or has no source of this kind.
fn missing(name: &str, partials: &[TemplatePartial], error: &Error) -> Option<TemplateError> {
    let error = innermost(error);
    if error.kind() != ErrorKind::TemplateNotFound {
        return None;
    }
    let detail = error.detail().unwrap_or_default();
    let partial = partials.iter().find(|p| of_kind(p, name).is_none() && detail.contains(&p.name));
    Some(match partial {
        Some(partial) => failure(MISSING, name, format!("the template `{}` has no {name}", partial.name)),
        None => failure(MISSING, name, format!("a template that is named is not there: {detail}")),
    })
}

/// An error of the engine in words and with its place. `sources` has the names of the main template,
/// which comes first, and of the partials, with their text.
pub(crate) fn from_error(name: &str, sources: &[(&str, &str)], error: &Error) -> TemplateError {
    let error = innermost(error);
    let detail = error.detail().unwrap_or_default();
    let path = undefined_path(detail);
    let kind = match error.kind() {
        ErrorKind::UndefinedError => UNDEFINED,
        ErrorKind::OutOfFuel => TOO_MANY_STEPS,
        ErrorKind::InvalidOperation if detail.contains("recursion limit") => TOO_DEEP,
        ErrorKind::SyntaxError if detail.contains("maximum recursion") => TOO_DEEP,
        ErrorKind::InvalidOperation if path.is_some() => UNDEFINED,
        _ => SYNTAX,
    };
    let place = sources.iter().rev().find(|(known, _)| error.name() == Some(*known)).or(sources.first());
    let (within, source) = place.copied().unwrap_or((name, ""));
    let mut message = match detail {
        "" => error.kind().to_string(),
        detail => format!("{}: {detail}", error.kind()),
    };
    if within != name {
        message = format!("in the template `{within}`: {message}");
    }
    let mut found = failure(kind, name, message);
    if kind == UNDEFINED {
        found.path = path.or_else(|| error.range().and_then(|range| filtered_path(source, range.start)));
    }
    if let Some(range) = error.range() {
        return at(found, source, range.start);
    }
    found.line = error.line().and_then(|l| u32::try_from(l).ok());
    found
}

/// The engine describes what is undefined as `` `user.name` is undefined ``.
fn undefined_path(detail: &str) -> Option<String> {
    let end = detail.find("` is undefined")?;
    let start = detail[..end].rfind('`')? + 1;
    Some(detail[start..end].to_owned())
}

/// The name of a variable that a filter was given: it ends where the filter begins.
fn filtered_path(source: &str, at: usize) -> Option<String> {
    let is_name = |c: char| c.is_alphanumeric() || "_.[]\"'".contains(c);
    let before = source.get(..at)?.trim_end().trim_end_matches('|').trim_end();
    let start = before.rfind(|c: char| !is_name(c)).map_or(0, |at| at + 1);
    let path = before.get(start..)?;
    (!path.is_empty()).then(|| path.to_owned())
}

/// Output up to a limit.
struct Limited {
    octets: Vec<u8>,
    limit: u64,
    exceeded: bool,
}

impl io::Write for Limited {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if (self.octets.len() + octets.len()) as u64 > self.limit {
            self.exceeded = true;
            return Err(io::Error::other("output limit"));
        }
        self.octets.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
