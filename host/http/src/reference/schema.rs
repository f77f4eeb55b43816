//! Schemas of the document as tables of fields, and as examples.

use serde_json::{Map, Value, json};

/// How deep objects are shown within objects.
const MAX_DEPTH: usize = 5;

/// A field of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// The path, such as `totals.counts.sent` or `data[].value`.
    pub(super) path: String,
    /// The type in words.
    pub(super) kind: String,
    pub(super) required: bool,
    pub(super) description: String,
}

/// A schema with its references resolved: one level of `$ref`, and what `allOf` puts together.
pub(super) fn resolved<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let mut found = Vec::new();
    collect(document, schema, MAX_DEPTH, &mut found);
    found
}

fn collect<'a>(document: &'a Value, schema: &'a Value, depth: usize, found: &mut Vec<&'a Value>) {
    if depth == 0 {
        return;
    }
    if let Some(pointer) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        if let Some(target) = document.pointer(pointer) {
            collect(document, target, depth - 1, found);
        }
        return;
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        collect(document, part, depth - 1, found);
    }
    let alternatives = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    let alternatives: Vec<&Value> =
        alternatives.into_iter().flatten().filter(|part| part["type"] != "null").collect();
    // Of several alternatives only one that may also be null is the schema itself.
    if let [only] = alternatives.as_slice() {
        collect(document, only, depth - 1, found);
    }
    found.push(schema);
}

/// All fields of a schema, those of objects within it too.
pub(super) fn fields(document: &Value, schema: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    add_fields(document, schema, "", MAX_DEPTH, &mut fields);
    fields
}

fn add_fields(document: &Value, schema: &Value, prefix: &str, depth: usize, fields: &mut Vec<Field>) {
    if depth == 0 {
        return;
    }
    for part in resolved(document, schema) {
        if part["items"].is_object() {
            add_fields(document, &part["items"], &format!("{prefix}[]"), depth - 1, fields);
        }
        let required =
            |name: &str| part["required"].as_array().is_some_and(|all| all.iter().any(|n| n == name));
        for (name, property) in part["properties"].as_object().into_iter().flatten() {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if fields.iter().any(|field| field.path == path) {
                continue;
            }
            fields.push(Field {
                path: path.clone(),
                kind: kind(document, property),
                required: required(name),
                description: description(document, property),
            });
            add_fields(document, property, &path, depth - 1, fields);
        }
    }
}

fn description(document: &Value, schema: &Value) -> String {
    let own = schema["description"].as_str();
    let text =
        own.or_else(|| resolved(document, schema).into_iter().find_map(|part| part["description"].as_str()));
    text.unwrap_or_default().to_owned()
}

/// The type of a schema in words.
pub(super) fn kind(document: &Value, schema: &Value) -> String {
    let parts = resolved(document, schema);
    let values = parts.iter().find_map(|part| part["enum"].as_array());
    if let Some(values) = values {
        let values: Vec<String> =
            values.iter().map(|v| v.as_str().map_or(v.to_string(), str::to_owned)).collect();
        return values.join(" | ");
    }
    if let Some(items) = parts.iter().map(|part| &part["items"]).find(|items| items.is_object()) {
        return format!("array of {}", kind(document, items));
    }
    let named = |value: &Value| match value {
        Value::String(name) => Some(name.clone()),
        Value::Array(names) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).filter(|n| *n != "null").collect();
            (!names.is_empty()).then(|| names.join(" | "))
        }
        _ => None,
    };
    let name = parts.iter().find_map(|part| named(&part["type"]));
    if let Some(alternatives) = schema["oneOf"].as_array().filter(|_| name.is_none()) {
        let kinds: Vec<String> = alternatives.iter().map(|part| kind(document, part)).collect();
        return kinds.join(" | ");
    }
    name.unwrap_or_else(|| "any".to_owned())
}

/// An example of a body: what the document gives, else one made of the required fields.
pub(super) fn example(document: &Value, content: &Value) -> Option<Value> {
    if let Some(given) = content.get("example") {
        return Some(given.clone());
    }
    let named = content["examples"].as_object().and_then(|all| all.values().next());
    if let Some(given) = named.and_then(|named| named.get("value")) {
        return Some(given.clone());
    }
    content.get("schema").map(|schema| made(document, schema, MAX_DEPTH))
}

fn made(document: &Value, schema: &Value, depth: usize) -> Value {
    if let Some(given) = schema.get("example").or_else(|| schema["examples"].get(0)) {
        return given.clone();
    }
    let mut object = Map::new();
    for part in resolved(document, schema) {
        if let Some(given) = part.get("example").or_else(|| part["examples"].get(0)) {
            return given.clone();
        }
        if let Some(first) = part["enum"].get(0) {
            return first.clone();
        }
        let required: Vec<&str> =
            part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in part["properties"].as_object().into_iter().flatten() {
            if depth > 0 && (required.contains(&name.as_str()) || property.get("example").is_some()) {
                object.insert(name.clone(), made(document, property, depth - 1));
            }
        }
    }
    if !object.is_empty() {
        return Value::Object(object);
    }
    let kind = kind(document, schema);
    match kind.split(' ').next().unwrap_or_default() {
        "string" => json!("..."),
        "integer" => json!(1),
        "number" => json!(0.5),
        "boolean" => json!(true),
        "array" => json!([]),
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({"components": {"schemas": {
            "Outer": {"type": "object", "required": ["id", "inner"], "properties": {
                "id": {"type": "string", "description": "The id."},
                "inner": {"$ref": "#/components/schemas/Inner"},
                "maybe": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Inner", "description": "Or not."}]},
                "list": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/Inner"}},
            }},
            "Inner": {"allOf": [
                {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "example": 7}}},
                {"type": "object", "properties": {"loop": {"$ref": "#/components/schemas/Inner"}}},
            ]},
        }}})
    }

    #[test]
    fn fields_have_paths_and_loops_end() {
        let document = document();
        let schema = json!({"$ref": "#/components/schemas/Outer"});
        let fields = fields(&document, &schema);
        let field = |path: &str| fields.iter().find(|field| field.path == path).unwrap();
        assert_eq!((field("id").kind.as_str(), field("id").required), ("string", true));
        assert_eq!(field("id").description, "The id.");
        assert_eq!((field("inner.n").kind.as_str(), field("inner.n").required), ("integer", true));
        assert_eq!(field("maybe.n").kind, "integer");
        assert_eq!(field("list").kind, "array of object");
        assert_eq!(field("list[].n").kind, "integer");
        assert!(field("inner.loop.n").required && fields.len() < 50, "{}", fields.len());
    }

    #[test]
    fn examples_have_the_required_fields() {
        let document = document();
        let content = json!({"schema": {"$ref": "#/components/schemas/Outer"}});
        assert_eq!(example(&document, &content), Some(json!({"id": "...", "inner": {"n": 7}})));
        assert_eq!(example(&document, &json!({"example": {"a": 1}})), Some(json!({"a": 1})));
    }
}
