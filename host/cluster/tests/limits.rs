//! Three nodes share limits while holders die, are cut off and come back. A sink counts: no cap is
//! ever exceeded, and no limit is left unused.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use relevo_cluster::engine::{Engine as _, EngineError, ShardId};
use relevo_cluster::limits::holder::Allotters;
use relevo_cluster::limits::metrics::LimitMetrics;
use relevo_cluster::limits::questions::{Answer, Question};
use relevo_cluster::limits::shares::{Carry, CarryError, NodeShares};
use relevo_cluster::limits::{LimitId, LimitKind, WAITS};
use relevo_cluster::member::{Member, NodeName, ShardHost, ShardLoad};
use relevo_cluster::memory::MemoryEngine;
use relevo_delivery::shaping::Pace;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(50);
const NAMES: [&str; 3] = ["a", "b", "c"];
/// Caps of connections: too small for base shares, and large enough.
const CAPS: [u32; 4] = [1, 2, 7, 30];
const RATE: u32 = 600;

/// The network between nodes.
#[derive(Debug, Default)]
struct Net {
    nodes: Mutex<BTreeMap<String, Weak<NodeShares>>>,
    cut: Mutex<BTreeSet<String>>,
    /// Questions that get there, and whose answers are lost.
    lossy: Mutex<BTreeSet<String>>,
}

#[derive(Debug)]
struct NetCarry {
    net: Arc<Net>,
    from: String,
}

#[async_trait]
impl Carry for NetCarry {
    async fn ask(&self, address: &str, question: &Question) -> Result<Answer, CarryError> {
        sleep(Duration::from_millis(3)).await;
        let is_cut = |node: &str| self.net.cut.lock().unwrap().contains(node);
        if is_cut(&self.from) || is_cut(address) {
            sleep(60 * SECOND).await;
        }
        let node = self.net.nodes.lock().unwrap().get(address).and_then(Weak::upgrade);
        let node = node.ok_or_else(|| CarryError("refused".into()))?;
        let answer = node.answer(question);
        if self.net.lossy.lock().unwrap().contains(&self.from) {
            return Err(CarryError("reset".into()));
        }
        Ok(answer)
    }
}

/// What receivers count.
#[derive(Debug, Default)]
struct Sink {
    open: BTreeMap<u32, u32>,
    most: BTreeMap<u32, u32>,
    begun: BTreeMap<(String, u32), u32>,
    messages: VecDeque<Duration>,
    most_messages: usize,
}

impl Sink {
    fn opened(&mut self, node: &str, cap: u32) {
        let open = self.open.entry(cap).or_default();
        *open += 1;
        let most = self.most.entry(cap).or_default();
        *most = (*most).max(*open);
        *self.begun.entry((node.to_owned(), cap)).or_default() += 1;
    }

    fn message(&mut self, now: Duration) {
        self.messages.push_back(now);
        while self.messages.front().is_some_and(|first| now - *first >= 60 * SECOND) {
            self.messages.pop_front();
        }
        self.most_messages = self.most_messages.max(self.messages.len());
    }

    /// Connections that a node began since the last call.
    fn take_begun(&mut self, node: &str, cap: u32) -> u32 {
        self.begun.remove(&(node.to_owned(), cap)).unwrap_or(0)
    }
}

#[derive(Debug)]
struct NoShards;

#[async_trait]
impl ShardHost for NoShards {
    async fn take(&self, _: ShardId) -> Result<(), EngineError> {
        Ok(())
    }
    async fn lose(&self, _: ShardId) {}
    fn is_broken(&self, _: ShardId) -> bool {
        false
    }

    async fn close(&self, _: ShardId) {}
    fn set_draining(&self, _: bool) {}
    fn is_idle(&self) -> bool {
        true
    }
    fn load(&self, _: ShardId) -> Option<ShardLoad> {
        None
    }
}

/// A connection, which is gone when its node is.
struct Connection(Arc<Mutex<Sink>>, u32);

