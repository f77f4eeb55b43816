//! The projects that `relevo plugin new` writes are whole.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../starters/files.rs"]
mod files;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use files::{File, JS, PYTHON, RUST};

fn paths(starter: &[&[File]]) -> BTreeSet<String> {
    starter.iter().flat_map(|files| files.iter()).map(|(path, _)| (*path).to_owned()).collect()
}

/// The files below a directory, by path from there.
fn below(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.insert(path.strip_prefix(directory).unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn nothing_of_the_interfaces_is_missing() {
    for package in ["relevo-policy-0.1.0", "relevo-host-0.1.0"] {
        for file in below(&here().join("../../wit").join(package)) {
            assert!(paths(RUST).contains(&format!("wit/{package}/{file}")), "{file}");
            for starter in [JS, PYTHON] {
                assert!(paths(starter).contains(&format!("wit/deps/{package}/{file}")), "{file}");
            }
        }
    }
}

#[test]
fn nothing_of_the_sdk_is_missing() {
    for file in below(&here().join("src")) {
        assert!(paths(RUST).contains(&format!("vendor/relevo-policy-sdk/src/{file}")), "{file}");
    }
}

#[test]
fn nothing_of_the_templates_is_missing() {
    for (language, starter) in [("rust", RUST), ("js", JS), ("python", PYTHON)] {
        let templates = below(&here().join("starters").join(language));
        for template in &templates {
            let path = match template.as_str() {
                "gitignore" => ".gitignore",
                "sdk.toml" => "vendor/relevo-policy-sdk/Cargo.toml",
                "world.wit" => "wit/world.wit",
                same => same,
            };
            assert!(paths(starter).contains(path), "{language}/{template}");
        }
        assert!(starter.iter().flat_map(|files| files.iter()).all(|(path, text)| {
            !text.is_empty() && !path.starts_with('/') && !path.split('/').any(|part| part == "..")
        }));
    }
}

/// The SDK in a project asks for the bindings that the SDK asks for here.
#[test]
fn the_vendored_sdk_has_the_same_bindings() {
    let line = |path: &str| {
        let text = fs::read_to_string(here().join(path)).unwrap();
        text.lines().find(|line| line.starts_with("wit-bindgen = ")).unwrap().to_owned()
    };
    assert_eq!(line("starters/rust/sdk.toml"), line("../../Cargo.toml"));
}
