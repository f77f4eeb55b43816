//! Examples of requests in the document, from `examples.json`: of bodies by operation, and of
//! parameters by the beginning of the path. They can be sent as they are to a relay that has what
//! they name; `tests/interop/openapi.py` does so.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The contents of `examples.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Examples {
    /// Bodies by name, of operations such as `POST /emails`.
    bodies: BTreeMap<String, Map<String, Value>>,
    /// Values of parameters, of the paths that begin so. The longest beginning decides.
    parameters: BTreeMap<String, Map<String, Value>>,
}

/// Adds the examples to a document.
pub(super) fn add(document: &mut Value) {
    let examples: Examples =
        serde_json::from_str(include_str!("examples.json")).expect("bodies and parameters as JSON");
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let name = format!("{} {path}", method.to_ascii_uppercase());
            if let Some(bodies) = examples.bodies.get(&name) {
                add_bodies(operation, bodies);
            }
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                let found = examples.parameter(path, parameter["name"].as_str().unwrap_or_default());
                if let Some(example) = found {
                    parameter["example"] = example.clone();
                }
            }
        }
    }
}

impl Examples {
    fn parameter(&self, path: &str, name: &str) -> Option<&Value> {
        let begins = self.parameters.iter().filter(|(beginning, _)| path.starts_with(beginning.as_str()));
        begins.rev().find_map(|(_, values)| values.get(name))
    }
}

fn add_bodies(operation: &mut Value, bodies: &Map<String, Value>) {
    let contents = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut);
    for (content_type, content) in contents.into_iter().flatten() {
        // A text is no body in JSON, and nothing else is one of another type.
        let is_json = content_type == "application/json";
        let fitting = bodies.iter().filter(|(_, body)| body.is_string() != is_json);
        let named = fitting.map(|(name, body)| (name.clone(), json!({"value": body})));
        content["examples"] = Value::Object(named.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::document;

    /// An example of an operation that is gone, or an operation without one, is found here.
    #[test]
    fn every_body_and_every_path_has_an_example() {
        let examples: Examples = serde_json::from_str(include_str!("examples.json")).unwrap();
        let mut with_body = Vec::new();
        for (path, item) in document()["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = format!("{} {path}", method.to_ascii_uppercase());
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let is_path = parameter["in"] == "path";
                    assert!(!is_path || parameter.get("example").is_some(), "{name}: {parameter}");
                }
                if operation.get("requestBody").is_some() {
                    with_body.push(name);
                }
            }
        }
        with_body.sort();
        assert_eq!(with_body, examples.bodies.into_keys().collect::<Vec<_>>());
    }
}
