//! Errors with the names of `template.wit`.

use relevo_mailkit::model::TemplateError;

pub(crate) const UNDEFINED: &str = "undefined-variable";
pub(crate) const SYNTAX: &str = "syntax";
pub(crate) const NOT_JSON: &str = "variables-not-json";
pub(crate) const MJML: &str = "mjml";
pub(crate) const TOO_LONG: &str = "too-long";
pub(crate) const TOO_DEEP: &str = "too-deep";
pub(crate) const TOO_MANY_STEPS: &str = "too-many-steps";
pub(crate) const MISSING: &str = "missing-template";
pub(crate) const INVALID_FIELD: &str = "invalid-field";

/// An error without a place in a source.
pub(crate) fn failure(kind: &str, template: &str, message: impl Into<String>) -> TemplateError {
    TemplateError {
        kind: kind.into(),
        template: template.into(),
        path: None,
        line: None,
        column: None,
        message: message.into(),
    }
}

/// A field or a part of the envelope that cannot go into a message.
pub(crate) fn invalid(field: &str, message: impl Into<String>) -> TemplateError {
    failure(INVALID_FIELD, field, message)
}

/// The error at `offset` of `source`.
pub(crate) fn at(mut error: TemplateError, source: &str, offset: usize) -> TemplateError {
    let before = source.get(..offset).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    error.line = u32::try_from(before.matches('\n').count() + 1).ok();
    error.column = u32::try_from(before[line_start..].chars().count() + 1).ok();
    error
}
