//! How the store scales: accepts per second from concurrent sessions, memory per waiting delivery,
//! and the time a start takes. `cargo run --release -p relevo-queue --example scale [DIR] [ITEMS]`;
//! the figures are in `DESIGN.md`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use relevo_queue::{EmbeddedStore, ItemId, ItemMeta, NewDelivery, NewItem, Queue, Recipient};
use relevo_queue::{QueueKey, SpooledBody, StoreConfig};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const T0: i64 = 1_800_000_000_000;
const DAY: i64 = 86_400_000;

fn item(n: u64) -> NewItem {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    let domain = format!("customer-{}.example", n % 20_000);
    let meta = ItemMeta {
        tenant: format!("tenant-{}", n % 50),
        sender: format!("bounces+{n}@news.example.com"),
        accepted_at: T0,
        expires_at: T0 + 5 * DAY,
        size: 4096,
        is_bounce: false,
        no_bounce: false,
        source: "smtp".into(),
        message_id: format!("<{n}@news.example.com>"),
        subject: "What is new this week".into(),
        recipe: vec![1; 200],
        ..ItemMeta::default()
    };
    let recipient = Recipient::pending(0, format!("someone{n}@{domain}"));
    let delivery = NewDelivery {
        key: QueueKey::of_domain(domain),
        recipients: vec![recipient],
        due_at: T0 + DAY,
        ..NewDelivery::default()
    };
    let body = SpooledBody::in_memory(vec![b'x'; 4096]);
    NewItem { id: ItemId::new(T0, random), meta, body, deliveries: vec![delivery] }
}

/// Resident octets, all and anonymous: the rest is files that the system may drop.
fn resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap_or_default();
    Ok(line.split_whitespace().next().unwrap_or("0").parse::<u64>()? * 1024)
}

async fn fill(store: &Arc<EmbeddedStore>, from: u64, items: u64, sessions: u64) -> Result<Duration, Failure> {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for session in 0..sessions {
        let store = store.clone();
        tasks.spawn(async move {
            for n in (session..items).step_by(usize::try_from(sessions).unwrap_or(1)) {
                store.accept(vec![item(from + n)], vec![]).await?;
            }
            Ok::<(), relevo_queue::StoreError>(())
        });
    }
    for done in tasks.join_all().await {
        done?;
    }
    Ok(start.elapsed())
}

/// Opens a store that was filled before.
async fn start(dir: &std::path::Path) -> Result<(), Failure> {
    let before = resident()?;
    let start = Instant::now();
    let store = EmbeddedStore::open(dir, StoreConfig { min_free: 0, ..StoreConfig::default() })?;
    let items = store.stats().items;
    println!("start with {items} items: {:.2} s", start.elapsed().as_secs_f64());
    let grown = resident()?.saturating_sub(before);
    println!(
        "resident memory grew by {grown} octets, {} per waiting delivery, with an index cache of up to 16 MiB",
        grown / items
    );
    store.close().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if_eq("--start").is_some() {
        return start(args.next().unwrap_or_default().as_ref()).await;
    }
    let base = args.next().map_or_else(std::env::temp_dir, Into::into);
    let items: u64 = args.next().map_or(Ok(100_000), |s| s.parse())?;
    let dir = tempfile::tempdir_in(base)?;
    let config = StoreConfig { min_free: 0, ..StoreConfig::default() };
    let store = EmbeddedStore::open(dir.path(), config.clone())?;
    for (from, sessions) in [(0, 20), (items / 2, 100)] {
        let before = store.stats();
        let took = fill(&store, from, items / 2, sessions).await?;
        let after = store.stats();
        let group = (after.committed - before.committed) as f64 / (after.commits - before.commits) as f64;
        let rate = (items / 2) as f64 / took.as_secs_f64();
        println!("accept from {sessions} sessions: {rate:.0}/s, {group:.1} per commit");
    }
    store.close().await;
    drop(store);
    // A process of its own: this one keeps memory that it freed.
    std::process::Command::new(std::env::current_exe()?).arg("--start").arg(dir.path()).status()?;
    let store = EmbeddedStore::open(dir.path(), config.clone())?;
    // What a crash leaves: a copy of the files of a store that is open, which the index has to
    // repair first.
    let crashed = tempfile::tempdir_in(dir.path())?;
    for name in ["index.redb", "format"] {
        std::fs::copy(dir.path().join(name), crashed.path().join(name))?;
    }
    std::os::unix::fs::symlink(dir.path().join("segments"), crashed.path().join("segments"))?;
    let start = Instant::now();
    let repaired = EmbeddedStore::open(crashed.path(), config)?;
    println!("the same after a crash: {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(repaired.stats().items, items);
    repaired.close().await;
    store.close().await;
    Ok(())
}
