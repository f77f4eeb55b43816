//! MJML to HTML. Includes are never loaded.

use mrml::prelude::parser::{Error, ParserOptions};
use mrml::prelude::render::RenderOptions;
use relevo_mailkit::model::{TemplateError, TemplateLimits};

use crate::failure::{MJML, TOO_DEEP, TOO_LONG, at, failure};
use crate::tags;

/// Deeper documents are refused whatever the limits say: the parser recurses.
const MAX_DEPTH: u32 = 48;

/// Renders a document that MiniJinja has filled in. Places in errors are places in that document.
pub(crate) fn to_html(source: &str, limits: &TemplateLimits) -> Result<String, TemplateError> {
    let depth = limits.max_depth.min(MAX_DEPTH);
    if let Some(offset) = tags::strictly_deeper_than(source, depth) {
        return Err(at(failure(TOO_DEEP, "mjml", format!("nested deeper than {depth}")), source, offset));
    }
    let parsed =
        mrml::parse_with_options(source, &ParserOptions::default()).map_err(|e| parse_error(source, &e))?;
    let options = RenderOptions { disable_comments: true, ..RenderOptions::default() };
    let html = parsed.element.render(&options).map_err(|e| failure(MJML, "mjml", e.to_string()))?;
    if html.len() as u64 > limits.max_output {
        return Err(failure(TOO_LONG, "mjml", format!("more than {} octets of HTML", limits.max_output)));
    }
    Ok(html)
}

fn parse_error(source: &str, error: &Error) -> TemplateError {
    let found = failure(MJML, "mjml", error.to_string());
    match error {
        Error::UnexpectedElement { position, .. }
        | Error::UnexpectedToken { position, .. }
        | Error::MissingAttribute { position, .. }
        | Error::InvalidAttribute { position, .. }
        | Error::InvalidFormat { position, .. }
        | Error::IncludeLoaderError { position, .. } => at(found, source, position.start),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_refused() {
        let limits = TemplateLimits { max_output: 100_000, max_steps: 1_000, max_depth: 20 };
        let source = "<mjml><mj-body>\n<mj-include path=\"/etc/passwd\" /></mj-body></mjml>";
        let error = to_html(source, &limits).unwrap_err();
        assert_eq!((error.kind.as_str(), error.line), ("mjml", Some(2)));
    }
}
