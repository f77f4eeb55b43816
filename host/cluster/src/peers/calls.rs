//! Questions about a shard, and their answers: CBOR with numbered fields, so that fields can be added.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use relevo_queue::{
    Acted, Backlog, DeliveryId, DomainItems, IdempotentRequest, ItemId, ItemView, Millis, NewEvent,
    OperatorAction, QueueStats, QueuedDelivery, StoreError, StoredEvent,
};

use crate::engine::ShardId;
use crate::wire::WireError;

/// Octets of a body that one answer has at most.
pub const BODY_PIECE: u32 = 1 << 20;
/// Octets of items after which an answer ends.
pub const ITEMS: usize = 4 << 20;
/// Items or events that are asked for at once, and tenants.
pub const MAX_ENTRIES: u32 = 1_000;

/// An id.
pub type Id = ByteArray<16>;

/// A question about a shard.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct StoreQuestion {
    /// Which.
    #[n(0)]
    pub shard: ShardId,
    /// What is asked of it.
    #[n(1)]
    pub call: StoreCall,
}

/// A call of [`relevo_queue::Queue`] or [`relevo_queue::EventLog`], of the same name.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[expect(missing_docs, reason = "they are arguments of the calls")]
pub enum StoreCall {
    /// An item.
    #[n(0)]
    Item(#[n(0)] Id),
    /// A piece of the body of an item.
    #[n(1)]
    Body {
        #[n(0)]
        item: Id,
        #[n(1)]
        offset: u64,
    },
    /// A delivery.
    #[n(2)]
    Delivery(#[n(0)] DeliveryId),
    /// An act on an item, or on its deliveries to a domain.
    #[n(3)]
    Act {
        #[n(0)]
        item: Id,
        #[n(1)]
        domain: Option<String>,
        #[n(2)]
        action: OperatorAction,
        #[n(3)]
        now: Millis,
        #[n(4)]
        events: Vec<NewEvent>,
    },
    /// Events about messages of the shard.
    #[n(4)]
    Append {
        #[n(0)]
        events: Vec<NewEvent>,
        /// They may be lost.
        #[n(1)]
        are_expendable: bool,
    },
    /// Items after one.
    #[n(5)]
    List {
        #[n(0)]
        after: Option<Id>,
        #[n(1)]
        max: u32,
    },
    /// Items to a domain.
    #[n(6)]
    ItemsTo {
        #[n(0)]
        domain: String,
        #[n(1)]
        after: Option<Id>,
        #[n(2)]
        looks: u32,
        #[n(3)]
        max: u32,
    },
    /// What waits, by queue key.
    #[n(7)]
    Backlog {
        #[n(0)]
        now: Millis,
        #[n(1)]
        looks: u32,
    },
    /// Counts of the shard, and of what is held of these tenants.
    #[n(8)]
    Counts(#[n(0)] Vec<String>),
    /// The request under an idempotency key.
    #[n(9)]
    AcceptedRequest {
        #[n(0)]
        tenant: String,
        #[n(1)]
        key: String,
        #[n(2)]
        now: Millis,
    },
    /// Events of a tenant after a cursor.
    #[n(10)]
    Events {
        #[n(0)]
        tenant: String,
        #[n(1)]
        after: u64,
        #[n(2)]
        max: u32,
    },
    /// Events of a tenant before a cursor.
    #[n(11)]
    EventsBefore {
        #[n(0)]
        tenant: String,
        /// Only those that list a message.
        #[n(1)]
        of_messages: bool,
        #[n(2)]
        before: u64,
        #[n(3)]
        max: u32,
    },
    /// Events about a message.
    #[n(12)]
    EventsOf {
        #[n(0)]
        message: Id,
        #[n(1)]
        after: u64,
        #[n(2)]
        max: u32,
    },
    /// The cursor of the first event of a tenant behind a time.
    #[n(13)]
    PlaceBehind {
        #[n(0)]
        tenant: String,
        #[n(1)]
        at: Millis,
    },
}

impl StoreCall {
    /// The messages that it is about: they must be of the shard.
    pub(super) fn messages(&self) -> impl Iterator<Item = ItemId> {
        let one = match self {
            Self::Item(id) | Self::Body { item: id, .. } | Self::Act { item: id, .. } => Some(item(*id)),
            Self::EventsOf { message, .. } => Some(item(*message)),
            Self::Delivery(delivery) => Some(delivery.item),
            _ => None,
        };
        let events = match self {
            Self::Append { events, .. } | Self::Act { events, .. } => events.as_slice(),
            _ => &[],
        };
        one.into_iter().chain(events.iter().filter_map(|event| event.item))
    }
}

/// The answer to a [`StoreQuestion`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[expect(missing_docs, reason = "they are what the calls return")]
pub enum StoreAnswer {
    /// It was not done.
    #[n(0)]
    Failed(#[n(0)] StoreFailure),
    #[n(1)]
    Item(#[n(0)] Option<ItemView>),
    /// None: the item is gone.
    #[n(2)]
    Body(#[n(0)] Option<BodyPiece>),
    #[n(3)]
    Delivery(#[n(0)] Option<QueuedDelivery>),
    #[n(4)]
    Acted(#[n(0)] Acted),
    #[n(5)]
    Appended,
    #[n(6)]
    Items {
        #[n(0)]
        items: Vec<ItemView>,
        /// It ends for want of room: there may be more behind the last one.
        #[n(1)]
        is_cut: bool,
    },
    #[n(7)]
    ItemsTo(#[n(0)] DomainItems),
    #[n(8)]
    Backlog(#[n(0)] Backlog),
    #[n(9)]
    Counts {
        #[n(0)]
        stats: QueueStats,
        /// Of each tenant that was asked for.
        #[n(1)]
        held: Vec<u64>,
    },
    #[n(10)]
    Request(#[n(0)] Option<IdempotentRequest>),
    #[n(11)]
    Events(#[n(0)] Vec<StoredEvent>),
    #[n(12)]
    Place(#[n(0)] u64),
}

/// A piece of a body.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BodyPiece {
    /// Octets of the whole body.
    #[n(0)]
    pub size: u64,
    /// As many as fit; none at the end.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub octets: Vec<u8>,
}

/// Why a shard did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum StoreFailure {
    /// The node does not serve the shard.
    #[n(0)]
    NotServed,
    /// [`StoreError::Full`]
    #[n(1)]
    Full,
    /// [`StoreError::NoInodes`]
    #[n(2)]
    NoInodes,
    /// [`StoreError::Unavailable`]
    #[n(3)]
    Unavailable(#[n(0)] String),
    /// [`StoreError::Corrupt`]
    #[n(4)]
    Corrupt(#[n(0)] String),
    /// [`relevo_queue::EventError::Pruned`], with the oldest cursor.
    #[n(5)]
    Pruned(#[n(0)] u64),
    /// Anything else.
    #[n(6)]
    Other(#[n(0)] String),
}

impl From<StoreError> for StoreFailure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::NoInodes => Self::NoInodes,
            StoreError::Unavailable(why) => Self::Unavailable(why),
            StoreError::Corrupt(why) => Self::Corrupt(why),
            StoreError::Io(why) => Self::Other(why),
            StoreError::KnownKey | StoreError::LeaseLost(_) => Self::Other(error.to_string()),
        }
    }
}

impl From<StoreFailure> for StoreError {
    fn from(failure: StoreFailure) -> Self {
        match failure {
            StoreFailure::NotServed => Self::Unavailable("the shard is served by another node".into()),
            StoreFailure::Full => Self::Full,
            StoreFailure::NoInodes => Self::NoInodes,
            StoreFailure::Unavailable(why) => Self::Unavailable(why),
            StoreFailure::Corrupt(why) => Self::Corrupt(why),
            StoreFailure::Pruned(oldest) => Self::Io(format!("events up to {oldest} were pruned")),
            StoreFailure::Other(why) => Self::Io(why),
        }
    }
}

/// An id as it is sent.
pub(super) fn id(item: ItemId) -> Id {
    item.0.into()
}

/// An id as it was sent.
pub(super) fn item(id: Id) -> ItemId {
    ItemId(id.into())
}

/// Encodes a question or an answer.
///
/// # Errors
/// It has something that cannot be written.
pub fn encode(value: &impl Encode<()>) -> Result<Vec<u8>, WireError> {
    minicbor::to_vec(value).map_err(|_| WireError::Unreadable)
}

/// Octets of what is encoded.
pub(super) fn length(value: &impl Encode<()>) -> usize {
    struct Counter(usize);
    impl minicbor::encode::Write for Counter {
        type Error = std::convert::Infallible;
        fn write_all(&mut self, octets: &[u8]) -> Result<(), Self::Error> {
            self.0 += octets.len();
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // What cannot be encoded is found out when it is sent.
    let _ = minicbor::encode(value, &mut counter);
    counter.0
}

/// Decodes a question or an answer; nothing may follow it.
///
/// # Errors
/// It cannot be read.
pub fn decode<'b, T: Decode<'b, ()>>(octets: &'b [u8]) -> Result<T, WireError> {
    let mut decoder = minicbor::Decoder::new(octets);
    let value = decoder.decode().map_err(|_| WireError::Unreadable)?;
    match decoder.position() == octets.len() {
        true => Ok(value),
        false => Err(WireError::Unreadable),
    }
}

#[cfg(test)]
mod tests;
