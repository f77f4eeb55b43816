//! Time and memory of a list with ten million suppressed addresses:
//! `cargo run --release -p relevo-relay --example suppressions [ENTRIES]`.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a measurement ends where something is amiss, and its numbers are known"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use relevo_queue::testing::TestQueue;
use relevo_relay::clock::{RandomIds, SystemClock};
use relevo_relay::suppressions::{ALL_STREAMS, SuppressionRecord, Suppressions};
use relevo_relay::topics::Topics;
use relevo_store::{ControlStore, StoreUrl, SuppressionStore};

const TENANT: &str = "acme";
/// Entries of a transaction.
const BATCH: u64 = 10_000;
const LOOKUPS: u64 = 100_000;

fn address(number: u64) -> String {
    format!("recipient-{number:09}@domain-{}.example", number % 5_000)
}

async fn make(store: &ControlStore, entries: u64) {
    let began = Instant::now();
    for first in (0..entries).step_by(BATCH as usize) {
        let record = |number| SuppressionRecord {
            id: format!("{number:026}"),
            address: address(number),
            stream: ALL_STREAMS.into(),
            reason: "bounce".into(),
            detail: "550 5.1.1 no such user".into(),
            message_id: None,
            created_at: 1_795_325_621_500,
            cause: None,
        };
        let batch: Vec<_> = (first..entries.min(first + BATCH)).map(record).collect();
        store.add_suppressions(TENANT, &batch).await.unwrap();
    }
    println!("{entries} entries made in {:.1?}", began.elapsed());
}

/// Octets of anonymous memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

async fn open(path: &Path) -> (Arc<ControlStore>, Suppressions) {
    let store = Arc::new(ControlStore::open(&StoreUrl::File(path.to_owned())).await.unwrap());
    let (clock, ids) = (Arc::new(SystemClock::new()), Arc::new(RandomIds));
    let topics = Topics::new(store.clone(), clock.clone(), ids.clone());
    let lists = Suppressions::open(store.clone(), Arc::new(TestQueue::open().unwrap()), clock, ids, topics);
    (store.clone(), lists.await.unwrap())
}

/// Looks up every 97th of the numbers from `first`, and counts what is found.
async fn look_up(lists: &Suppressions, what: &str, first: u64, entries: u64) {
    let began = Instant::now();
    let mut found = 0;
    for number in 0..LOOKUPS {
        let address = address(first + number * 97 % entries);
        found += lists.of(TENANT, &address).await.unwrap().len();
    }
    println!("{what}: {LOOKUPS} lookups found {found}, {:?} each", began.elapsed() / LOOKUPS as u32);
}

#[tokio::main]
async fn main() {
    let entries = std::env::args().nth(1).map_or(10_000_000, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sqlite");
    let store = ControlStore::open(&StoreUrl::File(path.clone())).await.unwrap();
    make(&store, entries).await;
    store.close().await;
    drop(store);
    println!("file: {} MB", std::fs::metadata(&path).unwrap().len() / 1_000_000);

    let before = resident();
    let began = Instant::now();
    let (_store, lists) = open(&path).await;
    println!("opened in {:.1?}", began.elapsed());
    look_up(&lists, "not listed, before the filter is filled", entries, entries).await;
    let began = Instant::now();
    lists.fill().await;
    let memory = resident().saturating_sub(before) / 1_000_000;
    println!("filter filled in {:.1?}; {memory} MB more are resident", began.elapsed());
    look_up(&lists, "not listed", entries, entries).await;
    look_up(&lists, "listed", 0, entries).await;
}
