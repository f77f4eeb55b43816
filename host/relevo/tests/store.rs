//! `relevo store` with the real binary: beside a running relay, into another place.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;
use support::relay::{Relay, relevo};
use support::sink::Sink;

fn store(command: &str, file: &Path, config: &Path) -> (bool, String) {
    let (file, config) = (file.to_str().unwrap(), config.to_str().unwrap());
    relevo(&["store", command, file, "--config", config], "")
}

#[test]
fn a_running_relays_store_moves_to_another_place_with_its_keys() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", false);
    let (status, made) = relay.call("POST", "/domains", &json!({ "name": "shop.example" }));
    assert_eq!(status, 201, "{made}");
    let (status, made) = relay.call("POST", "/api-keys", &json!({ "name": "moved" }));
    assert_eq!(status, 201, "{made}");
    let export = relay.folder.join("control.jsonl");
    let (done, said) = store("export", &export, &relay.config());
    assert!(done && said.contains("exported") && said.contains("files"), "{said}");
    assert_eq!(fs::metadata(&export).unwrap().permissions().mode() & 0o777, 0o600);
    let (done, said) = store("export", &export, &relay.config());
    assert!(!done && said.contains("cannot be made"), "nothing is overwritten: {said}");

    let text = fs::read_to_string(relay.config()).unwrap();
    let other = relay.folder.join("other.toml");
    fs::write(&other, text.replace("data_dir = \"data\"", "data_dir = \"other\"")).unwrap();
    let (done, said) = store("import", &export, &relay.config());
    assert!(!done && said.contains("a relay runs on"), "{said}");
    let cut = relay.folder.join("cut.jsonl");
    let whole = fs::read(&export).unwrap();
    fs::write(&cut, &whole[..whole.len() - 9]).unwrap();
    let (done, said) = store("import", &cut, &other);
    assert!(!done && said.contains("cut short"), "{said}");
    let (done, said) = store("import", &export, &other);
    assert!(done && said.contains("imported"), "{said}");
    let (done, said) = store("import", &export, &other);
    assert!(!done && said.contains("is not empty"), "{said}");

    let keys = |of: &str| -> Vec<(String, Vec<u8>)> {
        let folder = relay.folder.join(of).join("dkim");
        let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        found.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
    };
    assert_eq!(keys("data").len(), 1);
    assert_eq!(keys("data"), keys("other"));
    let tracking = |of: &str| fs::read(relay.folder.join(of).join("tracking.key")).unwrap();
    assert_eq!(tracking("data"), tracking("other"));
    let config = other.to_str().unwrap();
    let (done, said) = relevo(&["api-key", "list", "--config", config, "--tenant", "acme"], "");
    assert!(done && said.contains("moved"), "{said}");
    let (done, said) = relevo(&["domain", "list", "--config", config, "--tenant", "acme"], "");
    assert!(done && said.contains("shop.example"), "{said}");
    // The same again, by a pipe.
    let (done, piped) = relevo(&["store", "export", "-", "--config", config], "");
    assert!(done, "{piped}");
    let third = relay.folder.join("third.toml");
    fs::write(&third, text.replace("data_dir = \"data\"", "data_dir = \"third\"")).unwrap();
    let lines: String =
        piped.lines().filter(|line| line.starts_with(['{', '['])).map(|l| format!("{l}\n")).collect();
    let (done, said) = relevo(&["store", "import", "-", "--config", third.to_str().unwrap()], &lines);
    assert!(done, "{said}");
    assert_eq!(keys("data"), keys("third"));
    relay.stop();
}
