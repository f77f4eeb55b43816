#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

use wit_component::{
    ComponentEncoder, DecodedWasm, StringEncoding, WitPrinter, decode, embed_component_metadata,
};
use wit_parser::{ManglingAndAbi, Resolve, WorldId};

use relevo_policy_sdk::testkit::{check, message};

use crate::{CASES, Expect, WRITTEN, distinct, many_functions, written};

#[path = "../guests/hostile/answers.rs"]
mod answers;

fn decoded(component: &[u8]) -> (Resolve, WorldId) {
    match decode(component).unwrap() {
        DecodedWasm::Component(resolve, world) => (resolve, world),
        DecodedWasm::WitPackage(..) => panic!("not a component"),
    }
}

/// The names of what a component exports.
fn exports(component: &[u8]) -> Vec<String> {
    let (resolve, world) = decoded(component);
    resolve.worlds[world].exports.keys().map(|key| resolve.name_world_key(key)).collect()
}

/// The interfaces of `relevo:policy` in a component, as WIT.
fn policy_package(component: &[u8]) -> String {
    let (resolve, _) = decoded(component);
    let (package, _) =
        resolve.packages.iter().find(|(_, p)| p.name.to_string() == "relevo:policy@0.1.0").unwrap();
    let mut printer = WitPrinter::default();
    printer.print(&resolve, package, &[]).unwrap();
    // Whether `decide` names the types again makes no difference to who calls it.
    printer.output.to_string().replace("  use types.{message, decision};\n\n", "")
}

/// A component of the world `policy` as the WIT has it.
fn real() -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/relevo-policy-0.1.0");
    let (package, _) = resolve.push_dir(wit).unwrap();
    let world = resolve.select_world(&[package], Some("policy")).unwrap();
    let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

#[test]
fn what_is_written_is_what_it_says() {
    for (name, _) in WRITTEN {
        let component = written(name).unwrap();
        match name {
            "core-module" => assert!(component.starts_with(b"\0asm\x01\0\0\0")),
            "wrong-world" => assert_eq!(exports(&component), ["somebody:else/greeter@1.0.0"]),
            "wrong-version" => assert_eq!(exports(&component), ["relevo:policy/decide@9.0.0"]),
            _ => assert_eq!(exports(&component), ["relevo:policy/decide@0.1.0"], "{name}"),
        }
    }
    assert!(written("none").is_err());
}

/// Only then are they good plugins up to their core module.
#[test]
fn the_written_types_are_those_of_the_package() {
    let real = policy_package(&real());
    for name in ["table-bomb", "huge-table", "huge-memory"] {
        assert_eq!(policy_package(&written(name).unwrap()), real, "{name}");
    }
    assert_ne!(policy_package(&written("wrong-types").unwrap()), real);
}

#[test]
fn distinct_ones_differ_and_are_the_same_plugin() {
    let plugin = written("table-bomb").unwrap();
    let all: BTreeSet<_> = (0..1_000).map(|n| distinct(&plugin, n)).collect();
    assert_eq!(all.len(), 1_000);
    for plugin in all.iter().step_by(333) {
        assert_eq!(exports(plugin), ["relevo:policy/decide@0.1.0"]);
    }
}

#[test]
fn functions_by_count() {
    for functions in [1, 127, 128, 100_000] {
        assert_eq!(exports(&many_functions(functions)), [] as [&str; 0], "{functions}");
    }
    assert!(many_functions(100_000).len() > 300_000);
}

#[test]
fn cases_have_names_of_their_own() {
    let names: BTreeSet<_> = CASES.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), CASES.len());
    // Each is in the source of the guest, or it would be nothing but an unknown case.
    let guest = [
        include_str!("../guests/hostile/main.rs"),
        include_str!("../guests/hostile/effort.rs"),
        include_str!("../guests/hostile/answers.rs"),
    ]
    .concat();
    for (name, _) in CASES.iter().filter(|(name, _)| *name != "none") {
        assert!(guest.contains(&format!("\"{name}\"")), "{name}");
    }
}

/// The rules as the test kit has them: what is said of an answer here is what they say.
#[test]
fn answers_break_rules_where_it_is_said() {
    let message = message("Subject: x\n\nx\n").recipient("a@x.test").recipient("b@x.test").build();
    let mut checked = 0;
    for (name, expect) in CASES {
        let Some(answer) = answers::of(name, &message) else { continue };
        let decision = answer.unwrap();
        match (expect, check(&message, &decision)) {
            (Expect::Used, Ok(())) | (Expect::Fault | Expect::Reply, Err(_)) => {}
            // What is too large is not a matter of rules but of limits.
            (Expect::Fault, Ok(())) if matches!(*name, "huge-result" | "reason-huge" | "headers-twice") => {}
            (expect, found) => panic!("{name}: {expect:?}, and the rules say {found:?}"),
        }
        checked += 1;
    }
    assert!(checked > 40, "{checked}");
}
