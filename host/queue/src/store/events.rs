//! [`EventLog`] of the embedded store.

use async_trait::async_trait;
use redb::{AccessGuard, ReadOnlyTable, TableDefinition};

use super::EmbeddedStore;
use crate::index::{self, EVENTS, IndexError, MESSAGE_EVENTS, TENANT_EVENTS, TENANT_MESSAGES};
use crate::inner::StoreCore;
use crate::plan::{message_key, tenant_key};
use crate::record::{self, EventRecord};
use crate::request::{Op, WriteOutcome};
use crate::{EVENT_PAGE_OCTETS, EventError, EventLog, ItemId, Millis, NewEvent, StoreError, StoredEvent};

#[async_trait]
impl EventLog for EmbeddedStore {
    async fn append(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        if events.is_empty() {
            return self.inner.poison.check();
        }
        self.inner.space.check_new(self.inner.disk.as_ref(), 0)?;
        self.write(Op::Append { events }).await.map(drop)
    }

    async fn append_expendable(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.inner.space.check_expendable(self.inner.disk.as_ref())?;
        self.append(events).await
    }

    async fn events(
        &self,
        tenant: Option<&str>,
        after: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, EventError> {
        let tenant = tenant.map(str::to_owned);
        let read = self.read_with(move |inner| {
            let pruned = inner.index.counter(index::PRUNED)?;
            if after != 0 && after < pruned {
                return Ok(Err(pruned));
            }
            let events = match tenant {
                Some(tenant) => of_tenant(inner, &tenant, after, max),
                None => of_all(inner, after, max),
            };
            Ok(Ok(events?))
        });
        read.await?.map_err(|oldest| EventError::Pruned { oldest })
    }

    async fn events_before(
        &self,
        tenant: &str,
        before: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let tenant = tenant.to_owned();
        self.read_with(move |inner| Ok(of_tenant_before(inner, TENANT_EVENTS, &tenant, before, max)?)).await
    }

    async fn messages_before(
        &self,
        tenant: &str,
        before: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let tenant = tenant.to_owned();
        self.read_with(move |inner| Ok(of_tenant_before(inner, TENANT_MESSAGES, &tenant, before, max)?)).await
    }

    async fn events_of(
        &self,
        message: ItemId,
        after: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.read_with(move |inner| Ok(of_message(inner, message, after, max)?)).await
    }

    async fn wait_after(&self, after: u64) -> u64 {
        let mut newest = self.inner.newest_event.subscribe();
        // The sender lives as long as this store.
        newest.wait_for(|newest| *newest > after).await.map_or(after, |newest| *newest)
    }

    async fn prune(&self, before: Millis, max: u64) -> Result<usize, StoreError> {
        match self.write(Op::Prune { before, max }).await? {
            WriteOutcome::Pruned(events) => Ok(events),
            WriteOutcome::Done | WriteOutcome::Acted(_) => Ok(0),
        }
    }
}

/// Events that one call returns.
struct EventPage {
    events: Vec<StoredEvent>,
    max: usize,
    /// Octets of the rows.
    octets: usize,
}

impl EventPage {
    fn new(max: usize) -> Self {
        Self { events: Vec::new(), max, octets: 0 }
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.max || self.octets >= EVENT_PAGE_OCTETS
    }

    fn add(&mut self, cursor: u64, bytes: &[u8]) {
        if let Some(event) = decode(cursor, bytes) {
            self.octets += bytes.len();
            self.events.push(event);
        }
    }
}

/// An event that can be read; one that cannot is skipped, and logged.
fn decode(cursor: u64, bytes: &[u8]) -> Option<StoredEvent> {
    let event = record::unseal::<EventRecord>(&cursor.to_be_bytes(), bytes).and_then(EventRecord::into_event);
    match event {
        Ok(event) => Some(StoredEvent { cursor, event }),
        Err(why) => {
            tracing::error!(cursor, why, "corrupt event skipped");
            None
        }
    }
}

fn of_all(inner: &StoreCore, after: u64, max: usize) -> Result<Vec<StoredEvent>, IndexError> {
    let Some(from) = after.checked_add(1) else { return Ok(Vec::new()) };
    let table = inner.index.read()?.open_table(EVENTS)?;
    let mut page = EventPage::new(max);
    for row in table.range(from..)? {
        if page.is_full() {
            break;
        }
        let (cursor, value) = row?;
        page.add(cursor.value(), value.value());
    }
    Ok(page.events)
}

fn of_tenant(
    inner: &StoreCore,
    tenant: &str,
    after: u64,
    max: usize,
) -> Result<Vec<StoredEvent>, IndexError> {
    let key = |cursor| tenant_key(tenant, cursor);
    indexed(inner, TENANT_EVENTS, key, after, max)
}

fn of_message(
    inner: &StoreCore,
    message: ItemId,
    after: u64,
    max: usize,
) -> Result<Vec<StoredEvent>, IndexError> {
    let key = |cursor| message_key(message, cursor);
    indexed(inner, MESSAGE_EVENTS, key, after, max)
}

/// The events that an index names, whose keys end with the cursor.
fn indexed(
    inner: &StoreCore,
    index: TableDefinition<'static, &'static [u8], ()>,
    key: impl Fn(u64) -> Vec<u8>,
    after: u64,
    max: usize,
) -> Result<Vec<StoredEvent>, IndexError> {
    let Some(from) = after.checked_add(1) else { return Ok(Vec::new()) };
    let txn = inner.index.read()?;
    let (keys, table) = (txn.open_table(index)?, txn.open_table(EVENTS)?);
    let (first, last) = (key(from), key(u64::MAX));
    read_named(keys.range::<&[u8]>(first.as_slice()..=last.as_slice())?, &table, max)
}

/// The events of a tenant before a cursor that an index has, the newest first.
fn of_tenant_before(
    inner: &StoreCore,
    index: TableDefinition<'static, &'static [u8], ()>,
    tenant: &str,
    before: u64,
    max: usize,
) -> Result<Vec<StoredEvent>, IndexError> {
    let txn = inner.index.read()?;
    let (keys, table) = (txn.open_table(index)?, txn.open_table(EVENTS)?);
    let (first, last) = (tenant_key(tenant, 0), tenant_key(tenant, before));
    read_named(keys.range::<&[u8]>(first.as_slice()..last.as_slice())?.rev(), &table, max)
}

type IndexKey = Result<(AccessGuard<'static, &'static [u8]>, AccessGuard<'static, ()>), redb::StorageError>;

/// A page of the events that rows of an index name.
fn read_named(
    rows: impl Iterator<Item = IndexKey>,
    table: &ReadOnlyTable<u64, &'static [u8]>,
    max: usize,
) -> Result<Vec<StoredEvent>, IndexError> {
    let mut page = EventPage::new(max);
    for row in rows {
        if page.is_full() {
            break;
        }
        let (key, _) = row?;
        let Some(cursor) = key.value().last_chunk().map(|c| u64::from_be_bytes(*c)) else { continue };
        if let Some(value) = table.get(cursor)? {
            page.add(cursor, value.value());
        }
    }
    Ok(page.events)
}