impl Drop for Connection {
    fn drop(&mut self) {
        *self.0.lock().unwrap().open.get_mut(&self.1).unwrap() -= 1;
    }
}

struct World {
    engine: MemoryEngine,
    net: Arc<Net>,
    sink: Arc<Mutex<Sink>>,
    start: Instant,
    waits: Duration,
    runs: u32,
}

struct Node {
    engine: MemoryEngine,
    shares: Arc<NodeShares>,
    /// All tasks of the node: it dies with them.
    tasks: JoinSet<()>,
}

impl World {
    fn new(waits: Duration) -> Self {
        let (engine, net, sink) = Default::default();
        Self { engine, net, sink, start: Instant::now(), waits, runs: 0 }
    }

    fn start(&mut self, name: &'static str) -> Node {
        self.runs += 1;
        let engine = self.engine.node();
        let home = u16::try_from(NAMES.iter().position(|other| *other == name).unwrap()).unwrap();
        let own = NodeName { name: name.into(), address: name.into(), peer_address: None, home };
        let member = Member::new(Arc::new(engine.clone()), Arc::new(NoShards), own);
        let allotters = Allotters::new(engine.leases(), name, name, &self.runs.to_string());
        let carry = Arc::new(NetCarry { net: self.net.clone(), from: name.into() });
        let allotters = Arc::new(allotters.waiting(self.waits));
        let shares = Arc::new(NodeShares::new(allotters, carry, LimitMetrics::default()));
        self.net.nodes.lock().unwrap().insert(name.into(), Arc::downgrade(&shares));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { member.run().await });
        let running = shares.clone();
        tasks.spawn(async move { running.run().await });
        for cap in CAPS {
            tasks.spawn(connect(name, cap, shares.clone(), self.sink.clone()));
        }
        tasks.spawn(send(shares.clone(), self.sink.clone(), self.start));
        Node { engine, shares, tasks }
    }

    fn most(&self) -> Vec<u32> {
        let sink = self.sink.lock().unwrap();
        CAPS.iter().map(|cap| sink.most.get(cap).copied().unwrap_or(0)).collect()
    }

    fn begun(&self, node: &str) -> Vec<u32> {
        let mut sink = self.sink.lock().unwrap();
        CAPS.iter().map(|cap| sink.take_begun(node, *cap)).collect()
    }
}

/// Opens as many connections as it may, each for less than a second.
async fn connect(name: &'static str, cap: u32, shares: Arc<NodeShares>, sink: Arc<Mutex<Sink>>) {
    let limit = LimitId::of([&cap.to_be_bytes()[..]]);
    let mut connections = JoinSet::new();
    let mut lasts = 0;
    loop {
        while connections.try_join_next().is_some() {}
        let open = u32::try_from(connections.len()).unwrap();
        if open < shares.share(LimitKind::Connections, limit, cap, open, open + 2) {
            lasts = (lasts + 37) % 80;
            sink.lock().unwrap().opened(name, cap);
            let connection = Connection(sink.clone(), cap);
            connections.spawn(async move {
                sleep(Duration::from_millis(10 * (lasts + 10))).await;
                drop(connection);
            });
            continue;
        }
        sleep(TICK).await;
    }
}

