//! The event log's side of the seam.

use async_trait::async_trait;
use minicbor::{Decode, Encode};
use relevo_mailkit::event::Event;
use relevo_mailkit::labels::Labels;

use super::{ItemId, ItemMeta, Millis, StoreError};
use crate::record::EventRecord;

/// An event to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The owner; empty for none.
    pub tenant: String,
    /// When it happened.
    pub at: Millis,
    /// The message it is about.
    pub item: Option<ItemId>,
    /// What the sender attached to that message.
    pub labels: Labels,
    /// The type and its data.
    pub event: Event,
}

impl NewEvent {
    /// An event about a message.
    #[must_use]
    pub fn about(item: ItemId, meta: &ItemMeta, at: Millis, event: Event) -> Self {
        Self { tenant: meta.tenant.clone(), at, item: Some(item), labels: meta.labels.clone(), event }
    }
}

/// As in the log.
impl<C> Encode<C> for NewEvent {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let record = EventRecord::try_from(self).map_err(minicbor::encode::Error::message)?;
        record.encode(encoder, ctx)
    }
}

impl<'b, C> Decode<'b, C> for NewEvent {
    fn decode(decoder: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        EventRecord::decode(decoder, ctx)?.into_event().map_err(minicbor::decode::Error::message)
    }
}

/// An event as stored. The cursor is the sequence of its commit and its place within it; unique,
/// ascending.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StoredEvent {
    /// Where it stands in the log.
    #[n(0)]
    pub cursor: u64,
    /// What it says.
    #[n(1)]
    pub event: NewEvent,
}

/// Why no events are returned.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The cursor is older than what is kept: 410.
    #[error("events up to {oldest} were pruned")]
    Pruned {
        /// The oldest cursor that can be read after.
        oldest: u64,
    },
    /// As for the queue.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Octets of stored events that one call returns at least before it stops short of its `max`.
pub const EVENT_PAGE_OCTETS: usize = 1 << 20;

/// The event log: append-only, durable, readable by cursor. Events about mail are written with the
/// commit that they report (see [`Queue`]); this appends others, such as opens and clicks.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Makes them durable; group-committed with everything else.
    async fn append(&self, events: Vec<NewEvent>) -> Result<(), StoreError>;

    /// Like `append`, for events that may be lost. Refused with [`StoreError::Full`] when free
    /// space comes near the reserve, so that they neither use it nor bring new mail to be refused.
    async fn append_expendable(&self, events: Vec<NewEvent>) -> Result<(), StoreError>;

    /// Up to `max` events of `tenant` (all when `None`) after `after` (0: from the oldest). Fewer
    /// are returned when they have [`EVENT_PAGE_OCTETS`]; none only at the end of the log.
    async fn events(
        &self,
        tenant: Option<&str>,
        after: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, EventError>;

    /// Up to `max` events of `tenant` before `before`, the newest first, bounded as
    /// [`Self::events`].
    async fn events_before(
        &self,
        tenant: &str,
        before: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// As [`Self::events_before`], of the events that list a message
    /// ([`Event::lists_message`](relevo_mailkit::event::Event::lists_message)): a list of messages need
    /// not look through what became of them.
    async fn messages_before(
        &self,
        tenant: &str,
        before: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// Up to `max` events about a message after `after` (0: from the first that is kept), bounded
    /// as [`Self::events`]. It answers also when the message has left the queue.
    async fn events_of(
        &self,
        message: ItemId,
        after: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// Waits until the log holds an event after `after`; returns the newest cursor.
    async fn wait_after(&self, after: u64) -> u64;

    /// Removes events older than `before`, and the oldest of more than `max`. Bounded work; returns
    /// how many, call again while not 0.
    async fn prune(&self, before: Millis, max: u64) -> Result<usize, StoreError>;
}
