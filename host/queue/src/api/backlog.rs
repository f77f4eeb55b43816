//! What waits, for operators.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::{DeliveryId, DeliveryView, ItemId, ItemMeta, ItemView, Millis, QueueKey, cbor};

/// Deliveries with pending recipients under one queue key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyBacklog {
    /// What they are scheduled by.
    #[n(0)]
    pub key: QueueKey,
    /// How many.
    #[n(1)]
    pub deliveries: u64,
    /// Their pending recipients.
    #[n(2)]
    pub recipients: u64,
    /// Deliveries that are due and wait for their site.
    #[n(3)]
    pub due: u64,
    /// Deliveries that are being attempted.
    #[n(4)]
    pub leased: u64,
    /// Deliveries that are held.
    #[n(5)]
    pub held: u64,
    /// When the first becomes due of those that are neither held nor being attempted.
    #[n(6)]
    pub next_due: Option<Millis>,
    /// The delivery of the oldest item.
    #[n(7)]
    pub oldest: DeliveryId,
}

/// What waits, by queue key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Backlog {
    /// In no order.
    #[n(0)]
    pub keys: Vec<KeyBacklog>,
    /// More waits than was looked at: the counts are too low, and keys may be missing.
    #[n(1)]
    pub is_truncated: bool,
    /// Shards that could not be asked: what they have is missing.
    #[n(2)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub unavailable_shards: Vec<u16>,
}

/// Items with something pending to a domain, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DomainItems {
    /// Items with their tenants.
    #[n(0)]
    #[cbor(with = "cbor::items")]
    pub items: Vec<(ItemId, String)>,
    /// Where to go on: after this item. None: there are no more.
    #[n(1)]
    #[cbor(with = "cbor::optional_item_id")]
    pub next: Option<ItemId>,
    /// Shards that could not be asked: what they have is missing.
    #[n(2)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub unavailable_shards: Vec<u16>,
}

/// Items in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ItemPage {
    /// The items.
    #[n(0)]
    pub items: Vec<ItemView>,
    /// Shards that could not be asked: what they have is missing.
    #[n(1)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub unavailable_shards: Vec<u16>,
}

impl From<Vec<ItemView>> for ItemPage {
    fn from(items: Vec<ItemView>) -> Self {
        Self { items, unavailable_shards: Vec::new() }
    }
}

/// One delivery, with the facts of its item.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct QueuedDelivery {
    /// Of the item. The recipe may be missing.
    #[n(0)]
    #[cbor(with = "cbor::shared_meta")]
    pub meta: Arc<ItemMeta>,
    /// The delivery.
    #[n(1)]
    pub view: DeliveryView,
}
