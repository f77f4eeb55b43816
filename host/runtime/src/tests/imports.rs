//! The pinned lists.

use std::fmt::Write as _;
use std::path::Path;

use wasmtime::component::Component;

use crate::components::embedded;
use crate::imports::imported_functions;
use crate::{Stage, StageLimits, components_are_stale, engine};

/// Each list is exactly what its component imports: an import that went away is taken off, a new
/// one is looked at. `BLESS=1` writes the lists.
#[test]
fn imports_are_pinned() {
    let engine = engine::lean(&StageLimits::default(), 1).unwrap();
    for stage in Stage::ALL.into_iter().chain([Stage::Classify]) {
        let wasm = embedded(stage).expect("components: run `cargo xtask build`").wasm;
        let component = Component::from_binary(&engine, wasm).unwrap();
        let found =
            imported_functions(&engine, &component).into_iter().fold(String::new(), |mut list, name| {
                writeln!(list, "{name}").unwrap();
                list
            });
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{}.txt", stage.name()));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), found, "{}", path.display());
    }
}

/// Results of tests on old guests are about old guests.
#[test]
fn the_components_are_those_of_the_sources() {
    assert!(!components_are_stale(), "run `cargo xtask build`");
}
