//! Octets to a request.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

pub(crate) use self::budget::Budget;
use self::objects::ObjectsOnly;
use crate::problem::InvalidRequest;

mod budget;
mod objects;

/// Octets of a path in an answer. A client chooses the names in it.
const MAX_PATH: usize = 256;
/// Octets of a mistake's words in an answer. A client's own text may be part of them.
const MAX_WORDS: usize = 1024;

/// Reads a request from the octets of a body.
///
/// Nesting is limited to 128 levels, the memory of all values to 128 MiB: many small values take
/// far more than their octets. A field that is given twice, and a field that is not known, are
/// mistakes. An object stands in braces: an array of its values is none.
///
/// # Errors
/// [`InvalidRequest::Json`] with line and column when the octets are not JSON; otherwise the first value of a wrong
/// type or name, with its path.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, InvalidRequest> {
    read_within(body, &Budget::default())
}

/// As [`read`], for one of several bodies that share a budget.
pub(crate) fn read_within<T: DeserializeOwned>(body: &[u8], budget: &Budget) -> Result<T, InvalidRequest> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(InvalidRequest::field("", "the body is empty, send a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let values = ObjectsOnly { inner: &mut json, budget };
    let value = serde_path_to_error::deserialize(values).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "" } else { &path };
        if is_of_another_type(error.inner(), body) {
            return InvalidRequest::field(cut(path.to_owned(), MAX_PATH), "invalid type, expected a string");
        }
        mistake(path, error.inner())
    })?;
    json.end().map_err(|error| mistake("", &error))?;
    Ok(value)
}

/// `serde_json` says of an array or a number where the name of a variant belongs that it is no JSON.
fn is_of_another_type(error: &serde_json::Error, body: &[u8]) -> bool {
    error.classify() == Category::Syntax
        && error.to_string().starts_with("expected value")
        && serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

fn mistake(path: &str, error: &serde_json::Error) -> InvalidRequest {
    let text = without_position(&error.to_string());
    match error.classify() {
        Category::Data => {
            let (path, message) = words(path, &text);
            InvalidRequest::field(cut(path, MAX_PATH), cut(message, MAX_WORDS))
        }
        Category::Syntax | Category::Eof | Category::Io => {
            InvalidRequest::Json { line: error.line(), column: error.column(), message: text }
        }
    }
}

/// The beginning of a text that is longer than `most` octets.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push_str("...");
    }
    text
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
        #[serde(default)]
        tls: Option<crate::request::TlsChoice>,
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
            (r#"{"inner":[{"zzz":"a"}]}"#, "inner[0].zzz", "unknown field, known are subject, count, tls"),
            (r#"{"inner":[{}]}"#, "inner[0].subject", "is missing"),
            (r#"{"inner":[{"subject":"a","tls":[1]}]}"#, "inner[0].tls", "invalid type, expected a string"),
            (r#"{"inner":[{"subject":"a","tls":7}]}"#, "inner[0].tls", "invalid type, expected a string"),
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
    fn a_long_name_is_cut_in_the_answer() {
        let name = "é".repeat(10_000);
        let InvalidRequest::Fields(problems) = of(&format!(r#"{{"inner":[{{"{name}":1}}]}}"#)) else {
            panic!("not a field")
        };
        assert!(problems[0].param.starts_with("inner[0].éé") && problems[0].param.ends_with("é..."));
        assert!(problems[0].param.len() <= MAX_PATH + 3);
    }

    #[test]
    fn many_small_values_are_refused_before_they_take_much_memory() {
        let many = |value: &str, count: usize| format!("[{}]", vec![value; count].join(","));
        for (value, most) in [("1", 2_000_000), ("[]", 2_000_000), ("[1]", 524_000), (r#"{"":1}"#, 161_000)] {
            let read_many = |count: usize| read::<serde_json::Value>(many(value, count).as_bytes());
            assert!(read_many(most / 2).is_ok(), "{value}");
            let refused = read_many(most + most / 16).expect_err(value).to_string();
            assert!(refused.contains("more than 128 MiB of memory"), "{refused}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let deep = "[".repeat(100_000);
        assert!(read::<serde_json::Value>(deep.as_bytes()).is_err());
    }
}
