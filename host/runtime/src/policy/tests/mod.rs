//! Plugins of every kind against the engine. Those that are written in Rust are built by
//! `cargo xtask build`.

mod answers;
mod capabilities;
mod cases;
mod life;
mod loading;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use relevo_mailkit::policy::{Attribute, Envelope, HeaderField, Message, Recipient};
use relevo_mailkit::recheck::policy::HeaderNames;
use sha2::{Digest as _, Sha256};

use super::*;

/// 2026-11-22T10:00:00Z
const NOW: u64 = 1_795_255_200_000;

/// Elapsed time that nothing takes, however busy the machine is that runs the tests.
const BUSY: Duration = Duration::from_secs(120);

/// The octets of a plugin by name, built or written.
fn octets(name: &str) -> Vec<u8> {
    if let Ok(written) = relevo_test_plugins::written(name) {
        return written;
    }
    let exe = std::env::current_exe().unwrap();
    let target = exe.ancestors().find(|a| a.ends_with("debug") || a.ends_with("release")).unwrap();
    let path: PathBuf = target.parent().unwrap().join("plugins").join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: run `cargo xtask build`", path.display()))
}

/// Compiled once for all tests of the process.
fn compiled(name: &str) -> (Digest, Arc<Vec<u8>>) {
    type Compiled = HashMap<String, (Digest, Arc<Vec<u8>>)>;
    static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);
    let mut all = COMPILED.lock().unwrap();
    all.entry(name.to_owned())
        .or_insert_with(|| {
            let octets = octets(name);
            (Sha256::digest(&octets).into(), Arc::new(compile(&octets).unwrap()))
        })
        .clone()
}

/// An engine with a cache of its own.
struct Bench {
    engine: PolicyEngine,
    _cache: tempfile::TempDir,
}

fn bench() -> Bench {
    bench_with(|_| {})
}

fn bench_with(change: impl FnOnce(&mut EngineConfig)) -> Bench {
    let cache = tempfile::tempdir().unwrap();
    let defaults = EngineConfig::new(cache.path().join("plugins"));
    let mut config = EngineConfig { threads: 2, threads_per_tenant: 1, wait: BUSY, ..defaults };
    change(&mut config);
    Bench { engine: PolicyEngine::new(&config).unwrap(), _cache: cache }
}

impl Bench {
    fn try_load(
        &self,
        name: &str,
        change: impl FnOnce(&mut PluginConfig),
    ) -> Result<Arc<SandboxedPlugin>, PluginError> {
        let (digest, code) = compiled(name);
        self.engine.keep(&digest, &code).unwrap();
        let mut config = config(name);
        change(&mut config);
        self.engine.load(digest, config)
    }

    fn load(&self, name: &str, change: impl FnOnce(&mut PluginConfig)) -> Arc<SandboxedPlugin> {
        self.try_load(name, change).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The hostile plugin, set to one case.
    fn hostile(&self, case: &str) -> Arc<SandboxedPlugin> {
        self.load("hostile", |config| config.settings = vec![Attribute::new("case", case)])
    }

    /// As [`Bench::hostile`], with time to come to an end in a build without optimisation.
    fn patient(&self, case: &str) -> Arc<SandboxedPlugin> {
        self.load("hostile", |config| {
            config.limits.call_cpu = BUSY;
            config.settings = vec![Attribute::new("case", case)];
        })
    }
}

/// The usual ones. The host's part of a call takes several times as long in a build without
/// optimisation, and a busy machine is not what is tested.
fn limits(class: Class) -> PluginLimits {
    let usual = PluginLimits::of(class);
    let slower = if cfg!(debug_assertions) { 6 } else { 1 };
    PluginLimits { call_cpu: usual.call_cpu * slower, call_wall: BUSY, ..usual }
}

fn config(name: &str) -> PluginConfig {
    PluginConfig {
        tenant: "acme".into(),
        name: name.into(),
        class: Class::Small,
        limits: limits(Class::Small),
        grants: CapabilityGrants(Capability::ALL.into()),
        header_names: HeaderNames::default(),
        settings: Vec::new(),
    }
}

fn message() -> Message {
    let recipient = |address: &str| Recipient {
        address: address.into(),
        domain: "reader.test".into(),
        parameters: Vec::new(),
    };
    Message {
        id: "01K".into(),
        stage: "data".into(),
        tenant: "acme".into(),
        identity: Some("shop".into()),
        envelope: Envelope {
            sender: "shop@example.test".into(),
            sender_domain: "example.test".into(),
            parameters: Vec::new(),
            recipients: vec![recipient("ada@reader.test"), recipient("bob@reader.test")],
        },
        headers: vec![HeaderField { name: "Subject".into(), value: b" Hello".to_vec() }],
        size: 100,
        parts: Vec::new(),
        facts: vec![Attribute::new("source", "smtp")],
        attributes: Vec::new(),
        now: NOW,
    }
}

fn case_of(message: Message, body: &[u8], data: Data) -> Case {
    let octets = [b"Subject: Hello\r\n\r\n", body].concat();
    let body = Body { source: Arc::new(octets), offset: 18 };
    Case { message: Arc::new(message), body, data }
}

fn case() -> Case {
    case_of(message(), b"Have a look.\r\n", None)
}

/// A plugin's data in memory, and how long each look at it takes.
#[derive(Default)]
struct Memory {
    entries: BTreeMap<String, Vec<u8>>,
    slow: Duration,
    broken: bool,
}

impl Memory {
    fn of(entries: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        Self { entries: entries.collect(), ..Self::default() }
    }
}

impl KeyValues for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        std::thread::sleep(self.slow);
        if self.broken { Err(Unavailable) } else { Ok(self.entries.get(key).cloned()) }
    }

    fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        octets: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, Unavailable> {
        std::thread::sleep(self.slow);
        let (mut found, mut sum) = (Vec::new(), 0);
        for (key, value) in self.entries.iter().filter(|(key, _)| key.starts_with(prefix)) {
            if after.is_some_and(|after| key.as_str() <= after) {
                continue;
            }
            sum += value.len();
            if found.len() == limit || (sum > octets && !found.is_empty()) {
                break;
            }
            found.push((key.clone(), value.clone()));
        }
        Ok(found)
    }
}
