//! The public packages: complete, with prose, one world for each combination, and as they were
//! released.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{Function, ManglingAndAbi, PackageId, Resolve};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Both packages; neither needs the other.
fn resolve() -> (Resolve, PackageId, PackageId) {
    let mut resolve = Resolve::default();
    let (policy, _) = resolve.push_dir(root().join("wit/relevo-policy-0.1.0")).unwrap();
    let (host, _) = resolve.push_dir(root().join("wit/relevo-host-0.1.0")).unwrap();
    (resolve, policy, host)
}

const OPTIONAL: [&str; 3] = ["inspect", "observe", "configure"];

/// The world for these optional exports.
fn world_name(exports: &[&str]) -> String {
    std::iter::once("policy").chain(exports.iter().copied()).collect::<Vec<_>>().join("-")
}

#[test]
fn one_world_for_each_combination() {
    let (resolve, policy, _) = resolve();
    let mut names = BTreeSet::new();
    for combination in 0..8 {
        let exports: Vec<_> =
            (0..3).filter(|bit| combination & (1 << bit) != 0).map(|bit| OPTIONAL[bit]).collect();
        let name = world_name(&exports);
        let world = resolve.select_world(&[policy], Some(&name)).unwrap();
        let found: BTreeSet<_> =
            resolve.worlds[world].exports.keys().map(|key| resolve.name_world_key(key)).collect();
        let wanted: BTreeSet<_> =
            exports.iter().chain(&["decide"]).map(|e| format!("relevo:policy/{e}@0.1.0")).collect();
        assert_eq!(found, wanted, "{name}");
        names.insert(name);
    }
    let all: BTreeSet<_> = resolve.packages[policy].worlds.keys().cloned().collect();
    assert_eq!(all, names);
}

#[test]
fn every_world_makes_a_valid_component() {
    let (resolve, policy, _) = resolve();
    for (name, world) in &resolve.packages[policy].worlds {
        let mut module = dummy_module(&resolve, *world, ManglingAndAbi::Standard32);
        embed_component_metadata(&mut module, &resolve, *world, StringEncoding::UTF8, false).unwrap();
        let component = ComponentEncoder::default().module(&module).unwrap().validate(true).encode();
        assert!(component.is_ok(), "{name}: {:?}", component.err());
        let imports: Vec<_> =
            resolve.worlds[*world].imports.keys().map(|key| resolve.name_world_key(key)).collect();
        assert_eq!(imports, ["relevo:policy/types@0.1.0"], "{name}");
    }
}

#[test]
fn the_packages_have_their_names_and_capabilities() {
    let (resolve, policy, host) = resolve();
    assert_eq!(resolve.packages[policy].name.to_string(), "relevo:policy@0.1.0");
    assert_eq!(resolve.packages[host].name.to_string(), "relevo:host@0.1.0");
    let capabilities: BTreeSet<_> = resolve.packages[host].interfaces.keys().map(String::as_str).collect();
    assert_eq!(capabilities, BTreeSet::from(["clock", "kv", "log", "signer"]));
}

/// Packages, interfaces, functions and worlds say what they are for.
#[test]
fn everything_that_is_called_is_described() {
    let (resolve, policy, host) = resolve();
    let words =
        |docs: &wit_parser::Docs| docs.contents.as_deref().unwrap_or_default().split_whitespace().count();
    for package in [policy, host] {
        let package = &resolve.packages[package];
        assert!(words(&package.docs) > 50, "{}", package.name);
        for (name, id) in &package.interfaces {
            let interface = &resolve.interfaces[*id];
            // An interface of one capability may leave the words to its function.
            let functions: usize = interface.functions.values().map(|f: &Function| words(&f.docs)).sum();
            assert!(
                words(&interface.docs) >= 2
                    && words(&interface.docs) + functions + interface.types.len() > 15,
                "{name}"
            );
            for (function, f) in &interface.functions {
                assert!(words(&f.docs) >= 5, "{name}.{function}");
            }
        }
        for (name, id) in &package.worlds {
            assert!(words(&resolve.worlds[*id].docs) > 0, "{name}");
        }
    }
}

/// Plugins that are out there were built against this text. It is not edited: a change is a new
/// version in a folder of its own.
#[test]
fn released_text_does_not_change() {
    for package in ["relevo-policy-0.1.0", "relevo-host-0.1.0"] {
        let files = |directory: PathBuf| -> Vec<(String, String)> {
            let mut files: Vec<_> = fs::read_dir(directory)
                .unwrap()
                .map(|entry| {
                    let path = entry.unwrap().path();
                    (
                        path.file_name().unwrap().to_string_lossy().into_owned(),
                        fs::read_to_string(path).unwrap(),
                    )
                })
                .collect();
            files.sort();
            files
        };
        let now = files(root().join("wit").join(package));
        let released = files(root().join("tests/golden/wit").join(package));
        assert!(!released.is_empty());
        let names = |files: &[(String, String)]| files.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(&now), names(&released), "{package}: other files than were released");
        for ((name, text), (_, released)) in now.iter().zip(&released) {
            assert!(text == released, "{package}/{name} is not what was released");
        }
    }
}
