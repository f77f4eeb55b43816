//! The index: a redb database over the file layer.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::StoreError;
use crate::disk::{Disk, DiskFile, is_full, read_exact_at};
use crate::layout::Layout;
use crate::shard_log::bind::LogFailure;
use crate::shard_log::capture::{Changes, LoggedTable};
use crate::shard_log::record::RowChange;

type Bytes = &'static [u8];
/// [`crate::record::ItemRecord`] by item id.
pub(crate) const ITEMS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("items");
/// [`crate::record::DeliveryRecord`] by item id and number.
pub(crate) const DELIVERIES: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("deliveries");
/// [`crate::record::EventRecord`] by cursor.
pub(crate) const EVENTS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("events");
/// Tenant, a zero octet, cursor (big endian).
pub(crate) const TENANT_EVENTS: TableDefinition<'_, Bytes, ()> = TableDefinition::new("tenant-events");
/// The same of events that list a message.
pub(crate) const TENANT_MESSAGES: TableDefinition<'_, Bytes, ()> = TableDefinition::new("tenant-messages");
/// Item id, cursor (big endian).
pub(crate) const MESSAGE_EVENTS: TableDefinition<'_, Bytes, ()> = TableDefinition::new("message-events");
/// [`crate::IdempotentRequest`] by tenant, a zero octet, and the key.
pub(crate) const REQUESTS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("requests");
/// Time of acceptance (big endian), and the key in the table of requests.
pub(crate) const REQUEST_TIMES: TableDefinition<'_, Bytes, ()> = TableDefinition::new("request-times");
/// Counters: see the names below.
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Damaged records as they were found, by table and key.
pub(crate) const QUARANTINE: TableDefinition<'_, &str, Bytes> = TableDefinition::new("quarantine");

/// Sequence of the last commit.
pub(crate) const SEQUENCE: &str = "sequence";
/// Starts so far: the boot epoch.
pub(crate) const EPOCH: &str = "epoch";
/// The number that the `format` file has, too.
pub(crate) const STORE: &str = "store";
/// Cursor of the last event.
pub(crate) const CURSOR: &str = "cursor";
/// Cursor of the last event that was pruned.
pub(crate) const PRUNED: &str = "pruned";
/// The last record of the shard's log that is in here. Missing: the store has no log.
pub(crate) const APPLIED: &str = "applied";
/// The checksum of that record: another log, or one that was written anew, has another one there.
pub(crate) const APPLIED_SUM: &str = "applied-sum";

/// Why the index did not do it.
#[derive(Debug)]
pub(crate) enum IndexError {
    /// No room. Nothing took effect.
    Full,
    /// The shard's log did not take the change. Nothing took effect.
    Log(LogFailure),
    /// Anything else.
    Other(String),
}

impl<E: Into<redb::Error>> From<E> for IndexError {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Io(e) if is_full(&e) => Self::Full,
            other => Self::Other(format!("index: {other}")),
        }
    }
}

impl IndexError {
    /// Of something that poisoned the store.
    pub(crate) fn from_fatal(error: &StoreError) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<IndexError> for StoreError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Full => Self::Full,
            IndexError::Log(LogFailure::Away(why)) => Self::Unavailable(why),
            IndexError::Log(LogFailure::Lost(why)) | IndexError::Other(why) => Self::Io(why),
        }
    }
}

/// redb keeps at most this in memory.
const CACHE: usize = 8 << 20;

#[derive(Debug)]
struct Backend {
    file: Arc<dyn DiskFile>,
    sync_failed: Arc<AtomicBool>,
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_exact_at(self.file.as_ref(), offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier sync failed"));
        }
        self.file.sync().inspect_err(|_| self.sync_failed.store(true, Ordering::Release))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier sync failed"));
        }
        self.file.write_at(offset, data)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Index {
    disk: Arc<dyn Disk>,
    layout: Layout,
    db: RwLock<Option<Arc<Database>>>,
    sync_failed: Arc<AtomicBool>,
}

impl Index {
    /// Opens it, or makes a new one of this store; after a crash redb repairs it first.
    pub(crate) fn open(disk: Arc<dyn Disk>, layout: Layout, new: Option<u64>) -> Result<Self, IndexError> {
        let index = Self { disk, layout, db: RwLock::new(None), sync_failed: Arc::default() };
        index.guard(|| index.attach(new))?;
        Ok(index)
    }

