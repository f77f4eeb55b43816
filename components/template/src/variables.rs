//! The variables of a template: a JSON object of bounded depth.

use minijinja::Value;
use minijinja::value::ValueKind;
use relevo_mailkit::model::{TemplateError, TemplateLimits};

use crate::failure::{NOT_JSON, TOO_DEEP, TOO_LONG, at, failure};

/// Deeper variables are refused whatever the limits say: values are dropped recursively.
const MAX_DEPTH: u32 = 64;

/// Reads the object.
pub(crate) fn parse(text: &str, limits: &TemplateLimits) -> Result<Value, TemplateError> {
    if text.len() as u64 > limits.max_output.saturating_mul(4) {
        return Err(failure(TOO_LONG, "variables", "longer than four times the output limit"));
    }
    let depth = limits.max_depth.min(MAX_DEPTH);
    if let Some(offset) = deeper_than(text, depth) {
        return Err(at(failure(TOO_DEEP, "variables", format!("nested deeper than {depth}")), text, offset));
    }
    let value: Value = serde_json::from_str(text).map_err(|e| {
        let mut error = failure(NOT_JSON, "variables", e.to_string());
        error.line = u32::try_from(e.line()).ok().filter(|&l| l > 0);
        error.column = u32::try_from(e.column()).ok().filter(|&c| c > 0);
        error
    })?;
    if value.kind() != ValueKind::Map {
        return Err(failure(NOT_JSON, "variables", "not an object"));
    }
    Ok(value)
}

/// Where brackets nest deeper than `limit`. Looked at before parsing, which recurses.
fn deeper_than(text: &str, limit: u32) -> Option<usize> {
    let mut depth = 0_u32;
    let (mut quoted, mut escaped) = (false, false);
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > limit {
                    return Some(offset);
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth() {
        assert_eq!(deeper_than(r#"{"a":[[]],"b":"[[[[\"["}"#, 3), None);
        assert_eq!(deeper_than(r#"{"a":[[]]}"#, 2), Some(6));
    }
}
