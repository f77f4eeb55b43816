//! The WIT packages that are ours: valid, complete, and with prose.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use relevo_scenarios::root;
use wit_parser::{Resolve, WorldItem};

fn resolve() -> (Resolve, wit_parser::PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit/relevo-mail")).unwrap();
    (resolve, package)
}

#[test]
fn the_package_has_its_name_and_its_worlds() {
    let (resolve, package) = resolve();
    assert_eq!(resolve.packages[package].name.to_string(), "relevo:mail@0.1.0");
    for stage in ["validate", "track", "dkim", "template", "reports", "content"] {
        let world = resolve.select_world(&[package], Some(&format!("{stage}-stage"))).unwrap();
        let exports: Vec<_> =
            resolve.worlds[world].exports.keys().map(|key| resolve.name_world_key(key)).collect();
        assert_eq!(exports, [format!("relevo:mail/{stage}@0.1.0")]);
    }
}

/// A dependency of a Spin component must import nothing but WASI: a stage may import types of ours,
/// never a function.
#[test]
fn stages_import_no_function_of_ours() {
    let (resolve, package) = resolve();
    for world in resolve.packages[package].worlds.values().map(|id| &resolve.worlds[*id]) {
        for (key, item) in &world.imports {
            let WorldItem::Interface { id, .. } = item else {
                panic!("{} imports {}", world.name, resolve.name_world_key(key));
            };
            let functions = &resolve.interfaces[*id].functions;
            assert!(functions.is_empty(), "{} imports {}", world.name, resolve.name_world_key(key));
        }
    }
}

#[test]
fn every_interface_is_described() {
    let (resolve, package) = resolve();
    assert!(!resolve.packages[package].interfaces.is_empty());
    for (name, id) in &resolve.packages[package].interfaces {
        let words =
            resolve.interfaces[*id].docs.contents.as_deref().unwrap_or_default().split_whitespace().count();
        assert!(words >= 5, "interface {name} has no description");
    }
}

/// The gateway imports stages and the signer, and nothing that a host would have to offer.
#[test]
fn the_edge_imports_what_a_composition_plugs() {
    let (mut resolve, _) = resolve();
    resolve.push_dir(root().join("wit/relevo-host-0.1.0")).unwrap();
    let (edge, _) = resolve.push_dir(root().join("wit/relevo-edge")).unwrap();
    assert_eq!(resolve.packages[edge].name.to_string(), "relevo:edge@0.1.0");
    let world = |name: &str| &resolve.worlds[resolve.select_world(&[edge], Some(name)).unwrap()];
    let gateway = world("gateway");
    let called = gateway.imports.iter().filter(|(_, item)| {
        matches!(item, WorldItem::Interface { id, .. } if !resolve.interfaces[*id].functions.is_empty())
    });
    let called: Vec<_> = called.map(|(key, _)| resolve.name_world_key(key)).collect();
    let signer = "relevo:host/signer@0.1.0";
    assert_eq!(called, ["relevo:mail/template@0.1.0", "relevo:mail/dkim@0.1.0", signer]);
    let exports: Vec<_> =
        world("signer-stage").exports.keys().map(|key| resolve.name_world_key(key)).collect();
    assert_eq!(exports, [signer]);
}