    /// Runs what reads the index. redb panics at some kinds of damage: that becomes an error that
    /// names the file.
    pub(crate) fn guard<T>(&self, read: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(self.damaged(panic.as_ref())))
    }

    /// What a panic below says of the file.
    pub(crate) fn damaged(&self, panic: &(dyn Any + Send)) -> IndexError {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
        let path = self.layout.index();
        IndexError::Other(format!("{} may be damaged: internal fault ({text})", path.display()))
    }

    fn attach(&self, new: Option<u64>) -> Result<(), IndexError> {
        let other =
            |e: io::Error| if is_full(&e) { IndexError::Full } else { IndexError::Other(e.to_string()) };
        let file = self.disk.open(&self.layout.index(), new.is_some()).map_err(other)?;
        let backend = Backend { file, sync_failed: self.sync_failed.clone() };
        let db = redb::Builder::new().set_cache_size(CACHE).create_with_backend(backend)?;
        self.disk.sync_dir(self.layout.root()).map_err(other)?;
        if let Some(store) = new {
            let txn = db.begin_write()?;
            Tables::open(&txn)?.meta.insert(STORE, store)?;
            txn.commit()?;
        }
        *self.db.write() = Some(Arc::new(db));
        Ok(())
    }

    fn database(&self) -> Result<Arc<Database>, IndexError> {
        let db = self.db.read().clone();
        db.ok_or_else(|| IndexError::Other("the store is closed".into()))
    }

    /// What is committed now.
    pub(crate) fn read(&self) -> Result<ReadTransaction, IndexError> {
        Ok(self.database()?.begin_read()?)
    }

    /// Begins a durable transaction. Only the writer does.
    pub(crate) fn write(&self) -> Result<WriteTransaction, IndexError> {
        let mut txn = self.database()?.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        Ok(txn)
    }

    /// Whether a sync failed: then nothing may be trusted any more.
    pub(crate) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Acquire)
    }

    /// Reads a counter.
    pub(crate) fn counter(&self, name: &str) -> Result<u64, IndexError> {
        let counters = self.read()?.open_table(META)?;
        Ok(counters.get(name)?.map_or(0, |v| v.value()))
    }

    /// Closes the database: it writes what makes the next start quick.
    pub(crate) fn close(&self) -> bool {
        let Some(mut db) = self.db.write().take() else {
            return true;
        };
        // Readers of this moment finish first.
        for _ in 0..500 {
            match Arc::try_unwrap(db) {
                Ok(db) => {
                    drop(db);
                    return true;
                }
                Err(shared) => db = shared,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Opens it anew after a write found no room: redb refuses everything after an error, whatever
    /// it was.
    pub(crate) fn reopen(&self) -> Result<(), IndexError> {
        if !self.close() {
            return Err(IndexError::Other("readers of the index did not finish".into()));
        }
        self.guard(|| self.attach(None))
    }
}

/// The tables, as records of the log number them. A number is never used for anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TableId {
    Items = 0,
    Deliveries = 1,
    Events = 2,
    TenantEvents = 3,
    TenantMessages = 4,
    MessageEvents = 5,
    Requests = 6,
    RequestTimes = 7,
    Meta = 8,
    Quarantine = 9,
}

/// All tables, open for writing.
pub(crate) struct Tables<'t> {
    pub(crate) items: LoggedTable<'t, Bytes, Bytes>,
    pub(crate) deliveries: LoggedTable<'t, Bytes, Bytes>,
    pub(crate) events: LoggedTable<'t, u64, Bytes>,
    pub(crate) tenant_events: LoggedTable<'t, Bytes, ()>,
    pub(crate) tenant_messages: LoggedTable<'t, Bytes, ()>,
    pub(crate) message_events: LoggedTable<'t, Bytes, ()>,
    pub(crate) requests: LoggedTable<'t, Bytes, Bytes>,
    pub(crate) request_times: LoggedTable<'t, Bytes, ()>,
    pub(crate) meta: LoggedTable<'t, &'static str, u64>,
    pub(crate) quarantine: LoggedTable<'t, &'static str, Bytes>,
}

impl<'t> Tables<'t> {
    /// For changes that concern this directory alone.
    pub(crate) fn open(txn: &'t WriteTransaction) -> Result<Self, IndexError> {
        Self::open_noted(txn, &Changes::default())
    }

    /// For changes that are written down.
    pub(crate) fn open_noted(txn: &'t WriteTransaction, changes: &Changes) -> Result<Self, IndexError> {
        use TableId as Id;
        Ok(Self {
            items: LoggedTable::new(txn.open_table(ITEMS)?, Id::Items, changes),
            deliveries: LoggedTable::new(txn.open_table(DELIVERIES)?, Id::Deliveries, changes),
            events: LoggedTable::new(txn.open_table(EVENTS)?, Id::Events, changes),
            tenant_events: LoggedTable::new(txn.open_table(TENANT_EVENTS)?, Id::TenantEvents, changes),
            tenant_messages: LoggedTable::new(txn.open_table(TENANT_MESSAGES)?, Id::TenantMessages, changes),
            message_events: LoggedTable::new(txn.open_table(MESSAGE_EVENTS)?, Id::MessageEvents, changes),
            requests: LoggedTable::new(txn.open_table(REQUESTS)?, Id::Requests, changes),
            request_times: LoggedTable::new(txn.open_table(REQUEST_TIMES)?, Id::RequestTimes, changes),
            meta: LoggedTable::new(txn.open_table(META)?, Id::Meta, changes),
            quarantine: LoggedTable::new(txn.open_table(QUARANTINE)?, Id::Quarantine, changes),
        })
    }

    /// Does what a record of the log says.
    pub(crate) fn apply(&mut self, change: &RowChange) -> Result<(), IndexError> {
        const TABLES: [TableId; 10] = [
            TableId::Items,
            TableId::Deliveries,
            TableId::Events,
            TableId::TenantEvents,
            TableId::TenantMessages,
            TableId::MessageEvents,
            TableId::Requests,
            TableId::RequestTimes,
            TableId::Meta,
            TableId::Quarantine,
        ];
        match TABLES.get(usize::from(change.table)) {
            Some(TableId::Items) => self.items.apply(change),
            Some(TableId::Deliveries) => self.deliveries.apply(change),
            Some(TableId::Events) => self.events.apply(change),
            Some(TableId::TenantEvents) => self.tenant_events.apply(change),
            Some(TableId::TenantMessages) => self.tenant_messages.apply(change),
            Some(TableId::MessageEvents) => self.message_events.apply(change),
            Some(TableId::Requests) => self.requests.apply(change),
            Some(TableId::RequestTimes) => self.request_times.apply(change),
            Some(TableId::Meta) => self.meta.apply(change),
            Some(TableId::Quarantine) => self.quarantine.apply(change),
            None => {
                Err(IndexError::Other(format!("the log names table {}, which is not known", change.table)))
            }
        }
    }
}
