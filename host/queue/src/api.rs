//! The seam between the product and storage.

mod backlog;
pub(crate) mod cbor;
mod events;
mod history;
mod idempotency;
mod item;
pub(crate) mod json;
mod key;
mod mail_store;
mod reader;

use std::sync::Arc;

use async_trait::async_trait;
use minicbor::{Decode, Encode};
use relevo_mailkit::source::Source;

pub use backlog::{Backlog, DomainItems, ItemPage, KeyBacklog, QueuedDelivery};
pub use events::{EVENT_PAGE_OCTETS, EventError, EventLog, NewEvent, StoredEvent};
pub use history::{EventHistory, EventPage, EventPosition, HistoryError, ListedEvents, PlacedEvent};
pub use idempotency::{IDEMPOTENCY_LIFETIME, IdempotentRequest};
pub(crate) use item::own_or_last;
pub use item::{
    Delivery, DeliveryId, ItemMeta, LastAttempt, MAX_PRIORITY, NewDelivery, NewItem, PRIORITY_STEP, Priority,
    Recipient, RecipientState, ReportKey, ReportKind,
};
pub use key::{QueueKey, QueueKeyParts};
pub use mail_store::MailStore;
pub use reader::ReaderPosition;
pub use relevo_mailkit::id::ItemId;

/// Milliseconds since 1970. Time is an argument everywhere in this crate.
pub type Millis = i64;

/// Bytes that arrived and are not yet promised: in memory up to 64 KiB, else in a file. Dropping it
/// deletes them.
pub struct SpooledBody {
    /// Readable at once, for the stages.
    pub source: Arc<dyn Source>,
    /// The store's own handle for taking it over without a copy. None: the store reads `source`.
    pub handle: Option<Box<dyn std::any::Any + Send + Sync>>,
}

impl SpooledBody {
    /// Bytes that are in memory anyway, such as a bounce. They are not subject to the reserve of
    /// free space until they are accepted as new mail.
    #[must_use]
    pub fn in_memory(bytes: Vec<u8>) -> Self {
        Self { source: Arc::new(bytes), handle: None }
    }
}

/// Takes the bytes of one message as they arrive.
#[async_trait]
pub trait Spool: Send {
    /// Appends.
    ///
    /// # Errors
    /// [`StoreError::Full`] below the reserve, [`StoreError::Io`] otherwise. Nothing is kept of a
    /// failed spool.
    async fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError>;

    /// Ends it.
    ///
    /// # Errors
    /// As for `write`.
    async fn finish(self: Box<Self>) -> Result<SpooledBody, StoreError>;
}

/// The right to attempt a delivery.
///
/// The store knows who has one through [`LeaseHold`]: the lease stands as long as it or a clone of
/// it lives. When all of them are gone and it was not settled, it lapses at the end of its term,
/// and the delivery is due again. The embedded store makes leases of an earlier boot due at start.
#[derive(Debug, Clone)]
pub struct Lease {
    /// What is leased.
    pub delivery: Delivery,
    /// The item's shared facts.
    pub meta: Arc<ItemMeta>,
    /// Changes with every lease of the same delivery: a settle under an older one is refused.
    pub token: u64,
    /// Keeps the lease from lapsing.
    pub hold: LeaseHold,
}

/// Shows the store that somebody still has the lease.
#[derive(Debug, Clone, Default)]
pub struct LeaseHold(pub(crate) Arc<()>);

/// A queue key that has something due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueQueue {
    /// Of these deliveries.
    pub key: QueueKey,
    /// Deliveries that are due, at most counted to 1000.
    pub ready: usize,
    /// Tenants that own them.
    pub tenants: Vec<String>,
}

/// What becomes of a leased delivery. Recipients that are not named stay as they are.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The lease it settles.
    pub lease: Arc<Lease>,
    /// New states by recipient index.
    pub recipients: Vec<(u32, RecipientState)>,
    /// When pending recipients are left: the next attempt.
    pub next_attempt: Option<Millis>,
    /// What the attempt found. None: the lease is handed back, no attempt was made.
    pub last: Option<LastAttempt>,
    /// What it found for single recipients, by index, where that is not `last`. Of no meaning
    /// without `last`.
    pub reasons: Vec<(u32, LastAttempt)>,
    /// Events that are written with it.
    pub events: Vec<NewEvent>,
}

/// A recipient about which its sender is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreported {
    /// Where it stands.
    pub delivery: DeliveryId,
    /// Who.
    pub recipient: Recipient,
    /// The report that is due.
    pub kind: ReportKind,
    /// What was learnt last. Empty where nothing was attempted.
    pub last: LastAttempt,
}

impl Unreported {
    /// Names the report.
    #[must_use]
    pub fn key(&self) -> ReportKey {
        ReportKey { delivery: self.delivery, index: self.recipient.index, kind: self.kind }
    }
}

