//! Templates and MIME building

use relevo_mailkit::model::{MessageEnvelope, Rendered, TemplateError, TemplateLimits, TemplateSource};

fn error(kind: &str, template: &str, message: &str) -> TemplateError {
    TemplateError {
        kind: kind.into(),
        template: template.into(),
        path: None,
        line: None,
        column: None,
        message: message.into(),
    }
}

/// Renders a source with a JSON object of variables.
///
/// # Errors
/// What is wrong, with its place.
pub fn render(source: &TemplateSource, _variables: &str, limits: &TemplateLimits) -> Result<Rendered, TemplateError> {
    if source.subject.len() as u64 > limits.max_output {
        return Err(error("too-long", "subject", "longer than the limit"));
    }
    Err(error("syntax", "subject", "not rendered"))
}

/// Builds a message with CRLF line ends.
///
/// # Errors
/// The field that is not valid.
pub fn build(envelope: &MessageEnvelope, _content: &Rendered) -> Result<Vec<u8>, TemplateError> {
    Err(error("invalid-field", "from", &envelope.from.address))
}
