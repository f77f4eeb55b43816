//! The cache gives back what was put in, and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::guests::dummy;
use crate::cache::Cache;
use crate::{Stage, StageLimits, engine};

fn entries(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
}

#[test]
fn a_compiled_component_is_kept_and_checked() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cache");
    let cache = Cache::open(&directory).unwrap();
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);

    let engine = engine::lean(&StageLimits::default(), 1).unwrap();
    let component = dummy(Stage::Dkim);
    let load = || {
        cache
            .load(&engine, "dkim", &component.sha256, || engine.precompile_component(component.wasm))
            .map(|_| ())
            .unwrap()
    };
    load();
    let [entry] = entries(&directory, "cwasm").try_into().unwrap();
    let original = fs::read(&entry).unwrap();
    let written = fs::metadata(&entry).unwrap().modified().unwrap();
    load();
    assert_eq!(fs::metadata(&entry).unwrap().modified().unwrap(), written, "a good entry is used as it is");

    let mut flipped = original.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for broken in [&flipped[..], &original[..middle], b"", b"\x7fELF"] {
        fs::write(&entry, broken).unwrap();
        load();
        assert_eq!(fs::read(&entry).unwrap(), original, "a broken entry is replaced");
    }
    let [checksum] = entries(&directory, "sha256").try_into().unwrap();
    fs::remove_file(&checksum).unwrap();
    load();
    assert!(checksum.exists(), "an entry without its checksum is not trusted");
}

#[test]
fn another_component_or_configuration_is_another_entry() {
    let parent = tempfile::tempdir().unwrap();
    let cache = Cache::open(&parent.path().join("cache")).unwrap();
    let engine = engine::lean(&StageLimits::default(), 1).unwrap();
    for stage in [Stage::Dkim, Stage::Template] {
        let component = dummy(stage);
        cache
            .load(&engine, "same", &component.sha256, || engine.precompile_component(component.wasm))
            .unwrap();
    }
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(false);
    let other = wasmtime::Engine::new(&config).unwrap();
    let component = dummy(Stage::Dkim);
    cache.load(&other, "same", &component.sha256, || other.precompile_component(component.wasm)).unwrap();
    assert_eq!(entries(&parent.path().join("cache"), "cwasm").len(), 3);
}

#[test]
fn a_directory_open_to_others_is_not_used() {
    let parent = tempfile::tempdir().unwrap();
    for mode in [0o755, 0o770, 0o707] {
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert!(Cache::open(parent.path()).is_err());
    }
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(Cache::open(parent.path()).is_ok());
    let link = parent.path().join("link");
    std::os::unix::fs::symlink(parent.path(), &link).unwrap();
    assert!(Cache::open(&link).is_err(), "what a link points to can change");
}
