//! What is refused before it runs.

use super::*;

#[test]
fn an_inventory_is_what_a_component_has() {
    let found = inspect(&octets("everything")).unwrap();
    for export in [Export::Configure, Export::Decide, Export::Inspect, Export::Observe] {
        assert!(found.exports(export), "{export:?}");
    }
    assert!(found.imports.iter().any(|import| import == "relevo:host/kv@0.1.0"), "{:?}", found.imports);
    found.check(&UploadBounds::default(), Class::Small, &PluginLimits::of(Class::Small)).unwrap();
    let plain = inspect(&octets("accept-all")).unwrap();
    assert!(plain.exports(Export::Decide) && !plain.exports(Export::Inspect));
    assert!(plain.functions > 10 && plain.memory > 0 && plain.modules > 0, "{plain:?}");
}

#[test]
fn what_is_too_much_is_refused_before_a_compiler_sees_it() {
    let limits = PluginLimits::of(Class::Small);
    let check = |octets: &[u8], bounds| inspect(octets).unwrap().check(&bounds, Class::Small, &limits);
    let refused = |octets: &[u8]| check(octets, UploadBounds::default()).unwrap_err();
    assert!(refused(&relevo_test_plugins::many_functions(100_000)).contains("functions"));
    assert!(refused(&octets("huge-memory")).contains("octets of memory"));
    assert!(refused(&octets("huge-table")).contains("elements of tables"));
    assert!(refused(&octets("wrong-version")).contains("relevo:policy/decide@9.0.0"));
    assert!(refused(&octets("wrong-world")).contains("does not export"));
    let large = UploadBounds { octets: 1_000, ..UploadBounds::default() };
    assert!(check(&octets("accept-all"), large).unwrap_err().contains("octets"));
}

/// A component of so many core modules with a memory each, and so many instances of each of them.
fn of_many(modules: usize, instances: usize) -> Vec<u8> {
    let module = |n: usize| format!("(core module $m{n} (memory 1))\n");
    let instance = |n: usize| format!("(core instance (instantiate $m{n}))\n").repeat(instances);
    let all: String = (0..modules).map(|n| module(n) + &instance(n)).collect();
    wat::parse_str(format!("(component {all})")).unwrap()
}

#[test]
fn what_class_small_does_not_hold_is_refused_with_the_class_that_does() {
    let check = |octets: &[u8], class| {
        inspect(octets).unwrap().check(&UploadBounds::default(), class, &PluginLimits::of(class)).unwrap_err()
    };
    for (modules, instances, what) in [(3, 1, "3 memories, 2 are"), (1, 17, "17 core instances, 16 are")] {
        let octets = of_many(modules, instances);
        let small = check(&octets, Class::Small);
        assert!(small.contains(what) && small.contains("class = \"large\""), "{small}");
        assert!(check(&octets, Class::Large).contains("does not export"));
    }
}

/// As when the class of one that is in use is changed.
#[test]
fn what_is_compiled_and_does_not_fit_is_not_to_be_compiled_again() {
    let bench = bench();
    let octets = of_many(3, 1);
    let digest = Sha256::digest(&octets).into();
    bench.engine.keep(&digest, &compile(&octets).unwrap()).unwrap();
    let refused = bench.engine.load(digest, config("three-memories"));
    assert!(matches!(refused, Err(PluginError::Class)));
    // The other class holds it, and finds that it is no plugin.
    let large = PluginConfig { class: Class::Large, ..config("three-memories") };
    assert!(matches!(bench.engine.load(digest, large), Err(PluginError::Type(_))));
}

#[test]
fn what_is_no_component_is_told() {
    assert!(inspect(&octets("core-module")).unwrap_err().to_string().contains("core module"));
    let whole = octets("accept-all");
    for cut in [0, 1, 7, 9, 100, whole.len() / 2, whole.len() - 1] {
        assert!(inspect(&whole[..cut]).is_err(), "cut at {cut}");
    }
    assert!(compile(&whole[..whole.len() / 2]).is_err());
    assert!(compile(&octets("core-module")).is_err());
}

