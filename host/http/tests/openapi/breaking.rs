//! Changes between two documents that break a client of the older one.

use std::collections::BTreeSet;

use serde_json::Value;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
const MAX_DEPTH: usize = 8;

/// A document, and a schema in it.
#[derive(Clone, Copy)]
struct At<'a> {
    document: &'a Value,
    value: &'a Value,
}

impl<'a> At<'a> {
    fn new(document: &'a Value, value: &'a Value) -> Self {
        Self { document, value }
    }

    fn of(self, value: &'a Value) -> Self {
        Self { value, ..self }
    }

    /// The schemas that this one is made of.
    fn parts(self) -> Vec<&'a Value> {
        let mut parts = Vec::new();
        self.collect(self.value, MAX_DEPTH, &mut parts);
        parts
    }

    fn collect(self, schema: &'a Value, depth: usize, parts: &mut Vec<&'a Value>) {
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

    fn properties(self) -> Vec<(&'a str, &'a Value)> {
        let parts = self.parts().into_iter();
        let all = parts.flat_map(|part| part["properties"].as_object().into_iter().flatten());
        all.map(|(name, value)| (name.as_str(), value)).collect()
    }

    fn property(self, name: &str) -> Option<&'a Value> {
        self.properties().into_iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    fn items(self) -> Option<&'a Value> {
        self.parts().into_iter().map(|part| &part["items"]).find(|items| items.is_object())
    }

    fn required(self) -> BTreeSet<&'a str> {
        let parts = self.parts().into_iter();
        parts
            .flat_map(|part| part["required"].as_array().into_iter().flatten())
            .filter_map(Value::as_str)
            .collect()
    }

    /// The names of types, and values of enums.
    fn kinds(self) -> BTreeSet<String> {
        let mut kinds = BTreeSet::new();
        for part in self.parts() {
            match &part["type"] {
                Value::String(name) => drop(kinds.insert(name.clone())),
                Value::Array(names) => {
                    kinds.extend(names.iter().filter_map(|n| n.as_str().map(str::to_owned)))
                }
                _ => {}
            }
        }
        kinds
    }

    fn values(self) -> BTreeSet<String> {
        let parts = self.parts().into_iter();
        parts.flat_map(|part| part["enum"].as_array().into_iter().flatten()).map(Value::to_string).collect()
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
                Some(after) => operation(&name, At::new(old, before), At::new(new, after), &mut found),
                None => found.push(format!("{name}: removed")),
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn operation(name: &str, old: At<'_>, new: At<'_>, found: &mut Vec<String>) {
    parameters(name, old, new, found);
    for (status, response) in old.value["responses"].as_object().into_iter().flatten() {
        if !status.starts_with('2') {
            continue;
        }
        let Some(after) = new.value["responses"].get(status) else {
            found.push(format!("{name} {status}: removed"));
            continue;
        };
        for (media, content) in response["content"].as_object().into_iter().flatten() {
            match after["content"].get(media) {
                Some(after) => {
                    let (old, new) = (old.of(&content["schema"]), new.of(&after["schema"]));
                    answer(&format!("{name} {status}"), old, new, MAX_DEPTH, found);
                }
                None => found.push(format!("{name} {status} {media}: removed")),
            }
        }
    }
    let (before, after) = (&old.value["requestBody"], &new.value["requestBody"]);
    if after["required"] == true && before["required"] != true {
        found.push(format!("{name} body: required"));
    }
    for (media, content) in before["content"].as_object().into_iter().flatten() {
        match after["content"].get(media) {
            Some(after) => {
                let (old, new) = (old.of(&content["schema"]), new.of(&after["schema"]));
                request(&format!("{name} body"), old, new, MAX_DEPTH, found);
            }
            None => found.push(format!("{name} body {media}: removed")),
        }
    }
}

fn parameters(name: &str, old: At<'_>, new: At<'_>, found: &mut Vec<String>) {
    let list = |at: At<'_>| at.value["parameters"].as_array().cloned().unwrap_or_default();
    let (before, after) = (list(old), list(new));
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
fn answer(path: &str, old: At<'_>, new: At<'_>, depth: usize, found: &mut Vec<String>) {
    if depth == 0 {
        return;
    }
    if !new.kinds().is_subset(&old.kinds()) && !old.kinds().is_empty() {
        found.push(format!("{path}: type"));
    }
    if let (Some(before), Some(after)) = (old.items(), new.items()) {
        answer(&format!("{path}[]"), old.of(before), new.of(after), depth - 1, found);
    }
    let (required, still) = (old.required(), new.required());
    for (name, before) in old.properties() {
        let path = format!("{path} {name}");
        match new.property(name) {
            Some(after) => {
                if required.contains(name) && !still.contains(name) {
                    found.push(format!("{path}: optional"));
                }
                answer(&path, old.of(before), new.of(after), depth - 1, found);
            }
            None => found.push(format!("{path}: removed")),
        }
    }
}

/// A client writes the request: what was taken must be taken still, and nothing more be required.
fn request(path: &str, old: At<'_>, new: At<'_>, depth: usize, found: &mut Vec<String>) {
    if depth == 0 {
        return;
    }
    if !old.kinds().is_subset(&new.kinds()) && !new.kinds().is_empty() {
        found.push(format!("{path}: type"));
    }
    if !old.values().is_subset(&new.values()) && !new.values().is_empty() {
        found.push(format!("{path}: values"));
    }
    if let (Some(before), Some(after)) = (old.items(), new.items()) {
        request(&format!("{path}[]"), old.of(before), new.of(after), depth - 1, found);
    }
    let known = old.required();
    for name in new.required().into_iter().filter(|name| !known.contains(name)) {
        found.push(format!("{path} {name}: required"));
    }
    for (name, before) in old.properties() {
        let path = format!("{path} {name}");
        match new.property(name) {
            Some(after) => request(&path, old.of(before), new.of(after), depth - 1, found),
            None => found.push(format!("{path}: removed")),
        }
    }
}
