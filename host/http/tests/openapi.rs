//! The document of the API: the golden file, changes that break clients, and that it is served.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[path = "openapi/breaking.rs"]
mod breaking;

use std::path::{Path, PathBuf};
use std::process::Command;

use breaking::breaks;
use serde_json::{Value, json};

const GOLDEN: &str = "tests/golden/openapi.json";
const ACKNOWLEDGED: &str = "tests/golden/openapi.breaking";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// `RELEVO_UPDATE_GOLDEN=1` writes the file.
#[test]
fn the_golden_file_is_the_document() {
    let text = serde_json::to_string_pretty(relevo_http::document()).unwrap() + "\n";
    let path = root().join(GOLDEN);
    if std::env::var_os("RELEVO_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{GOLDEN} differs: run this test with RELEVO_UPDATE_GOLDEN=1 and look at the difference"
    );
}

/// The document at a commit; none if it had none.
fn document_at(commit: &str) -> Option<Value> {
    let shown = Command::new("git")
        .current_dir(root())
        .args(["show", &format!("{commit}:{GOLDEN}")])
        .output()
        .expect("git is needed to compare with earlier documents");
    shown.status.success().then(|| serde_json::from_slice(&shown.stdout).unwrap())
}

/// The last release, and the last commits.
fn commits() -> Vec<String> {
    let tag = Command::new("git")
        .current_dir(root())
        .args(["describe", "--tags", "--abbrev=0", "--match", "v*"])
        .output()
        .expect("git is needed to compare with earlier documents");
    let tag = tag.status.success().then(|| String::from_utf8(tag.stdout).unwrap().trim().to_owned());
    tag.into_iter().chain(["HEAD".to_owned(), "HEAD~1".to_owned()]).collect()
}

#[test]
fn what_breaks_clients_is_acknowledged() {
    let text = std::fs::read_to_string(root().join(ACKNOWLEDGED)).unwrap();
    let acknowledged: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for commit in commits() {
        let Some(before) = document_at(&commit) else { continue };
        let breaks = breaks(&before, relevo_http::document());
        let new: Vec<&String> = breaks.iter().filter(|line| !acknowledged.contains(&line.as_str())).collect();
        assert!(new.is_empty(), "since {commit} clients break; undo it, or add to {ACKNOWLEDGED}: {new:#?}");
    }
}

#[test]
fn every_kind_of_break_is_found() {
    let old = json!({
        "paths": {
            "/gone": {"get": {}},
            "/a": {
                "delete": {},
                "post": {
                    "parameters": [{"name": "q", "in": "query"}, {"name": "r", "in": "query"}],
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/In"}}}},
                    "responses": {
                        "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Out"}}}},
                        "202": {},
                    },
                },
            },
        },
        "components": {"schemas": {
            "In": {"type": "object", "required": ["a"], "properties": {
                "a": {"type": "string"}, "b": {"type": ["string", "null"]}, "c": {"enum": ["x", "y"]},
            }},
            "Out": {"type": "object", "required": ["list"], "properties": {
                "list": {"type": "array", "items": {"type": "object", "properties": {
                    "n": {"type": "integer"}, "m": {"type": "integer"},
                }}},
            }},
        }},
    });
    assert_eq!(breaks(&old, &old), Vec::<String>::new());
    let document = relevo_http::document();
    assert_eq!(breaks(document, document), Vec::<String>::new());
    let mut new = old.clone();
    new["paths"].as_object_mut().unwrap().remove("/gone");
    new["paths"]["/a"].as_object_mut().unwrap().remove("delete");
    let post = &mut new["paths"]["/a"]["post"];
    post["parameters"] = json!([{"name": "q", "in": "query", "required": true}]);
    post["requestBody"]["required"] = json!(true);
    post["responses"].as_object_mut().unwrap().remove("202");
    let schemas = &mut new["components"]["schemas"];
    schemas["In"] = json!({"type": "object", "required": ["a", "d"], "properties": {
        "a": {"type": "integer"}, "c": {"enum": ["x"]}, "d": {"type": "string"},
    }});
    schemas["Out"]["required"] = json!([]);
    schemas["Out"]["properties"]["list"]["items"]["properties"] = json!({"n": {"type": ["integer", "null"]}});
    assert_eq!(
        breaks(&old, &new),
        [
            "DELETE /a: removed",
            "GET /gone: removed",
            "POST /a 200 list: optional",
            "POST /a 200 list[] m: removed",
            "POST /a 200 list[] n: type",
            "POST /a 202: removed",
            "POST /a body a: type",
            "POST /a body b: removed",
            "POST /a body c: values",
            "POST /a body d: required",
            "POST /a body: required",
            "POST /a parameter q: required",
            "POST /a parameter r: removed",
        ]
    );
}

/// Every reference leads somewhere, and every operation says what it is and how it fails.
#[test]
fn the_document_is_whole() {
    let document = relevo_http::document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut references = Vec::new();
    collect(document, &mut references);
    for reference in references {
        assert!(
            document.pointer(reference.strip_prefix('#').unwrap()).is_some(),
            "{reference} leads nowhere"
        );
    }
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap()),
                "{method} {path}: the id is there twice"
            );
            let name = format!("{method} {path}");
            assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{name} has no summary");
            assert!(operation["tags"][0].is_string(), "{name} has no tag");
            assert!(operation["responses"]["401"].is_object(), "{name} has no 401");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.keys().any(|status| status.starts_with('2')), "{name} never succeeds");
        }
    }
}

#[test]
fn events_have_their_names() {
    let events = &relevo_http::document()["components"]["schemas"]["Event"]["oneOf"];
    let names: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["allOf"][1]["properties"]["type"]["enum"][0].as_str().unwrap())
        .collect();
    assert_eq!(names, relevo_mailkit::event::Event::NAMES);
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            references.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| collect(value, references));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

/// The routes of the router, as its source has them, are the operations of the document.
#[test]
fn every_route_is_documented() {
    let source = std::fs::read_to_string(root().join("host/http/src/api/mod.rs")).unwrap();
    assert!(!source.contains(".merge("), "routes of a merged router are not seen: list them");
    let mut routes = Vec::new();
    for route in source.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once('"').unwrap();
        for method in METHODS.into_iter().filter(|method| rest_of(rest).contains(&format!("{method}("))) {
            routes.push(format!("{method} {path}"));
        }
    }
    assert!(routes.len() > 30, "{routes:?}");
    let paths = relevo_http::document()["paths"].as_object().unwrap();
    let mut documented: Vec<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    routes.sort();
    documented.sort();
    assert_eq!(routes, documented);
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// What belongs to one route: up to the next one.
fn rest_of(source: &str) -> &str {
    source.split("\n        .").next().unwrap_or(source)
}