/// Why the store did not do it. Nothing of the call has taken effect.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Less than the reserve is free: 452 4.3.1.
    #[error("less than the configured reserve of disk space is free")]
    Full,
    /// The file system has hardly any inodes left: 452 4.3.1.
    #[error("the file system has too few inodes left for new files")]
    NoInodes,
    /// The medium failed: 451 4.3.0. A failed sync is fatal for the store: every later call fails
    /// too.
    #[error("store: {0}")]
    Io(String),
    /// The log of the shard does not answer, so that nothing can be promised, or the node that has the
    /// shard does not: 451 4.3.0. It may answer a moment later.
    #[error("{0}")]
    Unavailable(String),
    /// The entry is corrupt and was put into quarantine.
    #[error("corrupt entry {0}")]
    Corrupt(String),
    /// A request was accepted under this idempotency key before.
    #[error("a request was accepted under this idempotency key before")]
    KnownKey,
    /// The lease lapsed or was settled already.
    #[error("the lease of {0:?} is no longer held")]
    LeaseLost(DeliveryId),
}

/// Deliveries of one item, for `queue list`, `show` and `why`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ItemView {
    /// The item.
    #[n(0)]
    #[cbor(with = "cbor::item_id")]
    pub id: ItemId,
    /// Its facts.
    #[n(1)]
    #[cbor(with = "cbor::shared_meta")]
    pub meta: Arc<ItemMeta>,
    /// All its deliveries.
    #[n(2)]
    pub deliveries: Vec<DeliveryView>,
}

/// A delivery and who holds it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DeliveryView {
    /// As stored.
    #[n(0)]
    pub delivery: Delivery,
    /// Lapse of the lease under which it is attempted now.
    #[n(1)]
    pub leased_until: Option<Millis>,
}

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum OperatorAction {
    /// Due at once.
    #[n(0)]
    Retry,
    /// Not due until released.
    #[n(1)]
    Hold,
    /// Due at once, no longer held.
    #[n(2)]
    Release,
    /// Gone, without a bounce.
    #[n(3)]
    Drop,
    /// Gone, unless an attempt has begun or was made: then nothing is changed.
    #[n(4)]
    Cancel,
    /// Due at this time, unless an attempt has begun or was made: then nothing is changed. The
    /// expiry moves along, unless the sender gave it.
    #[n(5)]
    Reschedule(#[n(0)] Millis),
}

/// What came of an [`OperatorAction`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Acted {
    /// It was done.
    #[n(0)]
    Done,
    /// It was done to all deliveries but those that are being attempted: these cannot be dropped
    /// now.
    #[n(1)]
    BeingAttempted,
    /// An attempt has begun or was made: nothing was changed.
    #[n(2)]
    Begun,
    /// There is no such item.
    #[n(3)]
    NotFound,
}

/// Counts for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct QueueStats {
    /// Items.
    #[n(0)]
    pub items: u64,
    /// Deliveries with pending recipients.
    #[n(1)]
    pub deliveries: u64,
    /// Of these, due now.
    #[n(2)]
    pub due: u64,
    /// Of these, leased.
    #[n(3)]
    pub leased: u64,
    /// Of these, held.
    #[n(4)]
    pub held: u64,
    /// The oldest due time of a delivery that is due and not leased: far in the past means that
    /// something is stuck.
    #[n(5)]
    pub oldest_due: Option<Millis>,
    /// Entries in quarantine.
    #[n(6)]
    pub quarantined: u64,
    /// Octets that are free on the disk, as far as was asked.
    #[n(7)]
    pub free_octets: u64,
    /// Files that can be made on it. None: no number is known.
    #[n(8)]
    pub free_inodes: Option<u64>,
    /// Group commits, and what they held: the mean size of a group is `committed / commits`.
    #[n(9)]
    pub commits: u64,
    /// Requests in them.
    #[n(10)]
    pub committed: u64,
}

/// The durable queue. Calls may come from any number of tasks; writes that arrive together share
/// one sync.
///
/// Nothing here iterates over the whole queue except [`Queue::list`], page by page, and what says how
/// many deliveries it looks at.
#[async_trait]
pub trait Queue: Send + Sync {
    /// A place for the bytes of a message that is arriving. Refuses below the reserve of free
    /// space.
    async fn spool(&self) -> Result<Box<dyn Spool>, StoreError>;

    /// Makes items and events durable in one atomic step. When it returns `Ok`, they survive a loss
    /// of power.
    async fn accept(&self, items: Vec<NewItem>, events: Vec<NewEvent>) -> Result<(), StoreError>;

