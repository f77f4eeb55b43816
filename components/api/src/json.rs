//! Octets to a request.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use self::objects::ObjectsOnly;
use crate::problem::InvalidRequest;

mod objects;

/// Reads a request from the octets of a body.
///
/// Nesting is limited to 128 levels. A field that is given twice, and a field that is not known,
/// are mistakes. An object stands in braces: an array of its values is none.
///
/// # Errors
/// [`InvalidRequest::Json`] with line and column when the octets are not JSON; otherwise the first value of a wrong
/// type or name, with its path.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, InvalidRequest> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(InvalidRequest::field("", "the body is empty, send a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(ObjectsOnly(&mut json)).map_err(|error| {
        let path = error.path().to_string();
        mistake(if path == "." { "" } else { &path }, error.inner())
    })?;
    json.end().map_err(|error| mistake("", &error))?;
    Ok(value)
}

/// Reads a request from JSON that was read already, such as an element of a batch.
///
/// # Errors
/// As for [`read`], but never [`InvalidRequest::Json`].
pub fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, InvalidRequest> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let (path, message) = words(if path == "." { "" } else { &path }, &error.inner().to_string());
        InvalidRequest::field(path, message)
    })
}

fn mistake(path: &str, error: &serde_json::Error) -> InvalidRequest {
    let text = without_position(&error.to_string());
    match error.classify() {
        Category::Data => {
            let (path, message) = words(path, &text);
            InvalidRequest::field(path, message)
        }
        Category::Syntax | Category::Eof | Category::Io => {
            InvalidRequest::Json { line: error.line(), column: error.column(), message: text }
        }
    }
}

/// `serde_json` ends its text with ` at line L column C`.
fn without_position(text: &str) -> String {
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text.to_owned(),
    }
}

/// The words of `serde` for people: types by their JSON names, and the nearest known name for one
/// that is not known. A field that is missing or doubled is part of the path.
fn words(path: &str, text: &str) -> (String, String) {
    if let Some((unknown, expected)) = field_of(text, "unknown") {
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let message = match nearest(unknown, &known) {
            Some(name) => format!("unknown field, did you mean `{name}`?"),
            None => format!("unknown field, known are {}", known.join(", ")),
        };
        return (path.to_owned(), message);
    }
    for (kind, message) in [("missing", "is missing"), ("duplicate", "is given twice")] {
        if let Some((name, _)) = field_of(text, kind) {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            return (path, message.to_owned());
        }
    }
    // What was found may be the client's own text, which stays as it is. What was expected comes last.
    let text = match text.rsplit_once(", expected ") {
        Some((found, expected)) => {
            let expected = expected.replace("a sequence", "an array").replace("sequence", "array");
            let expected = expected.replace("a map", "an object").replace("map", "object");
            format!("{}, expected {expected}", json_type(found))
        }
        None => text.to_owned(),
    };
    (path.to_owned(), text)
}

fn json_type(found: &str) -> &str {
    match found {
        "invalid type: sequence" => "invalid type: array",
        "invalid type: map" => "invalid type: object",
        "invalid type: unit value" => "invalid type: null",
        found => found,
    }
}

fn field_of<'a>(text: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
    text.strip_prefix(kind)?.strip_prefix(" field `")?.split_once('`')
}

/// The known name that is at most two edits and less than half of its length away.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // A long word is near none, and comparing it would take time.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|name| (edits(&word, name), *name))
        .filter(|(edits, name)| *edits <= 2 && *edits * 2 < name.len().max(2))
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance in octets.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[allow(dead_code, reason = "read by the test's mistakes")]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "read by the test's mistakes")]
    struct Inner {
        subject: String,
        #[serde(default)]
        count: u8,
    }

    fn of(body: &str) -> InvalidRequest {
        read::<Outer>(body.as_bytes()).expect_err("a mistake")
    }

    #[test]
    fn a_mistake_has_its_path() {
        let cases = [
            (
                r#"{"inner":[{"subject":"a"},{"subject":7}]}"#,
                "inner[1].subject",
                "invalid type: integer `7`, expected a string",
            ),
            (r#"{"inner":[{"subjetc":"a"}]}"#, "inner[0].subjetc", "unknown field, did you mean `subject`?"),
            (r#"{"inner":[{"zzz":"a"}]}"#, "inner[0].zzz", "unknown field, known are subject, count"),
            (r#"{"inner":[{}]}"#, "inner[0].subject", "is missing"),
            ("[[]]", "", "invalid type: array, expected an object"),
            ("7", "", "invalid type: integer `7`, expected an object"),
            (r#"{"inner":[["a",1]]}"#, "inner[0]", "invalid type: array, expected an object"),
            (r#"{"inner":{}}"#, "inner", "invalid type: object, expected an array"),
            (r#"{"inner":[{"subject":[]}]}"#, "inner[0].subject", "invalid type: array, expected a string"),
            (
                r#"{"inner":"a map, expected a sequence"}"#,
                "inner",
                r#"invalid type: string "a map, expected a sequence", expected an array"#,
            ),
            (r#"{"inner":[{"subject":"a","subject":"b"}]}"#, "inner[0].subject", "is given twice"),
        ];
        for (body, param, message) in cases {
            assert_eq!(of(body), InvalidRequest::field(param, message), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_has_line_and_column() {
        let InvalidRequest::Json { line, column, message } = of("{\n  \"inner\": [,]\n}") else {
            panic!("not a JSON error")
        };
        assert_eq!((line, column, message.as_str()), (2, 13, "expected value"));
        assert!(matches!(of("{\"inner\":["), InvalidRequest::Json { .. }));
        assert!(matches!(of("{\"inner\":[]} x"), InvalidRequest::Json { .. }));
        assert_eq!(of("  \n"), InvalidRequest::field("", "the body is empty, send a JSON object"));
    }

    #[test]
    fn nesting_has_a_limit() {
        let deep = "[".repeat(100_000);
        assert!(read::<serde_json::Value>(deep.as_bytes()).is_err());
    }
}
