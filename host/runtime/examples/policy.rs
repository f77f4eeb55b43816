//! What policy plugins cost: a call of one that accepts everything, and the memory of a thousand of
//! them.
//!
//! ```text
//! cargo xtask build cargo run --release -p relevo-runtime --example policy [MESSAGES [PLUGINS
//! [LARGE.wasm[,NAME=VALUE...]...]]]
//! ```
//!
//! Each further file is run in class `large`, with these settings: a JavaScript or Python plugin.
#![allow(clippy::unwrap_used, reason = "an example")]

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relevo_mailkit::policy::{Attribute, Envelope, HeaderField, Message, Recipient};
use relevo_mailkit::recheck::policy::HeaderNames;
use relevo_runtime::policy::{
    Body, Capability, CapabilityGrants, Case, Class, EngineConfig, PluginConfig, PluginLimits, Policy,
    PolicyEngine, SandboxedPlugin, compile, inspect,
};
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, from, to] = &arguments[..]
        && command == "compile"
    {
        return Ok(std::fs::write(to, compile(&std::fs::read(from)?)?)?);
    }
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (messages, plugins) = (number(0, 20_000)?, number(1, 1_000)?);
    let large = arguments.into_iter().skip(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(messages, u32::try_from(plugins)?, large.collect()))
}

async fn run(messages: usize, plugins: u32, large: Vec<String>) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let engine = PolicyEngine::new(&EngineConfig::new(directory.path().join("cache")))?;
    let accept_all = built("accept-all")?;
    let code = compile_elsewhere(&accept_all, directory.path())?;
    calls(&engine, &code, messages).await?;
    many(&engine, &code, plugins).await?;
    for plugin in large {
        one_large(&engine, &plugin, directory.path()).await?;
    }
    Ok(())
}

/// One message after the other.
async fn calls(engine: &PolicyEngine, code: &[u8], messages: usize) -> Result<()> {
    let plugin = load(engine, [0; 32], code, Class::Small, Vec::new())?;
    let case = case();
    for _ in 0..messages / 10 {
        plugin.judge(case.clone()).await.result?;
    }
    let (mut elapsed, mut guest, mut cpu) = (Vec::with_capacity(messages), Vec::new(), Duration::ZERO);
    for _ in 0..messages {
        let began = Instant::now();
        let outcome = plugin.judge(case.clone()).await;
        elapsed.push(began.elapsed());
        outcome.result?;
        guest.push(outcome.cost.wall);
        cpu += outcome.cost.cpu;
    }
    let cpu = cpu / u32::try_from(messages.max(1))?;
    println!("accept-all, class small, a fresh instance for each of {messages} messages:");
    println!("  for the caller      {}", spread(elapsed));
    println!("  on the guest thread {}, CPU {cpu:.1?} on average", spread(guest));
    Ok(())
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    format!("median {:.1?}, p99 {:.1?}", at(50), at(99))
}

/// Each has a file of its own with code of its own, as if somebody else had written it.
async fn many(engine: &PolicyEngine, code: &[u8], plugins: u32) -> Result<()> {
    let before = memory()?;
    let mut loaded = Vec::new();
    let began = Instant::now();
    for number in 0..plugins {
        let digest = Sha256::digest(number.to_le_bytes()).into();
        let plugin = load(engine, digest, code, Class::Small, Vec::new())?;
        plugin.judge(case()).await.result?;
        loaded.push(plugin);
    }
    let took = began.elapsed() / plugins.max(1);
    let after = memory()?;
    println!("{plugins} plugins, each called once ({took:.1?} each, {} octets of code each):", code.len());
    println!("  before: RSS {} MiB, PSS {} MiB", before.0 >> 10, before.1 >> 10);
    println!("  after:  RSS {} MiB, PSS {} MiB", after.0 >> 10, after.1 >> 10);
    Ok(())
}

