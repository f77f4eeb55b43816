//! Nodes divide shards: who dies is replaced, who is cut off stops first, who comes back has its home
//! again.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use relevo_cluster::engine::{EngineError, ShardId};
use relevo_cluster::member::{Member, NodeName, ShardHost, ShardLoad, TAKEOVER, forget};
use relevo_cluster::memory::MemoryEngine;
use tokio::time::{Instant, sleep};

#[derive(Debug, Default)]
struct Host {
    log: Mutex<Vec<(String, Duration)>>,
    start: Mutex<Option<Instant>>,
    slow: Duration,
    is_broken: AtomicBool,
    is_draining: AtomicBool,
    is_busy: AtomicBool,
    items: AtomicU64,
}

impl Host {
    fn note(&self, what: &str, shard: ShardId) {
        let start = *self.start.lock().unwrap().get_or_insert_with(Instant::now);
        self.log.lock().unwrap().push((format!("{what} {shard}"), start.elapsed()));
    }

    fn said(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|(what, _)| what.clone()).collect()
    }

    fn when(&self, what: &str) -> Option<Duration> {
        self.log.lock().unwrap().iter().rev().find(|(said, _)| said == what).map(|(_, at)| *at)
    }
}

#[async_trait]
impl ShardHost for Host {
    async fn take(&self, shard: ShardId) -> Result<(), EngineError> {
        sleep(self.slow).await;
        self.note("take", shard);
        Ok(())
    }

    async fn lose(&self, shard: ShardId) {
        self.note("lose", shard);
    }

    fn is_broken(&self, _: ShardId) -> bool {
        self.is_broken.swap(false, Ordering::AcqRel)
    }

    async fn close(&self, shard: ShardId) {
        self.note("close", shard);
    }

    fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Ordering::Release);
    }

    fn is_idle(&self) -> bool {
        !self.is_busy.load(Ordering::Acquire)
    }

    fn load(&self, _: ShardId) -> Option<ShardLoad> {
        Some(ShardLoad { items: self.items.load(Ordering::Acquire), applied: 1 })
    }
}

struct Node {
    engine: MemoryEngine,
    host: Arc<Host>,
    member: Arc<Member>,
    task: tokio::task::JoinHandle<()>,
}

