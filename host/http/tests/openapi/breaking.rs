//! Changes between two documents that break a client of the older one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
const MAX_DEPTH: usize = 8;

/// A document, and schemas in it: several are alternatives, of which a value has one.
#[derive(Clone)]
struct At<'a> {
    document: &'a Value,
    values: Vec<&'a Value>,
}

impl<'a> At<'a> {
    fn new(document: &'a Value, value: &'a Value) -> Self {
        Self { document, values: vec![value] }
    }

    fn of(&self, values: Vec<&'a Value>) -> Self {
        Self { document: self.document, values }
    }

    /// The schemas that these are made of.
    fn parts(&self) -> Vec<&'a Value> {
        let mut parts = Vec::new();
        for value in &self.values {
            self.collect(value, MAX_DEPTH, &mut parts);
        }
        parts
    }

    fn collect(&self, schema: &'a Value, depth: usize, parts: &mut Vec<&'a Value>) {
        if depth == 0 {
            return;
        }
        let target = schema["$ref"].as_str().and_then(|path| self.document.pointer(path.strip_prefix('#')?));
        if let Some(target) = target {
            return self.collect(target, depth - 1, parts);
        }
        for key in ["allOf", "oneOf", "anyOf"] {
            for part in schema[key].as_array().into_iter().flatten() {
                self.collect(part, depth - 1, parts);
            }
        }
        parts.push(schema);
    }

    /// All schemas of each property.
    fn properties(&self) -> BTreeMap<&'a str, Self> {
        let mut properties: BTreeMap<&'a str, Self> = BTreeMap::new();
        for part in self.parts() {
            for (name, value) in part["properties"].as_object().into_iter().flatten() {
                properties.entry(name).or_insert_with(|| self.of(Vec::new())).values.push(value);
            }
        }
        properties
    }

    fn items(&self) -> Option<Self> {
        let items: Vec<&Value> =
            self.parts().iter().map(|part| &part["items"]).filter(|i| i.is_object()).collect();
        (!items.is_empty()).then(|| self.of(items))
    }

    fn strings(&self, key: &str) -> BTreeSet<&'a str> {
        let parts = self.parts().into_iter();
        let all = parts.flat_map(|part| match &part[key] {
            Value::Array(list) => list.iter().collect(),
            one => vec![one],
        });
        all.filter_map(Value::as_str).collect()
    }
}

/// What a client of `old` would miss or be refused for, one line each.
pub fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (path, item) in old["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let Some(before) = item.get(method) else { continue };
            let name = format!("{} {path}", method.to_ascii_uppercase());
            match new["paths"][path].get(method) {
                Some(after) => operation(&name, (old, before), (new, after), &mut found),
                None => found.push(format!("{name}: removed")),
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// A document, and an operation in it.
type Operation<'a> = (&'a Value, &'a Value);

fn operation(name: &str, (old, before): Operation<'_>, (new, after): Operation<'_>, found: &mut Vec<String>) {
    parameters(name, before, after, found);
    let responses = before["responses"].as_object().into_iter().flatten();
    for (status, response) in responses.filter(|(status, _)| status.starts_with('2')) {
        let Some(other) = after["responses"].get(status) else {
            found.push(format!("{name} {status}: removed"));
            continue;
        };
        for (media, content) in response["content"].as_object().into_iter().flatten() {
            match other["content"].get(media) {
                Some(other) => {
                    let (old, new) = (At::new(old, &content["schema"]), At::new(new, &other["schema"]));
                    answer(&format!("{name} {status}"), &old, &new, MAX_DEPTH, found);
                }
                None => found.push(format!("{name} {status} {media}: removed")),
            }
        }
    }
    let (before, after) = (&before["requestBody"], &after["requestBody"]);
    if after["required"] == true && before["required"] != true {
        found.push(format!("{name} body: required"));
    }
    for (media, content) in before["content"].as_object().into_iter().flatten() {
        match after["content"].get(media) {
            Some(other) => {
                let (old, new) = (At::new(old, &content["schema"]), At::new(new, &other["schema"]));
                request(&format!("{name} body"), &old, &new, MAX_DEPTH, found);
            }
            None => found.push(format!("{name} body {media}: removed")),
        }
    }
}

fn parameters(name: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    let list = |operation: &Value| operation["parameters"].as_array().cloned().unwrap_or_default();
    let (before, after) = (list(before), list(after));
    let same = |a: &Value, b: &Value| a["name"] == b["name"] && a["in"] == b["in"];
    for parameter in &before {
        if !after.iter().any(|other| same(parameter, other)) {
            found.push(format!("{name} parameter {}: removed", text(&parameter["name"])));
        }
    }
    for parameter in after.iter().filter(|parameter| parameter["required"] == true) {
        let known = before.iter().find(|other| same(parameter, other));
        if known.is_none_or(|known| known["required"] != true) {
            found.push(format!("{name} parameter {}: required", text(&parameter["name"])));
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A client reads the answer: what was there must stay, with its type.
fn answer(path: &str, old: &At<'_>, new: &At<'_>, depth: usize, found: &mut Vec<String>) {
    if depth == 0 {
        return;
    }
    let known = old.strings("type");
    if !known.is_empty() && !new.strings("type").is_subset(&known) {
        found.push(format!("{path}: type"));
    }
    if let (Some(before), Some(after)) = (old.items(), new.items()) {
        answer(&format!("{path}[]"), &before, &after, depth - 1, found);
    }
    let (required, still, after) = (old.strings("required"), new.strings("required"), new.properties());
    for (name, before) in old.properties() {
        let path = format!("{path} {name}");
        match after.get(name) {
            Some(after) => {
                if required.contains(name) && !still.contains(name) {
                    found.push(format!("{path}: optional"));
                }
                answer(&path, &before, after, depth - 1, found);
            }
            None => found.push(format!("{path}: removed")),
        }
    }
}

/// A client writes the request: what was taken must be taken still, and nothing more be required.
fn request(path: &str, old: &At<'_>, new: &At<'_>, depth: usize, found: &mut Vec<String>) {
    if depth == 0 {
        return;
    }
    for (key, word) in [("type", "type"), ("enum", "values")] {
        let taken = new.strings(key);
        if !taken.is_empty() && !old.strings(key).is_subset(&taken) {
            found.push(format!("{path}: {word}"));
        }
    }
    if let (Some(before), Some(after)) = (old.items(), new.items()) {
        request(&format!("{path}[]"), &before, &after, depth - 1, found);
    }
    let (known, after) = (old.strings("required"), new.properties());
    for name in new.strings("required").into_iter().filter(|name| !known.contains(name)) {
        found.push(format!("{path} {name}: required"));
    }
    for (name, before) in old.properties() {
        let path = format!("{path} {name}");
        match after.get(name) {
            Some(after) => request(&path, &before, after, depth - 1, found),
            None => found.push(format!("{path}: removed")),
        }
    }
}