/// Sends as fast as it may.
async fn send(shares: Arc<NodeShares>, sink: Arc<Mutex<Sink>>, start: Instant) {
    let (limit, mut pace) = (LimitId::of([&b"rate"[..]]), Pace::default());
    loop {
        let now = start.elapsed();
        let millis = i64::try_from(now.as_millis()).unwrap();
        let share = shares.share(LimitKind::Rate, limit, RATE, 0, RATE);
        pace.set_share(share, millis);
        if share > 0 && pace.wait(Some(share), millis) == 0 {
            pace.take(Some(share), millis);
            sink.lock().unwrap().message(now);
            continue;
        }
        sleep(TICK).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_has_every_cap_for_itself() {
    let mut world = World::new(WAITS);
    let _a = world.start("a");
    sleep(60 * SECOND).await;
    assert_eq!(world.most(), CAPS);
}

#[tokio::test(start_paused = true)]
async fn caps_hold_while_holders_die_and_come_back() {
    let mut world = World::new(WAITS);
    let mut nodes: BTreeMap<&str, Node> = NAMES.map(|name| (name, world.start(name))).into();
    sleep(120 * SECOND).await;
    assert_eq!(world.most(), CAPS);
    for name in NAMES {
        let begun = world.begun(name);
        assert!(begun.iter().skip(2).all(|begun| *begun > 50), "{name} {begun:?}");
    }
    for round in 0..9 {
        let name = NAMES[round % 3];
        let held = nodes[name].shares.allotters().held();
        assert!((2..=8).contains(&held.len()), "{name} {held:?}");
        nodes.remove(name);
        // In the middle of slices, and at different times of the rounds of leases.
        sleep(Duration::from_millis(20_000 + 700 * u64::try_from(round).unwrap())).await;
        let others = NAMES.iter().filter(|other| **other != name);
        let begun: Vec<u32> = others.map(|other| world.begun(other)[3]).collect();
        assert!(begun.iter().all(|begun| *begun > 20), "base shares go on: {begun:?}");
        sleep(30 * SECOND).await;
        nodes.insert(name, world.start(name));
        sleep(150 * SECOND).await;
    }
    assert_eq!(world.most(), CAPS);
    let most = world.sink.lock().unwrap().most_messages;
    let bound = RATE + RATE / 30 + 1 + 3;
    assert!((RATE * 9 / 10..=bound).contains(&u32::try_from(most).unwrap()), "{most}");
}

#[tokio::test(start_paused = true)]
async fn caps_hold_while_nodes_are_cut_off() {
    let mut world = World::new(WAITS);
    let nodes: BTreeMap<&str, Node> = NAMES.map(|name| (name, world.start(name))).into();
    sleep(120 * SECOND).await;
    for (round, name) in (0..12).zip(NAMES.iter().cycle()) {
        let node = &nodes[name];
        match round % 4 {
            0 => node.engine.cut(true),
            1 => drop(world.net.cut.lock().unwrap().insert((*name).into())),
            2 => drop(world.net.lossy.lock().unwrap().insert((*name).into())),
            _ => {
                node.engine.cut(true);
                world.net.cut.lock().unwrap().insert((*name).into());
            }
        }
        sleep(Duration::from_millis(9_000 + 4_300 * round)).await;
        node.engine.cut(false);
        world.net.cut.lock().unwrap().clear();
        world.net.lossy.lock().unwrap().clear();
        sleep(40 * SECOND).await;
    }
    assert_eq!(world.most(), CAPS);
    sleep(60 * SECOND).await;
    for name in NAMES {
        assert!(world.begun(name)[3] > 50, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_without_any_network_uses_nothing() {
    let mut world = World::new(WAITS);
    let nodes = NAMES.map(|name| world.start(name));
    sleep(120 * SECOND).await;
    nodes[0].engine.cut(true);
    world.net.cut.lock().unwrap().insert("a".into());
    sleep(15 * SECOND).await;
    world.begun("a");
    sleep(60 * SECOND).await;
    assert_eq!(world.begun("a"), [0; 4]);
    assert!(nodes[0].tasks.len() > 3);
}

/// The sink finds a new holder that does not wait.
#[tokio::test(start_paused = true)]
async fn a_new_holder_that_does_not_wait_is_found() {
    let mut world = World::new(Duration::ZERO);
    let nodes = NAMES.map(|name| world.start(name));
    sleep(120 * SECOND).await;
    // It gives its allotters back, and others grant at once what its slices still are.
    for _ in 0..3 {
        for node in &nodes {
            node.shares.allotters().give_back_all().await;
            sleep(20 * SECOND).await;
        }
    }
    assert_ne!(world.most(), CAPS);
}
