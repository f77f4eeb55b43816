//! What the tests of the store share.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use relevo_mailkit::event::{Clicked, Event};
use relevo_mailkit::labels::Labels;
use relevo_queue::disk::{Disk, FaultyDisk};
use relevo_queue::*;

pub const T0: Millis = 1_800_000_000_000;
pub const HOUR: Millis = 3_600_000;

/// An id for a number.
pub fn id(n: u64) -> ItemId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    ItemId::new(T0, random)
}

pub fn meta(tenant: &str) -> ItemMeta {
    ItemMeta {
        tenant: tenant.into(),
        sender: "a@example.com".into(),
        accepted_at: T0,
        expires_at: T0 + 120 * HOUR,
        size: 4,
        source: "smtp".into(),
        message_id: "<1@example.com>".into(),
        subject: "hello".into(),
        recipe: vec![7; 20],
        ..ItemMeta::default()
    }
}

pub fn recipient(index: u32, domain: &str) -> Recipient {
    Recipient::pending(index, format!("r{index}@{domain}"))
}

pub fn delivery(domain: &str, indexes: impl IntoIterator<Item = u32>, due_at: Millis) -> NewDelivery {
    let recipients = indexes.into_iter().map(|i| recipient(i, domain)).collect();
    NewDelivery { key: QueueKey::of_domain(domain), recipients, due_at, ..NewDelivery::default() }
}

pub fn item(n: u64, tenant: &str, body: Vec<u8>, deliveries: Vec<NewDelivery>) -> NewItem {
    let meta = ItemMeta { size: body.len() as u64, ..meta(tenant) };
    NewItem { id: id(n), meta, body: SpooledBody::in_memory(body), deliveries }
}

/// An item with one recipient, due at once.
pub fn simple(n: u64, domain: &str) -> NewItem {
    item(n, "acme", body_of(n), vec![delivery(domain, [0], T0)])
}

pub fn body_of(n: u64) -> Vec<u8> {
    format!("Subject: {n}\r\n\r\nhello {n}\r\n").into_bytes()
}

/// An event that is told apart by a mark.
pub fn event(tenant: &str, mark: &str, at: Millis) -> NewEvent {
    let event = Event::Clicked(Clicked { url: mark.into(), ..Clicked::default() });
    NewEvent { tenant: tenant.into(), at, item: None, labels: Labels::default(), event }
}

/// The marks of events.
pub fn marks(events: Vec<StoredEvent>) -> Vec<String> {
    let mark = |stored: StoredEvent| match stored.event.event {
        Event::Clicked(clicked) => clicked.url,
        other => panic!("{}", other.name()),
    };
    events.into_iter().map(mark).collect()
}

pub fn attempt(text: &str) -> LastAttempt {
    LastAttempt { at: T0, text: text.into(), status: "4.0.0".into(), code: Some(450), host: None, ip: None }
}

pub fn settle(lease: &Lease, state: RecipientState) -> Settlement {
    let recipients = lease.delivery.recipients.iter().map(|r| (r.index, state.clone())).collect();
    Settlement {
        lease: Arc::new(lease.clone()),
        recipients,
        next_attempt: None,
        last: Some(attempt("done")),
        reasons: vec![],
        events: vec![],
    }
}

pub fn later(lease: &Lease, at: Millis) -> Settlement {
    Settlement {
        lease: Arc::new(lease.clone()),
        recipients: vec![],
        next_attempt: Some(at),
        last: Some(attempt("try later")),
        reasons: vec![],
        events: vec![],
    }
}

/// Settles in one step, with events of the first settlement.
pub async fn settle_all(
    store: &EmbeddedStore,
    mut settlements: Vec<Settlement>,
    items: Vec<NewItem>,
    events: Vec<NewEvent>,
) -> Result<(), StoreError> {
    settlements[0].events = events;
    store.settle(settlements.into_iter().map(Arc::new).collect(), items).await
}

/// The file of a large body.
pub fn body_file(disk: &FaultyDisk, n: u64) -> PathBuf {
    let name = format!("{}-", id(n));
    let is_its = |path: &PathBuf| path.file_name().is_some_and(|f| f.to_string_lossy().starts_with(&name));
    disk.paths().into_iter().find(is_its).expect("a file")
}

/// The content of a file.
pub fn content(disk: &FaultyDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, false).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    let mut at = 0;
    while at < bytes.len() {
        at += file.read_at(at as u64, &mut bytes[at..]).unwrap();
    }
    bytes
}

/// Replaces the content of a file, durably.
pub fn replace(disk: &FaultyDisk, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, true).unwrap();
    file.set_len(0).unwrap();
    file.write_at(0, bytes).unwrap();
    file.sync().unwrap();
}

/// Octets of the body, read as the relay does: whoever meets damage opens the body anew.
pub async fn read(
    store: &Arc<EmbeddedStore>,
    item: ItemId,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    let gone = || StoreError::Io(format!("{item} is gone"));
    let body = store.body(item).await?.ok_or_else(gone)?;
    let end = range.end.min(body.size());
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(range.start)).unwrap()];
    let mut filled = 0;
    while filled < bytes.len() {
        match body.read_at(range.start + filled as u64, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) => {
                store.body(item).await?;
                return Err(StoreError::Io(error.to_string()));
            }
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

pub async fn lease_all(store: &Arc<EmbeddedStore>, now: Millis) -> Vec<Lease> {
    let due = store.due(now, &|_| false, usize::MAX).await.unwrap();
    let keys: Vec<QueueKey> = due.into_iter().map(|d| d.key).collect();
    store.lease(&keys, now, now + HOUR, usize::MAX).await.unwrap()
}

pub async fn lease_one(store: &Arc<EmbeddedStore>, now: Millis) -> Lease {
    let mut leases = lease_all(store, now).await;
    assert_eq!(leases.len(), 1);
    leases.remove(0)
}

pub fn config() -> StoreConfig {
    StoreConfig { min_free: 0, reserve: 0, spool_memory: 0, ..StoreConfig::default() }
}
