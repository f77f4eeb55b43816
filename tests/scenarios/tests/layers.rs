//! Who may know whom: components know no host, leaves do not know each other, one crate knows
//! wasmtime.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use relevo_scenarios::root;

const COMPONENTS: [&str; 19] = [
    "relevo-content",
    "relevo-addresses",
    "relevo-mailkit",
    "relevo-api",
    "relevo-pages",
    "relevo-submission",
    "relevo-validate",
    "relevo-track",
    "relevo-template",
    "relevo-dkim",
    "relevo-classify",
    "relevo-reports",
    "relevo-doctor",
    "relevo-signer",
    "relevo-gateway",
    "relevo-gateway-spin",
    "relevo-policy-sdk",
    "relevo-block-list",
    "relevo-campaign-hold",
];

/// Pure crates that all may know.
const OPEN: [&str; 5] =
    ["relevo-api", "relevo-doctor", "relevo-mailkit", "relevo-pages", "relevo-submission"];

/// The arrows. What is not here is not allowed; `relevo-mailkit` and `relevo-submission` are open
/// to all.
const ARROWS: &[(&str, &[&str])] = &[
    ("relevo-mailkit", &[]),
    ("relevo-addresses", &[]),
    ("relevo-content", &[]),
    ("relevo-api", &[]),
    ("relevo-pages", &[]),
    ("relevo-submission", &[]),
    ("relevo-validate", &[]),
    ("relevo-track", &[]),
    ("relevo-template", &[]),
    ("relevo-dkim", &[]),
    ("relevo-classify", &[]),
    ("relevo-reports", &[]),
    ("relevo-doctor", &[]),
    ("relevo-signer", &[]),
    ("relevo-gateway", &[]),
    ("relevo-gateway-spin", &[]),
    ("relevo-policy-sdk", &[]),
    ("relevo-block-list", &["relevo-policy-sdk"]),
    ("relevo-campaign-hold", &["relevo-policy-sdk"]),
    ("relevo-proto", &[]),
    ("relevo-queue", &[]),
    ("relevo-cluster", &["relevo-delivery", "relevo-queue"]),
    ("relevo-resolve", &[]),
    ("relevo-keys", &[]),
    ("relevo-fetch", &["relevo-resolve"]),
    ("relevo-panel", &["relevo-charts", "relevo-relay"]),
    ("relevo-providers", &[]),
    ("relevo-charts", &[]),
    ("relevo-statistics", &["relevo-providers", "relevo-queue", "relevo-store"]),
    ("relevo-store", &[]),
    ("relevo-webhooks", &["relevo-fetch", "relevo-queue", "relevo-store"]),
    ("relevo-tls", &["relevo-fetch", "relevo-resolve", "relevo-smtp", "relevo-store"]),
    ("relevo-runtime", &[]),
    ("relevo-smtp", &["relevo-proto"]),
    (
        "relevo-delivery",
        &["relevo-providers", "relevo-queue", "relevo-resolve", "relevo-runtime", "relevo-smtp"],
    ),
    (
        "relevo-relay",
        &[
            "relevo-addresses",
            "relevo-delivery",
            "relevo-fetch",
            "relevo-queue",
            "relevo-resolve",
            "relevo-keys",
            "relevo-runtime",
            "relevo-smtp",
            "relevo-store",
        ],
    ),
    ("relevo-policy", &["relevo-relay", "relevo-queue", "relevo-runtime", "relevo-smtp", "relevo-store"]),
    (
        "relevo-http",
        &["relevo-panel", "relevo-relay", "relevo-queue", "relevo-statistics", "relevo-webhooks"],
    ),
    (
        "relevo",
        &[
            "relevo-classify",
            "relevo-cluster",
            "relevo-relay",
            "relevo-fetch",
            "relevo-http",
            "relevo-policy",
            "relevo-queue",
            "relevo-resolve",
            "relevo-keys",
            "relevo-runtime",
            "relevo-smtp",
            "relevo-statistics",
            "relevo-store",
            "relevo-tls",
            "relevo-webhooks",
        ],
    ),
];

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap()
}

/// What is shipped. The crates under `tests` may know everybody.
fn shipped(metadata: &Metadata) -> impl Iterator<Item = &Package> {
    let tests = root().join("tests");
    metadata.packages.iter().filter(move |package| !package.manifest_path.starts_with(&tests))
}

fn names(package: &Package, kinds: &[DependencyKind]) -> BTreeSet<String> {
    package.dependencies.iter().filter(|d| kinds.contains(&d.kind)).map(|d| d.name.clone()).collect()
}

const SHIPPED: [DependencyKind; 2] = [DependencyKind::Normal, DependencyKind::Build];

#[test]
fn arrows_go_one_way() {
    let metadata = metadata();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    for package in shipped(&metadata) {
        let name = package.name.as_str();
        let allowed = arrows.get(name).unwrap_or_else(|| panic!("{name} has no place in ARROWS"));
        for dependency in names(package, &SHIPPED).iter().filter(|d| ours.contains(d.as_str())) {
            let known = OPEN.contains(&dependency.as_str()) || allowed.contains(&dependency.as_str());
            assert!(known, "{name} must not know {dependency}");
        }
    }
    for name in arrows.keys() {
        assert!(ours.contains(name), "{name} is in ARROWS but not in the workspace");
    }
}

#[test]
fn components_know_no_host_even_in_tests() {
    let metadata = metadata();
    let host: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|p| p.name.as_str())
        .filter(|name| name.starts_with("relevo") && !COMPONENTS.contains(name))
        .collect();
    for package in metadata.packages.iter().filter(|p| COMPONENTS.contains(&p.name.as_str())) {
        let all =
            names(package, &[DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development]);
        for dependency in all {
            assert!(!host.contains(dependency.as_str()), "{} must not know {dependency}", package.name);
            assert_ne!(dependency, "tokio", "{} is no place for IO", package.name);
        }
    }
}

#[test]
fn one_crate_knows_wasmtime_and_none_of_the_host_parses_mail() {
    for package in shipped(&metadata()) {
        let name = package.name.as_str();
        let shipped = names(package, &SHIPPED);
        let engine = shipped.iter().any(|d| d.starts_with("wasmtime"));
        assert_eq!(engine, name == "relevo-runtime", "{name} and wasmtime");
        if !COMPONENTS.contains(&name) {
            for parser in
                ["mail-auth", "mail-parser", "mail-builder", "lol_html", "html5ever", "minijinja", "mrml"]
            {
                assert!(!shipped.contains(parser), "{name} parses content with {parser}");
            }
        }
    }
}

/// The root for Spin is made of the sources of the gateway.
#[test]
fn both_roots_have_the_same_dependencies() {
    let metadata = metadata();
    let dependencies = |name: &str| -> BTreeSet<(String, String)> {
        let package = metadata.packages.iter().find(|package| package.name.as_str() == name).unwrap();
        let all =
            package.dependencies.iter().map(|d| (d.name.clone(), format!("{:?} {:?}", d.kind, d.target)));
        all.collect()
    };
    assert_eq!(dependencies("relevo-gateway"), dependencies("relevo-gateway-spin"));
}
