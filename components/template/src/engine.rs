//! MiniJinja within limits: strict about what is undefined, no access to other templates, bounded
//! steps and output.

use std::io;

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use relevo_mailkit::model::{TemplateError, TemplateLimits};

use crate::failure::{SYNTAX, TOO_DEEP, TOO_LONG, TOO_MANY_STEPS, UNDEFINED, at, failure};
use crate::filters;

/// Nested macro calls: the stack inside a sandbox is small.
const MAX_RECURSION: usize = 40;
/// Octets of a source.
const MAX_SOURCE: usize = 4 * 1024 * 1024;

/// Renders one source. HTML is escaped in `html` and `mjml`.
pub(crate) fn render(
    name: &str,
    source: &str,
    variables: &Value,
    limits: &TemplateLimits,
) -> Result<String, TemplateError> {
    if source.len() > MAX_SOURCE {
        return Err(failure(TOO_LONG, name, "the template has more than 4 MiB"));
    }
    let environment = environment(limits);
    let template =
        environment.template_from_named_str(name, source).map_err(|e| from_error(name, source, &e))?;
    let mut output = Limited { octets: Vec::new(), limit: limits.max_output, exceeded: false };
    let result = template.render_captured_to(variables.clone(), &mut output).map(drop);
    if output.exceeded {
        return Err(failure(TOO_LONG, name, format!("more than {} octets", limits.max_output)));
    }
    result.map_err(|e| from_error(name, source, &e))?;
    Ok(String::from_utf8_lossy(&output.octets).into_owned())
}

fn environment(limits: &TemplateLimits) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    environment.set_fuel(Some(limits.max_steps));
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_auto_escape_callback(|name| match name {
        "html" | "mjml" => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    // It prints every variable there is.
    environment.remove_global("debug");
    filters::add_to(&mut environment);
    environment
}

fn from_error(name: &str, source: &str, error: &Error) -> TemplateError {
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
    let message = match detail {
        "" => error.kind().to_string(),
        detail => format!("{}: {detail}", error.kind()),
    };
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
