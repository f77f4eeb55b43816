//! Every case natively and in the sandbox: the same octets, and those that the files say. `BLESS=1`
//! writes the files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use relevo_runtime::{Runtime, RuntimeConfig, Stage};
use relevo_scenarios::cases::Case;
use relevo_scenarios::native::NativeStages;
use relevo_scenarios::root;

/// Fewer cases than this say little about a stage.
const ENOUGH: usize = 30;

fn runtime() -> Arc<Runtime> {
    Runtime::new(RuntimeConfig::beside_executable()).unwrap()
}

fn run(stage: Stage) {
    let bless = std::env::var_os("BLESS").is_some();
    let runtime = runtime();
    let cases = Case::all(&root().join("tests/cases"), stage).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let native = case.run(&NativeStages).unwrap();
        let sandboxed = case.run(runtime.as_ref()).unwrap();
        if native != sandboxed {
            wrong.push(format!("{}: natively\n{native:#?}\nin the sandbox\n{sandboxed:#?}", case.name()));
        } else if let Err(difference) = native.check(case, bless) {
            wrong.push(format!("{difference:#}"));
        }
    }
    println!("cases {}: {}", stage.name(), cases.len());
    assert!(wrong.is_empty(), "{} of {} differ\n\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
    assert!(cases.len() >= ENOUGH, "{} has {} cases, {ENOUGH} are the least", stage.name(), cases.len());
}

#[test]
fn validate() {
    run(Stage::Validate);
}

#[test]
fn track() {
    run(Stage::Track);
}

#[test]
fn dkim() {
    run(Stage::Dkim);
}

#[test]
fn reports() {
    run(Stage::Reports);
}

#[test]
fn content() {
    run(Stage::Content);
}

#[test]
fn template() {
    run(Stage::Template);
}
