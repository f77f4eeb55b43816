//! Three nodes: each shows and changes what the others have, while shards move and a node is lost.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use relevo_cluster::host::{StoreHost, StoreHostConfig};
use relevo_cluster::member::{Member, NodeName};
use relevo_cluster::memory::MemoryEngine;
use relevo_cluster::peers::calls::{StoreAnswer, StoreCall, StoreFailure, StoreQuestion};
use relevo_cluster::peers::client::Peers;
use relevo_cluster::peers::metrics::{CallOutcome, PeerMetrics};
use relevo_cluster::peers::server::PeerServer;
use relevo_cluster::peers::store::ClusterStore;
use relevo_cluster::shards::Shards;
use relevo_cluster::tcp::{Answering, Answers, serve};
use relevo_cluster::wire::{ClusterSecret, WireError};
use relevo_mailkit::event::{Event, Opened, Queued};
use relevo_queue::{
    Acted, EventHistory as _, EventLog as _, EventPosition, HistoryError, IdempotentRequest, ItemId,
    ItemMeta, ListedEvents, NewDelivery, NewEvent, NewItem, OperatorAction, PlacedEvent, Queue as _,
    QueueKey, Recipient, SpooledBody, StoreConfig, StoreError,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const START: i64 = 1_800_000_000_000;

struct Node {
    engine: MemoryEngine,
    shards: Arc<Shards>,
    all: Arc<ClusterStore>,
    peers: Arc<Peers>,
    server: Arc<PeerServer>,
    /// All tasks of the node: it dies with them.
    tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

struct NoSlices;

#[async_trait::async_trait]
impl Answering for NoSlices {
    async fn answer(&self, _: &[u8]) -> Result<Vec<u8>, WireError> {
        Err(WireError::Unreadable)
    }
}

async fn node(shared: &MemoryEngine, name: &str, home: u16) -> Node {
    let (engine, dir) = (shared.node(), tempfile::tempdir().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer_address = Some(listener.local_addr().unwrap().to_string());
    let shards = Arc::new(Shards::new(home));
    let config = StoreHostConfig {
        data_dir: dir.path().to_path_buf(),
        store: StoreConfig { min_free: 0, reserve: 0, ..StoreConfig::default() },
        node: name.into(),
        trim_at: 1 << 30,
    };
    let host = Arc::new(StoreHost::new(shards.clone(), Arc::new(engine.clone()), config));
    let own = NodeName { name: name.into(), address: format!("{name}:1"), peer_address, home };
    let member = Arc::new(Member::new(Arc::new(engine.clone()), host, own));
    let (secret, metrics) = (ClusterSecret::new(&"s".repeat(32)).unwrap(), PeerMetrics::default());
    let peers = Arc::new(Peers::new(member.clone(), secret.clone(), metrics.clone()));
    let all = Arc::new(ClusterStore::new(shards.clone(), shards.clone(), peers.clone()));
    let server = Arc::new(PeerServer::new(shards.clone(), shards.clone(), metrics));
    let answers = Answers { slices: Arc::new(NoSlices), stores: server.clone() };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { member.run().await });
    tasks.spawn(serve(listener, secret, answers));
    let counting = all.clone();
    tasks.spawn(async move { counting.run().await });
    Node { engine, shards, all, peers, server, tasks, _dir: dir }
}

/// Nodes that know of each other.
async fn nodes() -> [Node; 3] {
    let shared = MemoryEngine::new();
    let nodes = [node(&shared, "a", 1).await, node(&shared, "b", 2).await, node(&shared, "c", 3).await];
    until(async || nodes.iter().all(|node| node.shards.ready().is_ok() && node.peers.shards() == [1, 2, 3]))
        .await;
    nodes
}

async fn until(what: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if what().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(what().await, "in a minute");
}

fn id(n: u8, shard: u16) -> ItemId {
    ItemId::new(START + i64::from(n), [n; 10]).in_shard(shard)
}

fn item(n: u8, shard: u16, octets: usize) -> (NewItem, NewEvent) {
    let recipients = vec![Recipient::pending(0, "r@b.test".to_owned())];
    let key = QueueKey::of_domain("b.test");
    let delivery = NewDelivery { key, recipients, due_at: 1, ..NewDelivery::default() };
    let meta = ItemMeta { tenant: "acme".into(), expires_at: i64::MAX, ..ItemMeta::default() };
    let event = Event::Queued(Queued { recipients: vec!["r@b.test".into()], ..Queued::default() });
    let event = NewEvent::about(id(n, shard), &meta, START + i64::from(n), event);
    let body = SpooledBody::in_memory(vec![n; octets]);
    (NewItem { id: id(n, shard), meta, body, deliveries: vec![delivery] }, event)
}

async fn accept(node: &Node, n: u8, octets: usize) -> ItemId {
    let (item, event) = item(n, node.shards.home(), octets);
    let id = item.id;
    node.all.accept(vec![item], vec![event]).await.unwrap();
    id
}

fn opened(message: ItemId) -> NewEvent {
    let event = Event::Opened(Opened::default());
    NewEvent {
        tenant: "acme".into(),
        at: START + 100,
        item: Some(message),
        labels: Default::default(),
        event,
    }
}

/// In real time: stores answer from threads of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_and_changed_by_another_node() {
    let [a, b, c] = nodes().await;
    let (small, large) = (accept(&a, 1, 100).await, accept(&a, 2, 3_000_000).await);
    let view = c.all.item(small).await.unwrap().unwrap();
    assert_eq!(view, a.shards.item(small).await.unwrap().unwrap());
    assert_eq!(c.all.item(id(9, 1)).await.unwrap(), None);
    let delivery = c.all.delivery(view.deliveries[0].delivery.id).await.unwrap().unwrap();
    assert_eq!(delivery.view, view.deliveries[0]);
    for (item, octets) in [(small, vec![1; 100]), (large, vec![2; 3_000_000])] {
        let body = c.all.body(item).await.unwrap().unwrap();
        assert_eq!(body.size(), octets.len() as u64);
        assert_eq!(body.slice_at(0), Some(octets.as_slice()));
    }
    assert!(c.all.body(id(9, 1)).await.unwrap().is_none());
    // Of a shard that nobody ever had.
    assert_eq!(c.all.item(id(9, 77)).await.unwrap(), None);
    assert!(c.all.body(id(9, 77)).await.unwrap().is_none());
    assert!(c.all.events_of(id(9, 77), 0, 9).await.unwrap().is_empty());

    let acted = c.all.act(small, OperatorAction::Hold, START, vec![opened(small)]).await.unwrap();
    assert_eq!(acted, Acted::Done);
    assert!(a.shards.item(small).await.unwrap().unwrap().deliveries[0].delivery.held);
    let acted = b.all.act_on_domain(small, "b.test", OperatorAction::Drop, START).await.unwrap();
    assert_eq!(acted, Acted::Done);
    assert_eq!(a.shards.item(small).await.unwrap(), None);
    let gone = b.all.act(small, OperatorAction::Hold, START, vec![]).await.unwrap();
    assert_eq!(gone, Acted::NotFound);

    c.all.append(vec![opened(small), opened(large)]).await.unwrap();
    b.all.append_expendable(vec![opened(large)]).await.unwrap();
    let names = |events: Vec<relevo_queue::StoredEvent>| -> Vec<&str> {
        events.iter().map(|stored| stored.event.event.name()).collect()
    };
    for node in [&a, &b, &c] {
        let of_large = names(node.all.events_of(large, 0, 10).await.unwrap());
        assert_eq!(of_large, ["email.queued", "email.opened", "email.opened"]);
    }
    assert_eq!(a.shards.get(1).unwrap().events_of(large, 0, 10).await.unwrap().len(), 3);
    assert!(c.shards.get(3).unwrap().events(None, 0, 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_the_mail_of_all_nodes() {
    let [a, b, c] = nodes().await;
    for n in 0..9 {
        accept([&a, &b, &c][usize::from(n) % 3], n, 10).await;
    }
    let all: Vec<ItemId> = (0..9).map(|n| id(n, u16::from(n) % 3 + 1)).collect();
    for max in [1, 2, 4, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = b.all.list(after, max).await.unwrap();
            assert!(page.unavailable_shards.is_empty());
            let Some(last) = page.items.last() else { break };
            after = Some(last.id);
            found.extend(page.items.iter().map(|item| item.id));
        }
        assert_eq!(found, all, "{max}");
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = b.all.items_to("b.test", after, 1000, max).await;
            found.extend(page.items.iter().map(|(item, _)| *item));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, all, "{max}");
    }
    let row = b.all.items_from(id(3, 1), 2).await.unwrap();
    assert_eq!(row.iter().map(|item| item.id).collect::<Vec<_>>(), [id(3, 1), id(6, 1)]);
    let backlog = b.all.backlog(START, 1000).await;
    assert_eq!(backlog.keys.iter().map(|key| key.deliveries).collect::<Vec<_>>(), [9]);
    a.all.act(id(0, 1), OperatorAction::Hold, START, vec![]).await.unwrap();
    assert_eq!(b.all.held("acme"), 0, "nobody was asked yet");
    until(async || b.all.held("acme") == 1 && b.all.stats().items == 9).await;
    assert_eq!(b.shards.stats().items, 3);

    let request = IdempotentRequest {
        tenant: "acme".into(),
        key: "k".into(),
        digest: [7; 32],
        at: START,
        answer: b"yes".to_vec(),
    };
    let (new, event) = item(50, 1, 10);
    a.all.accept_request(request.clone(), vec![new], vec![event]).await.unwrap();
    assert_eq!(c.all.accepted_request("acme", "k", START).await.unwrap(), Some(request));
    assert_eq!(c.all.accepted_request("other", "k", START).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_for_its_own_shards_only() {
    let [a, b, _c] = nodes().await;
    let message = accept(&b, 1, 10).await;
    let ask = async |shard, call| a.server.answer_to(StoreQuestion { shard, call }).await;
    let of_b = ask(2, StoreCall::Item(message.0.into())).await;
    assert_eq!(of_b, StoreAnswer::Failed(StoreFailure::NotServed));
    let wrong = ask(1, StoreCall::Item(message.0.into())).await;
    assert!(matches!(wrong, StoreAnswer::Failed(StoreFailure::Other(_))), "{wrong:?}");
    let append = StoreCall::Append { events: vec![opened(message)], are_expendable: false };
    assert!(matches!(ask(1, append).await, StoreAnswer::Failed(StoreFailure::Other(_))));
}

/// Reads on from a position, until there is nothing more that can be asked.
async fn read_on(node: &Node, position: &mut EventPosition, max: usize) -> (Vec<PlacedEvent>, Vec<u16>) {
    let mut found = Vec::new();
    loop {
        let page = node.all.history("acme", position, max).await.unwrap();
        if page.events.is_empty() {
            return (found, page.unavailable_shards);
        }
        *position = page.events.iter().fold(position.clone(), EventPosition::at);
        // As it goes through an answer and the next question.
        *position = EventPosition::oldest().parse(&position.to_string()).unwrap();
        found.extend(page.events);
    }
}

fn by_shard(events: &[PlacedEvent]) -> BTreeMap<u16, Vec<u64>> {
    let mut all: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for event in events {
        all.entry(event.shard.unwrap()).or_default().push(event.stored.cursor);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_by_cursor_loses_and_repeats_nothing() {
    let [mut a, b, c] = nodes().await;
    for n in 0..12 {
        accept([&a, &b, &c][usize::from(n) % 3], n, 10).await;
    }
    let wrong = EventPosition::alone(17);
    assert!(matches!(c.all.history("acme", &wrong, 9).await, Err(HistoryError::Foreign)));
    // Forward and backward, some of it before the node is lost.
    let first = c.all.history("acme", &EventPosition::oldest(), 5).await.unwrap();
    let mut forward = first.events.clone();
    let mut position = forward.iter().fold(EventPosition::oldest(), EventPosition::at);
    let back = async |before: &EventPosition| {
        c.all.history_before("acme", ListedEvents::Messages, before, 5).await.unwrap()
    };
    let mut backward = back(&EventPosition::newest()).await.events;
    let times: Vec<i64> = backward.iter().map(|event| event.stored.event.at - START).collect();
    assert_eq!(times, [11, 10, 9, 8, 7]);
    let mut before = backward.iter().fold(EventPosition::newest(), EventPosition::at);

    a.engine.cut(true);
    a.tasks.abort_all();
    while a.tasks.join_next().await.is_some() {}
    let last = accept(&c, 12, 10).await;
    let (more, away) = read_on(&c, &mut position, 3).await;
    assert_eq!(away, [1]);
    assert!(more.iter().all(|event| event.shard != Some(1)));
    forward.extend(more);
    let of_lost = c.all.item(id(0, 1)).await;
    let why = of_lost.unwrap_err();
    assert!(
        matches!(&why, StoreError::Unavailable(why) if why.contains("0001") && why.contains("`a`")),
        "{why}"
    );
    let page = c.all.list(None, 100).await.unwrap();
    assert_eq!((page.items.len(), page.unavailable_shards), (9, vec![1]));
    assert_eq!(c.all.backlog(START, 1000).await.unavailable_shards, [1]);
    assert!(c.all.newest("acme").await.is_err());
    // What may be lost is told to whoever counts it at least.
    c.all.append_expendable(vec![opened(id(0, 1))]).await.unwrap();
    assert!(c.all.append(vec![opened(id(0, 1))]).await.is_err());
    assert!(c.peers.metrics().count(CallOutcome::Unreachable) > 0);

    until(async || [&b, &c].iter().any(|node| node.shards.get(1).is_some())).await;
    until(async || c.all.list(None, 100).await.unwrap().unavailable_shards.is_empty()).await;
    let (more, away) = read_on(&c, &mut position, 3).await;
    assert!(away.is_empty());
    forward.extend(more);
    loop {
        let page = back(&before).await;
        if page.events.is_empty() {
            break;
        }
        before = page.events.iter().fold(before, EventPosition::at);
        backward.extend(page.events);
    }
    // The shards' own logs say what there is.
    let mut all = BTreeMap::new();
    for node in [&b, &c] {
        for (shard, store) in node.shards.all() {
            let events = store.events(Some("acme"), 0, 100).await.unwrap();
            all.insert(shard, events.iter().map(|stored| stored.cursor).collect::<Vec<u64>>());
        }
    }
    assert_eq!(all.values().map(Vec::len).collect::<Vec<_>>(), [4, 4, 6]);
    assert_eq!(by_shard(&forward), all);
    let mut listed: Vec<ItemId> = backward.iter().map(|event| event.stored.event.item.unwrap()).collect();
    listed.sort_unstable();
    let messages: Vec<ItemId> = (0..12).map(|n| id(n, u16::from(n) % 3 + 1)).collect();
    assert_eq!(listed, messages, "{last} came after the list had begun");
    // Whoever waits hears of other nodes, too.
    let mut seen = c.all.newest("acme").await.unwrap();
    assert!(c.all.history("acme", &seen, 9).await.unwrap().events.is_empty());
    b.all.append(vec![opened(id(1, 2))]).await.unwrap();
    let after = seen.clone();
    until(async || {
        let mut seen = seen.clone();
        c.all.wait_history(&mut seen).await;
        !c.all.history("acme", &after, 9).await.unwrap().events.is_empty()
    })
    .await;
    seen.set(Some(2), u64::MAX);
    let stored = c.all.events_of(id(6, 1), 0, 1).await.unwrap().remove(0);
    let position = c.all.position_at("acme", &stored).await.unwrap();
    let rest = c.all.history_before("acme", ListedEvents::Messages, &position, 100).await.unwrap();
    let times: Vec<i64> = rest.events.iter().map(|event| event.stored.event.at - START).collect();
    assert_eq!(times[..3], [5, 4, 3]);
}
