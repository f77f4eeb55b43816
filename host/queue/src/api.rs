//! The seam between the product and storage.

mod events;
mod id;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use relevo_mailkit::source::Source;
use serde::{Deserialize, Serialize};

pub use events::{Event, EventError, EventLog, NewEvent};
pub use id::{ItemId, NotAnId};

/// Milliseconds since 1970. Time is an argument everywhere in this crate.
pub type Millis = i64;

/// What all deliveries of a message share. Written once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemMeta {
    /// The owner. Empty: mail of trusted peers that belongs to no tenant.
    pub tenant: String,
    /// The reverse-path without angle brackets; empty for the null reverse-path.
    pub sender: String,
    /// When it was accepted; also `t=` of its signatures.
    pub accepted_at: Millis,
    /// When what is left is given up.
    pub expires_at: Millis,
    /// Octets of the body as stored.
    pub size: u64,
    /// A bounce of ours: never answered by another.
    pub is_bounce: bool,
    /// Set when no bounce may be sent for it: null sender, a bounce, or a reverse-path that is not tied to a tenant.
    pub no_bounce: bool,
    /// For the log, events and reports: `smtp`, `http`, `bounce`.
    pub source: String,
    /// For events and bounces.
    pub message_id: String,
    /// For listings; at most 200 octets.
    pub subject: String,
    /// The relay's own serialised recipe: how copies are made. Opaque here. Large recipes are kept beside the body.
    pub recipe: Vec<u8>,
}

/// One recipient of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Position in the envelope as accepted, from 0: what tracking tokens and events refer to.
    pub index: u32,
    /// The forward-path without angle brackets.
    pub address: String,
    /// As far as it got.
    pub state: RecipientState,
}

/// Where a recipient stands. Kept until the item is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecipientState {
    /// Not settled yet.
    Pending,
    /// The next hop took responsibility.
    Delivered,
    /// Given up for good; `reported` once its bounce was queued or none is due.
    Failed {
        /// Set when the bounce is written or none is due.
        reported: bool,
    },
}

/// What was learnt from the last attempt; for `why`, bounces and events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LastAttempt {
    /// When.
    pub at: Millis,
    /// The remote's literal reply or our own words; at most 1 KB, control characters removed.
    pub text: String,
    /// Enhanced status, such as `4.4.1`.
    pub status: String,
    /// Reply code, where a remote gave one.
    pub code: Option<u16>,
    /// The host that answered.
    pub host: Option<String>,
    /// Its address.
    pub ip: Option<IpAddr>,
}

/// A delivery to be queued.
///
/// Recipients that were refused when the message was accepted come as failed and unreported: they are never attempted, and
/// their sender is told as if the next hop had refused them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDelivery {
    /// The recipients' domain in lower case A-labels, or the literal in brackets.
    pub domain: String,
    /// What scheduling goes by: deliveries of one stream go the same way. Opaque here; empty: the domain is the stream.
    pub stream: String,
    /// They share one copy and one transaction.
    pub recipients: Vec<Recipient>,
    /// When the first attempt is due.
    pub due_at: Millis,
    /// Of what is due, this goes before that of the same tenant with a lower one, within limits: see [`PRIORITY_STEP`].
    pub priority: Priority,
    /// Not due until somebody releases it.
    pub held: bool,
    /// What is known before the first attempt: why it is held, or the reply for its failed recipients.
    pub last: Option<LastAttempt>,
}

/// A message to be queued.
pub struct NewItem {
    /// Unique; made by the caller.
    pub id: ItemId,
    /// What its deliveries share.
    pub meta: ItemMeta,
    /// The bytes, from [`Queue::spool`].
    pub body: SpooledBody,
    /// At least one.
    pub deliveries: Vec<NewDelivery>,
}

/// How urgent a delivery is among those of its tenant: -9 to 9, 0 is the usual one (as MT-PRIORITY, RFC 6710 section 3).
pub type Priority = i8;

/// The highest priority; its negative is the lowest.
pub const MAX_PRIORITY: Priority = 9;

/// A delivery is leased as if it had become due this much earlier for each step of its priority (later, for negative ones).
/// So one of low priority waits behind what becomes due up to as much later, and behind nothing else: none starves.
pub const PRIORITY_STEP: Millis = 60 * 60 * 1000;

/// Bytes that arrived and are not yet promised: in memory up to 64 KiB, else in a file. Dropping it deletes them.
pub struct SpooledBody {
    /// Readable at once, for the stages.
    pub source: Arc<dyn Source>,
    /// The store's own handle for taking it over without a copy.
    pub handle: Box<dyn std::any::Any + Send + Sync>,
}

/// Takes the bytes of one message as they arrive.
#[async_trait]
pub trait Spool: Send {
    /// Appends.
    ///
    /// # Errors
    /// [`StoreError::Full`] below the reserve, [`StoreError::Io`] otherwise. Nothing is kept of a failed spool.
    async fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError>;