#[test]
fn imports_that_are_not_granted_are_named() {
    let nothing = CapabilityGrants(Default::default());
    let denied = audit(&inspect(&octets("everything")).unwrap(), &nothing).unwrap_err();
    let mut names: Vec<_> = denied.iter().map(|denied| denied.import.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["relevo:host/clock@0.1.0", "relevo:host/kv@0.1.0", "relevo:host/log@0.1.0"]);
    let all = CapabilityGrants(Capability::ALL.into());
    assert_eq!(audit(&inspect(&octets("everything")).unwrap(), &all), Ok(()));
    assert_eq!(audit(&inspect(&octets("accept-all")).unwrap(), &nothing), Ok(()));
    for name in ["sockets", "not-granted"] {
        let denied = audit(&inspect(&octets(name)).unwrap(), &all).unwrap_err();
        assert!(denied.iter().all(|denied| denied.reason == DeniedReason::Never), "{name}: {denied:?}");
    }
}

#[test]
fn the_audit_is_repeated_when_it_is_loaded() {
    let bench = bench();
    let error =
        bench.try_load("everything", |config| config.grants = CapabilityGrants::default()).err().unwrap();
    assert!(matches!(&error, PluginError::Denied(denied) if denied.len() == 1), "{error}");
    assert_eq!(
        error.to_string(),
        "imports relevo:host/kv@0.1.0, and `kv` is not granted: `grants` of its [[tenant.plugin]] says what is"
    );
    assert!(matches!(bench.try_load("sockets", |_| {}), Err(PluginError::Denied(_))));
}

#[test]
fn what_is_no_plugin_is_not_loaded() {
    let bench = bench();
    for name in ["wrong-world", "wrong-version", "huge-table"] {
        assert!(bench.try_load(name, |_| {}).is_err(), "{name}");
    }
    assert!(matches!(bench.engine.load([7; 32], config("x")), Err(PluginError::NotCompiled)));
    let settings = vec![Attribute::new("a", "b")];
    let refused = bench.try_load("accept-all", |config| config.settings = settings);
    assert!(matches!(refused, Err(PluginError::NoSettings)));
    let refused = bench.try_load("accept-all", |config| config.limits.memory = 17 << 20);
    assert!(matches!(refused, Err(PluginError::Limit(_))));
}

/// They link, for only the types differ: the self-test finds them.
#[tokio::test]
async fn wrong_types_and_too_much_memory_fail_the_self_test() {
    let bench = bench();
    for (name, class) in
        [("wrong-types", Class::Small), ("huge-memory", Class::Large), ("huge-table", Class::Large)]
    {
        let plugin = bench.try_load(name, |config| config.class = class).unwrap();
        let fault = plugin.configure(NOW, None).await.result.unwrap_err();
        assert_eq!((fault.export, fault.blame), (Export::Start, crate::Blame::Guest), "{name}: {fault}");
    }
}

#[test]
fn code_that_was_changed_on_disk_is_not_loaded() {
    let cache = tempfile::tempdir().unwrap();
    let directory = cache.path().join("plugins");
    let engine = PolicyEngine::new(&EngineConfig { threads: 1, ..EngineConfig::new(&directory) }).unwrap();
    let (digest, code) = compiled("accept-all");
    engine.keep(&digest, &code).unwrap();
    engine.load(digest, config("a")).map(drop).unwrap();
    let file = std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|e| e == "cwasm")).unwrap();
    let mut changed = std::fs::read(&file).unwrap();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&file, changed).unwrap();
    assert!(matches!(engine.load(digest, config("a")), Err(PluginError::NotCompiled)));
    engine.keep(&digest, &code).unwrap();
    engine.load(digest, config("a")).map(drop).unwrap();
    engine.forget(&digest).unwrap();
    assert!(matches!(engine.load(digest, config("a")), Err(PluginError::NotCompiled)));
}