fn node(shared: &MemoryEngine, name: &str, home: ShardId, start: Instant, slow: Duration) -> Node {
    let engine = shared.node();
    let host = Arc::new(Host { start: Mutex::new(Some(start)), slow, ..Host::default() });
    let name = NodeName { name: name.into(), address: format!("{name}:1"), peer_address: None, home };
    let member = Arc::new(Member::new(Arc::new(engine.clone()), host.clone(), name));
    let running = member.clone();
    let task = tokio::spawn(async move { running.run().await });
    Node { engine, host, member, task }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_is_replaced_and_gets_its_home_back() {
    let (shared, start) = (MemoryEngine::new(), Instant::now());
    let a = node(&shared, "a", 1, start, Duration::ZERO);
    let b = node(&shared, "b", 2, start, Duration::ZERO);
    sleep(10 * SECOND).await;
    assert_eq!((a.member.held(), b.member.held()), (vec![1], vec![2]));
    a.task.abort();
    let died = start.elapsed();
    sleep(TAKEOVER + 4 * SECOND).await;
    assert_eq!(b.member.held(), [1, 2]);
    let taken = b.host.when("take 1").unwrap() - died;
    assert!(taken <= TAKEOVER, "{taken:?}");
    assert!(b.member.view().nodes.iter().any(|node| node.name == "a" && !node.is_alive));
    // It starts again, under its name.
    let a = node(&shared, "a", 1, start, Duration::ZERO);
    sleep(10 * SECOND).await;
    assert_eq!((a.member.held(), b.member.held()), (vec![1], vec![2]));
    assert_eq!(b.host.said(), ["take 2", "take 1", "close 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_stops_before_another_may_begin() {
    let (shared, start) = (MemoryEngine::new(), Instant::now());
    let a = node(&shared, "a", 1, start, Duration::ZERO);
    let b = node(&shared, "b", 2, start, Duration::ZERO);
    sleep(10 * SECOND).await;
    a.engine.cut(true);
    sleep(40 * SECOND).await;
    let (lost, taken) = (a.host.when("lose 1").unwrap(), b.host.when("take 1").unwrap());
    assert!(lost < taken, "{lost:?} {taken:?}");
    assert!(a.member.held().is_empty());
    a.engine.cut(false);
    sleep(20 * SECOND).await;
    assert_eq!((a.member.held(), b.member.held()), (vec![1], vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_short_cut_that_nobody_noticed_is_resumed() {
    let (shared, start) = (MemoryEngine::new(), Instant::now());
    let a = node(&shared, "a", 1, start, Duration::ZERO);
    sleep(10 * SECOND).await;
    a.engine.cut(true);
    sleep(13 * SECOND).await;
    assert!(a.member.held().is_empty());
    a.engine.cut(false);
    sleep(10 * SECOND).await;
    assert_eq!(a.member.held(), [1]);
    assert_eq!(a.host.said(), ["take 1", "lose 1", "take 1"]);
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_while_a_shard_is_read() {
    let (shared, start) = (MemoryEngine::new(), Instant::now());
    let slow = node(&shared, "a", 1, start, 60 * SECOND);
    let b = node(&shared, "b", 2, start, Duration::ZERO);
    sleep(90 * SECOND).await;
    assert_eq!((slow.member.held(), b.member.held()), (vec![1], vec![2]));
    assert_eq!(slow.host.said(), ["take 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_has_ended_is_given_up_and_opened_anew() {
    let (shared, start) = (MemoryEngine::new(), Instant::now());
    let a = node(&shared, "a", 1, start, Duration::ZERO);
    sleep(10 * SECOND).await;
    a.host.is_broken.store(true, Ordering::Release);
    sleep(10 * SECOND).await;
    assert!(a.member.held().is_empty());
    sleep(70 * SECOND).await;
    assert_eq!(a.member.held(), [1]);
    assert_eq!(a.host.said(), ["take 1", "lose 1", "take 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_is_replaced_at_once() {
    let (shared, start) = (MemoryEngine::new(), Instant::now());
    let a = node(&shared, "a", 1, start, Duration::ZERO);
    let b = node(&shared, "b", 2, start, Duration::ZERO);
    sleep(10 * SECOND).await;
    a.member.leave().await;
    a.task.abort();
    sleep(5 * SECOND).await;
    assert_eq!(b.member.held(), [1, 2], "the lease has not lapsed");
    assert_eq!(a.host.said(), ["take 1", "close 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_is_without_shards_until_it_is_told_otherwise() {
    let (shared, start) = (MemoryEngine::new(), Instant::now());
    let a = node(&shared, "a", 1, start, Duration::ZERO);
    sleep(10 * SECOND).await;
    assert!(a.member.drain().unwrap_err().contains("no other node is alive"));
    assert_eq!(a.member.hindrance(), None);
    let b = node(&shared, "b", 2, start, Duration::ZERO);
    sleep(20 * SECOND).await;
    a.member.drain().unwrap();
    assert!(a.host.is_draining.load(Ordering::Acquire) && !a.member.drained().is_over());
    assert!(a.member.hindrance().unwrap().contains("draining"));
    sleep(10 * SECOND).await;
    assert_eq!((a.member.held(), b.member.held()), (vec![], vec![1, 2]));
    assert_eq!(a.host.said(), ["take 1", "close 1"]);
    assert_eq!(a.member.drained().served, [(1, "b".to_owned()), (2, "b".to_owned())]);
    assert!(a.member.drained().is_over());
    assert!(b.member.view().nodes.iter().any(|node| node.name == "a" && node.is_alive && node.is_draining));
    assert!(b.member.drain().unwrap_err().contains("no other node"), "the other one drains");
    // It stays so, also when the other node dies.
    b.task.abort();
    sleep(60 * SECOND).await;
    assert!(a.member.held().is_empty());
    a.member.undrain();
    sleep(30 * SECOND).await;
    assert_eq!(a.member.held(), [1, 2]);
    assert!(!a.host.is_draining.load(Ordering::Acquire));
    assert_eq!(a.member.hindrance(), None);
    // Who has the home gives it back.
    let b = node(&shared, "b", 2, start, Duration::ZERO);
    sleep(20 * SECOND).await;
    assert_eq!((a.member.held(), b.member.held()), (vec![1], vec![2]));
    b.member.drain().unwrap();
    sleep(10 * SECOND).await;
    b.member.undrain();
    sleep(10 * SECOND).await;
    assert_eq!((a.member.held(), b.member.held()), (vec![1], vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_attempts_but_not_for_ever() {
    let (shared, start) = (MemoryEngine::new(), Instant::now());
    let a = node(&shared, "a", 1, start, Duration::ZERO);
    let b = node(&shared, "b", 2, start, Duration::ZERO);
    sleep(20 * SECOND).await;
    a.host.is_busy.store(true, Ordering::Release);
    a.member.drain().unwrap();
    sleep(20 * SECOND).await;
    assert_eq!((a.member.held(), b.member.held()), (vec![1], vec![2]), "an attempt is under way");
    a.host.is_busy.store(false, Ordering::Release);
    sleep(8 * SECOND).await;
    assert_eq!((a.member.held(), b.member.held()), (vec![], vec![1, 2]));
    a.member.undrain();
    sleep(15 * SECOND).await;
    assert_eq!(a.member.held(), [1]);
    a.host.is_busy.store(true, Ordering::Release);
    a.member.drain().unwrap();
    sleep(40 * SECOND).await;
    assert_eq!((a.member.held(), b.member.held()), (vec![], vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_node_is_forgotten_when_it_left_nothing() {
    let (shared, start) = (MemoryEngine::new(), Instant::now());
    let a = node(&shared, "a", 1, start, Duration::ZERO);
    let b = node(&shared, "b", 2, start, Duration::ZERO);
    let refused = async |why: &str| {
        let error = forget(&shared, "a").await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    sleep(20 * SECOND).await;
    refused("is alive").await;
    a.member.leave().await;
    a.task.abort();
    b.host.items.store(5, Ordering::Release);
    sleep(20 * SECOND).await;
    refused("5 messages").await;
    b.host.items.store(0, Ordering::Release);
    sleep(10 * SECOND).await;
    let forgotten = forget(&shared, "a").await.unwrap();
    assert_eq!((forgotten.node.as_str(), forgotten.home), ("a", 1));
    sleep(10 * SECOND).await;
    let names: Vec<_> = b.member.view().nodes.into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["b"]);
    assert_eq!(b.member.held(), [1, 2], "its home is served on");
    refused("no node `a`").await;
    // It may come back all the same.
    let a = node(&shared, "a", 1, start, Duration::ZERO);
    sleep(20 * SECOND).await;
    assert_eq!((a.member.held(), b.member.held()), (vec![1], vec![2]));
}