    /// As [`Self::accept`], and remembers the request's idempotency key in the same step.
    ///
    /// # Errors
    /// [`StoreError::KnownKey`] if the key is remembered already.
    async fn accept_request(
        &self,
        request: IdempotentRequest,
        items: Vec<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError>;

    /// The request that was accepted under a tenant's idempotency key, if that was less than
    /// [`IDEMPOTENCY_LIFETIME`] before `now`.
    async fn accepted_request(
        &self,
        tenant: &str,
        key: &str,
        now: Millis,
    ) -> Result<Option<IdempotentRequest>, StoreError>;

    /// Up to `max` queue keys that have something due at `now`, those that wait longest first, and
    /// not in `skip`.
    async fn due(
        &self,
        now: Millis,
        skip: &(dyn for<'d> Fn(&'d QueueKey) -> bool + Sync),
        max: usize,
    ) -> Result<Vec<DueQueue>, StoreError>;

    /// When something that is not due now becomes due, at the earliest.
    async fn next_due(&self, now: Millis) -> Option<Millis>;

    /// Makes due now what waits for `until` exactly, and what of `keys` waits for no longer than
    /// that: what it was put off for is over. Not durable: after a restart it waits as before, and is
    /// to be hastened again.
    async fn hasten(&self, keys: &std::collections::HashSet<QueueKey>, until: Millis, now: Millis);

    /// Resolves when something may have become due since the last call: after `accept`, a settle or
    /// an operator's action.
    async fn changed(&self);

    /// Leases up to `max` due deliveries of any of `keys`: fairly among tenants, and of a tenant
    /// the longest due first, where each step of priority counts as [`PRIORITY_STEP`] of being due.
    /// A lease that nobody has any more lapses at `until`, or after another term of the same length
    /// if it was given up later.
    async fn lease(
        &self,
        keys: &[QueueKey],
        now: Millis,
        until: Millis,
        max: usize,
    ) -> Result<Vec<Lease>, StoreError>;

    /// Settles attempts with their events, and queues `items` (bounces), in one atomic and durable
    /// step. An item none of whose recipients is pending and none unreported is deleted with its
    /// body. Settlements are shared: a caller that has to try again still has them.
    async fn settle(&self, settlements: Vec<Arc<Settlement>>, items: Vec<NewItem>) -> Result<(), StoreError>;

    /// Items about which reports are due, at most about `max`. Reports of failure and of relaying
    /// are due when no delivery of the item is leased or due before `now`: the round is over, and
    /// one message tells all. A report of delay is due when its time has come.
    async fn unreported(
        &self,
        now: Millis,
        max: usize,
    ) -> Result<Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>, StoreError>;

    /// Marks reports as made and queues the bounce that makes them (or none), atomically. Deletes
    /// the item when nothing is left to do.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if one of them is not due any more; then none is marked.
    async fn report(
        &self,
        item: ItemId,
        recipients: Vec<ReportKey>,
        bounce: Option<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError>;

    /// The body. None when the item is gone.
    async fn body(&self, item: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError>;

    /// One item. None when it is gone.
    async fn item(&self, item: ItemId) -> Result<Option<ItemView>, StoreError>;

    /// Up to `max` items after `after` in the order of their ids. There may be fewer although there are
    /// more; none only at the end.
    async fn list(&self, after: Option<ItemId>, max: usize) -> Result<ItemPage, StoreError>;

    /// Up to `max` items of the shard of `first`, from it on, in the order of their ids: the messages of
    /// a request or a batch stand in a row. Bounded as [`Self::list`].
    async fn items_from(&self, first: ItemId, max: usize) -> Result<Vec<ItemView>, StoreError> {
        Ok(self.list(Some(first.before()), max).await?.items)
    }

    /// Does it to all pending deliveries of the item; events are written if something was done. One that is being attempted is held from the
    /// end of the attempt on; it cannot be dropped.
    async fn act(
        &self,
        item: ItemId,
        action: OperatorAction,
        now: Millis,
        events: Vec<NewEvent>,
    ) -> Result<Acted, StoreError>;

    /// As [`Self::act`], of the item's pending deliveries to one domain only. To cancel or to
    /// reschedule is for whole items: it does nothing here.
    async fn act_on_domain(
        &self,
        item: ItemId,
        domain: &str,
        action: OperatorAction,
        now: Millis,
    ) -> Result<Acted, StoreError>;

    /// What waits, by queue key; from memory. Looks at no more than `looks` deliveries.
    async fn backlog(&self, now: Millis, looks: usize) -> Backlog;

    /// Up to `max` items after `after` with something pending to a domain; from memory. Looks at
    /// about `looks` deliveries at most, so that there may be fewer than `max` and more to come.
    async fn items_to(&self, domain: &str, after: Option<ItemId>, looks: usize, max: usize) -> DomainItems;

    /// One delivery. None when it is gone.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<QueuedDelivery>, StoreError>;

    /// Counts.
    fn stats(&self) -> QueueStats;

    /// Deliveries of a tenant that are held. Those that are being accepted at this moment are not
    /// counted yet.
    fn held(&self, tenant: &str) -> u64;

    /// Whether new mail would be accepted; the error says why not. For readiness.
    fn ready(&self) -> Result<(), StoreError>;

    /// Waits for what is under way and closes the store.
    async fn close(&self);
}
