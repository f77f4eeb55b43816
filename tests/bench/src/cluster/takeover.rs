//! A node dies with messages that wait, and another serves them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::backlog::{fill, send_now};
use super::engine::{EngineKind, LogEngine};
use super::nodes::Ground;
use crate::bench::note;
use crate::relay::Relay;
use crate::scene::Scene;
use crate::server::Server as _;
use crate::throughput::delivered;

/// A takeover that takes longer is stuck.
const LIMIT: Duration = Duration::from_secs(900);
/// Requests whose messages are sent after it.
const SENT: usize = 10;
/// What a node says when the lease of a shard is its own, before it reads the log.
const TAKING: &str = "taking the shard";

/// One takeover.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Takeover {
    pub(crate) engine: EngineKind,
    pub(crate) backlog: u64,
    pub(crate) filled_per_second: f64,
    /// What the log has of them.
    pub(crate) log_records: u64,
    pub(crate) log_octets: u64,
    /// From SIGKILL until another node had the lease.
    pub(crate) lapse_seconds: f64,
    /// From there until it served the shard: the log was read into a directory of its own.
    pub(crate) replay_seconds: f64,
    /// Processor time of the node that took it over, and of the engine, meanwhile.
    pub(crate) replay_cpu_seconds: f64,
    pub(crate) engine_cpu_seconds: f64,
    /// From the start of the node that died until it had its home again.
    pub(crate) home_seconds: f64,
    /// Messages that were sent by the node that took the shard over; each arrived once.
    pub(crate) sent: u64,
}

pub(crate) fn takeover(
    ground: &Ground<'_>,
    engine: &LogEngine,
    scene: &Scene,
    messages: u64,
) -> Result<Takeover> {
    scene.ledger.clear();
    let mut nodes = ground.nodes(3, Some(engine))?;
    note(&format!("takeover of {messages} messages, {}", engine.kind().name()));
    let (requests, filling) = fill(nodes.relays.first().context("no node")?, scene, messages)?;
    let log = engine.counters()?;
    let dying = nodes.relays.remove(0);
    has(&dying, messages)?;
    let said = |relay: &Relay| relay.says(TAKING);
    let before: usize = nodes.relays.iter().map(said).sum();
    dying.kill()?;
    let died = Instant::now();
    wait("another node has the lease", || Ok(nodes.relays.iter().map(said).sum::<usize>() > before))?;
    let (taken, lapse) = (Instant::now(), died.elapsed());
    let (node_cpu, engine_cpu) = (nodes.cpu()?, engine.counters()?.cpu);
    let served = |relay: &Relay| Ok::<_, anyhow::Error>(relay.metrics()?.get("relevo_queue_items") > 0.0);
    wait("the shard is served", || nodes.relays.iter().map(served).try_fold(false, |any, is| Ok(any | is?)))?;
    let replay = taken.elapsed();
    let (node_cpu, engine_cpu) =
        (nodes.cpu()?.since(node_cpu).total(), engine.counters()?.cpu.since(engine_cpu).total());
    let place = nodes.relays.iter().position(|relay| served(relay).unwrap_or(false));
    let taker = place.and_then(|place| nodes.relays.get(place)).context("nobody serves the shard")?;
    has(taker, messages)?;
    let some = requests.get(..SENT.min(requests.len())).unwrap_or_default();
    let sent = send_now(taker, scene, some)?;
    let arrived = delivered(taker, &scene.ledger, sent)?;
    ensure!(arrived.repeated == 0, "{} messages arrived twice after a takeover", arrived.repeated);
    ensure!(arrived.unsigned == 0, "{} messages have no signature", arrived.unsigned);
    has(taker, messages - sent)?;
    let began = Instant::now();
    let back = ground.node(1, Some(engine))?;
    let home = began.elapsed();
    has(&back, messages - sent)?;
    back.kill()?;
    nodes.relays.into_iter().try_for_each(Relay::kill)?;
    #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
    let filled_per_second = messages as f64 / filling.as_secs_f64();
    Ok(Takeover {
        engine: engine.kind(),
        backlog: messages,
        filled_per_second,
        log_records: log.appends,
        log_octets: log.octets,
        lapse_seconds: lapse.as_secs_f64(),
        replay_seconds: replay.as_secs_f64(),
        replay_cpu_seconds: node_cpu.as_secs_f64(),
        engine_cpu_seconds: engine_cpu.as_secs_f64(),
        home_seconds: home.as_secs_f64(),
        sent,
    })
}

/// Nothing may be lost, and nothing be there twice.
fn has(relay: &Relay, messages: u64) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
    let wanted = messages as f64;
    let found = relay.metrics()?.get("relevo_queue_items");
    ensure!(found == wanted, "{messages} messages should wait, and {found} do");
    Ok(())
}

fn wait(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_so()? {
        if began.elapsed() > LIMIT {
            bail!("{what}: not within {LIMIT:?}");
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}
