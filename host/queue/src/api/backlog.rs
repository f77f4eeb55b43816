//! What waits, for operators.

use std::sync::Arc;

use super::{DeliveryId, DeliveryView, ItemId, ItemMeta, Millis, QueueKey};

/// Deliveries with pending recipients under one queue key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBacklog {
    /// What they are scheduled by.
    pub key: QueueKey,
    /// How many.
    pub deliveries: u64,
    /// Their pending recipients.
    pub recipients: u64,
    /// Deliveries that are due and wait for their site.
    pub due: u64,
    /// Deliveries that are being attempted.
    pub leased: u64,
    /// Deliveries that are held.
    pub held: u64,
    /// When the first becomes due of those that are neither held nor being attempted.
    pub next_due: Option<Millis>,
    /// The delivery of the oldest item.
    pub oldest: DeliveryId,
}

/// What waits, by queue key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// In no order.
    pub keys: Vec<KeyBacklog>,
    /// More waits than was looked at: the counts are too low, and keys may be missing.
    pub is_truncated: bool,
}

/// Items with something pending to a domain, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainItems {
    /// Items with their tenants.
    pub items: Vec<(ItemId, String)>,
    /// Where to go on: after this item. None: there are no more.
    pub next: Option<ItemId>,
}

/// One delivery, with the facts of its item.
#[derive(Debug, Clone)]
pub struct QueuedDelivery {
    /// Of the item. The recipe may be missing.
    pub meta: Arc<ItemMeta>,
    /// The delivery.
    pub view: DeliveryView,
}