    /// Ends it.
    ///
    /// # Errors
    /// As for `write`.
    async fn finish(self: Box<Self>) -> Result<SpooledBody, StoreError>;
}

/// Names a delivery of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryId {
    /// The item.
    pub item: ItemId,
    /// Its number within the item.
    pub number: u32,
}

/// A delivery as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its name.
    pub id: DeliveryId,
    /// As in [`NewDelivery`].
    pub domain: String,
    /// As in [`NewDelivery`]; [`Delivery::stream`] has the domain in place of an empty one.
    pub stream: String,
    /// All of them, settled ones too.
    pub recipients: Vec<Recipient>,
    /// When the next attempt is due.
    pub due_at: Millis,
    /// As in [`NewDelivery`].
    pub priority: Priority,
    /// Held by an operator: not due until released.
    pub held: bool,
    /// Attempts so far.
    pub attempts: u32,
    /// What the last one found; of several recipients, the worst.
    pub last: Option<LastAttempt>,
    /// What was learnt about single recipients that are pending or not reported yet, by index, where it is not `last`.
    pub reasons: Vec<(u32, LastAttempt)>,
}

impl Delivery {
    /// What scheduling goes by.
    #[must_use]
    pub fn stream(&self) -> &str {
        own_or_domain(&self.stream, &self.domain)
    }

    /// What was learnt last about this recipient.
    #[must_use]
    pub fn reason(&self, index: u32) -> Option<&LastAttempt> {
        own_or_last(&self.reasons, self.last.as_ref(), index)
    }
}

/// A stream without a name of its own is that of its domain.
pub(crate) fn own_or_domain<'a>(stream: &'a str, domain: &'a str) -> &'a str {
    if stream.is_empty() { domain } else { stream }
}

/// The entry of a recipient, or what holds for all that have none.
pub(crate) fn own_or_last<'a>(
    reasons: &'a [(u32, LastAttempt)],
    last: Option<&'a LastAttempt>,
    index: u32,
) -> Option<&'a LastAttempt> {
    reasons.iter().find(|(of, _)| *of == index).map(|(_, own)| own).or(last)
}

/// The right to attempt a delivery, until `until`. It names the boot of its owner: the embedded store makes leases of an
/// earlier boot due at start.
#[derive(Debug, Clone)]
pub struct Lease {
    /// What is leased.
    pub delivery: Delivery,
    /// The item's shared facts.
    pub meta: Arc<ItemMeta>,
    /// When it lapses.
    pub until: Millis,
    /// Changes with every lease of the same delivery: a settle under an older one is refused.
    pub token: u64,
}

/// A stream that has something due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueStream {
    /// As [`Delivery::stream`] says.
    pub stream: String,
    /// Deliveries that are due, at most counted to 1000.
    pub ready: usize,
    /// Tenants that own them.
    pub tenants: Vec<String>,
}

/// What becomes of a leased delivery. Recipients that are not named stay as they are.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The lease it settles.
    pub lease: Lease,
    /// New states by recipient index.
    pub recipients: Vec<(u32, RecipientState)>,
    /// When pending recipients are left: the next attempt.
    pub next_attempt: Option<Millis>,
    /// What the attempt found. None: the lease is handed back, no attempt was made.
    pub last: Option<LastAttempt>,
    /// What it found for single recipients, by index, where that is not `last`. Of no meaning without `last`.
    pub reasons: Vec<(u32, LastAttempt)>,
}

/// A failed recipient whose sender was not told yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreported {
    /// Where it stands.
    pub delivery: DeliveryId,
    /// Who.
    pub recipient: Recipient,
    /// Why.
    pub last: LastAttempt,
}

/// Why the store did not do it. Nothing of the call has taken effect.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Less than the reserve is free: 452 4.3.1.
    #[error("less than the configured reserve of disk space is free")]
    Full,
    /// The medium failed: 451 4.3.0. A failed sync is fatal for the store: every later call fails too.
    #[error("store: {0}")]
    Io(String),
    /// The entry is corrupt and was put into quarantine.
    #[error("corrupt entry {0}")]
    Corrupt(String),
    /// The lease lapsed or was settled already.
    #[error("the lease of {0:?} is no longer held")]
    LeaseLost(DeliveryId),
}

/// Deliveries of one item, for `queue list`, `show` and `why`.
#[derive(Debug, Clone)]
pub struct ItemView {
    /// The item.
    pub id: ItemId,
    /// Its facts.
    pub meta: Arc<ItemMeta>,
    /// All its deliveries.
    pub deliveries: Vec<DeliveryView>,
}