async fn one_large(engine: &PolicyEngine, plugin: &str, directory: &Path) -> Result<()> {
    let mut parts = plugin.split(',');
    let path = parts.next().unwrap_or_default();
    let setting = |part: &str| part.split_once('=').map(|(name, value)| Attribute::new(name, value));
    let settings = parts.filter_map(setting).collect();
    let octets = std::fs::read(path)?;
    let found = inspect(&octets)?;
    let began = Instant::now();
    let code = compile_elsewhere(&octets, directory)?;
    let compiled = began.elapsed();
    let plugin = load(engine, Sha256::digest(&octets).into(), &code, Class::Large, settings)?;
    println!("{path}: {} octets, {} functions, compiled in {compiled:.1?}", octets.len(), found.functions);
    println!("  imports {}", found.imports.join(" "));
    for _ in 0..3 {
        let outcome = plugin.judge(case()).await;
        println!("  {:?}: {:?}", outcome.cost, outcome.result.map(|judgement| judgement.decision.verdict));
    }
    Ok(())
}

fn load(
    engine: &PolicyEngine,
    digest: [u8; 32],
    code: &[u8],
    class: Class,
    settings: Vec<Attribute>,
) -> Result<Arc<SandboxedPlugin>> {
    engine.keep(&digest, code)?;
    let config = PluginConfig {
        tenant: "acme".into(),
        name: "example".into(),
        class,
        limits: PluginLimits::of(class),
        grants: CapabilityGrants(Capability::ALL.into()),
        header_names: HeaderNames::default(),
        settings,
    };
    Ok(engine.load(digest, config)?)
}

/// In a process of its own: what the compiler has used would stay.
fn compile_elsewhere(octets: &[u8], directory: &Path) -> Result<Vec<u8>> {
    let (from, to) = (directory.join("plugin.wasm"), directory.join("plugin.cwasm"));
    std::fs::write(&from, octets)?;
    let status = Command::new(std::env::current_exe()?).arg("compile").args([&from, &to]).status()?;
    if !status.success() {
        return Err("the compiler failed".into());
    }
    Ok(std::fs::read(&to)?)
}

fn built(name: &str) -> Result<Vec<u8>> {
    let exe = std::env::current_exe()?;
    let target = exe.ancestors().nth(3).ok_or("no target directory")?;
    let path = target.join("plugins").join(format!("{name}.wasm"));
    Ok(std::fs::read(&path)
        .map_err(|error| format!("{}: {error}: run `cargo xtask build`", path.display()))?)
}

/// KiB resident in this process: all of it, and with what is shared divided among those who share
/// it.
fn memory() -> Result<(u64, u64)> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let of = |name: &str| {
        let line = rollup.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Ok((of("Rss:").ok_or("no Rss")?, of("Pss:").ok_or("no Pss")?))
}

fn case() -> Case {
    let field =
        |name: &str, value: &str| HeaderField { name: name.into(), value: format!(" {value}").into() };
    let message = Message {
        id: "01KAM3T6W3J5VY0V3T6ZJ2RZ5K".into(),
        stage: "data".into(),
        tenant: "acme".into(),
        identity: Some("acme".into()),
        envelope: Envelope {
            sender: "shop@example.test".into(),
            sender_domain: "example.test".into(),
            parameters: Vec::new(),
            recipients: vec![Recipient {
                address: "ada@reader.test".into(),
                domain: "reader.test".into(),
                parameters: Vec::new(),
            }],
        },
        headers: vec![
            field("From", "Shop <shop@example.test>"),
            field("To", "Ada <ada@reader.test>"),
            field("Subject", "Your order"),
            field("Date", "Sun, 22 Nov 2026 10:00:00 +0000"),
            field("Message-ID", "<1@example.test>"),
            field("MIME-Version", "1.0"),
            field("Content-Type", "text/plain; charset=utf-8"),
        ],
        size: 4_096,
        parts: Vec::new(),
        facts: vec![Attribute::new("source", "smtp"), Attribute::new("auth", "password")],
        attributes: Vec::new(),
        now: 1_795_255_200_000,
    };
    let body = Body { source: Arc::new(Vec::new()), offset: 0 };
    Case { message: Arc::new(message), body, data: None }
}