/// A delivery and who holds it.
#[derive(Debug, Clone)]
pub struct DeliveryView {
    /// As stored.
    pub delivery: Delivery,
    /// Lapse of the lease under which it is attempted now.
    pub leased_until: Option<Millis>,
}

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Due at once.
    Retry,
    /// Not due until released.
    Hold,
    /// Due at once, no longer held.
    Release,
    /// Gone, without a bounce.
    Drop,
}

/// Counts for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueStats {
    /// Items.
    pub items: u64,
    /// Deliveries with pending recipients.
    pub deliveries: u64,
    /// Of these, due now.
    pub due: u64,
    /// Of these, leased.
    pub leased: u64,
    /// Of these, held.
    pub held: u64,
    /// The oldest due time of a delivery that is due and not leased: far in the past means that something is stuck.
    pub oldest_due: Option<Millis>,
    /// Entries in quarantine.
    pub quarantined: u64,
    /// Group commits, and what they held: the mean size of a group is `committed / commits`.
    pub commits: u64,
    /// Requests in them.
    pub committed: u64,
}

/// The durable queue. Calls may come from any number of tasks; writes that arrive together share one sync.
///
/// Nothing here iterates over the whole queue except [`Queue::list`], page by page.
#[async_trait]
pub trait Queue: Send + Sync {
    /// A place for the bytes of a message that is arriving. Refuses below the reserve of free space.
    async fn spool(&self) -> Result<Box<dyn Spool>, StoreError>;

    /// Makes items and events durable in one atomic step. When it returns `Ok`, they survive a loss of power.
    async fn accept(&self, items: Vec<NewItem>, events: Vec<NewEvent>) -> Result<(), StoreError>;

    /// Up to `max` streams that have something due at `now`, those that wait longest first, and not in `skip`.
    async fn due(
        &self,
        now: Millis,
        skip: &(dyn for<'d> Fn(&'d str) -> bool + Sync),
        max: usize,
    ) -> Result<Vec<DueStream>, StoreError>;

    /// When something that is not due now becomes due, at the earliest.
    async fn next_due(&self, now: Millis) -> Option<Millis>;

    /// Resolves when something may have become due since the last call: after `accept`, a settle or an operator's action.
    async fn changed(&self);

    /// Leases up to `max` due deliveries of any of `streams`, until `until`: fairly among tenants, and of a tenant the longest
    /// due first, where each step of priority counts as [`PRIORITY_STEP`] of being due.
    async fn lease(
        &self,
        streams: &[String],
        now: Millis,
        until: Millis,
        max: usize,
    ) -> Result<Vec<Lease>, StoreError>;

    /// Prolongs leases that are still held. Those that lapsed are left out of the answer.
    async fn extend(&self, leases: &[Lease], until: Millis) -> Result<Vec<DeliveryId>, StoreError>;

    /// Settles attempts, queues `items` (bounces), and writes events, in one atomic and durable step. An item none of whose
    /// recipients is pending and none unreported is deleted with its body.
    async fn settle(
        &self,
        settlements: Vec<Settlement>,
        items: Vec<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError>;

    /// Items with failed recipients that were not reported and with no delivery leased or due before `now`: the round is
    /// over, one bounce is due. At most `max`.
    async fn unreported(
        &self,
        now: Millis,
        max: usize,
    ) -> Result<Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>, StoreError>;

    /// Marks them reported and queues the bounce (or none), atomically. Deletes the item when nothing is left to do.
    async fn report(
        &self,
        item: ItemId,
        recipients: Vec<(DeliveryId, u32)>,
        bounce: Option<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError>;

    /// Octets of the body.
    async fn read(&self, item: ItemId, range: Range<u64>) -> Result<Vec<u8>, StoreError>;

    /// The body for reading on a guest thread. None when the item is gone.
    async fn body(&self, item: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError>;

    /// One item. None when it is gone.
    async fn item(&self, item: ItemId) -> Result<Option<ItemView>, StoreError>;

    /// Up to `max` items after `after` in the order of their ids.
    async fn list(&self, after: Option<ItemId>, max: usize) -> Result<Vec<ItemView>, StoreError>;

    /// Does it to all pending deliveries of the item. False when there is no such item. A delivery that is being attempted
    /// is dropped or held when the attempt is settled.
    async fn act(
        &self,
        item: ItemId,
        action: Action,
        now: Millis,
        events: Vec<NewEvent>,
    ) -> Result<bool, StoreError>;

    /// Counts.
    fn stats(&self) -> QueueStats;

    /// Deliveries of a tenant that are held. Those that are being accepted at this moment are not counted yet.
    fn held(&self, tenant: &str) -> u64;

    /// Whether new mail would be accepted; the error says why not. For readiness.
    fn ready(&self) -> Result<(), StoreError>;

    /// Waits for what is under way and closes the store.
    async fn close(&self);
}
