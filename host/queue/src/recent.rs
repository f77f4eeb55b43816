//! What was accepted or leased a moment ago, still in memory: its first attempt reads nothing from
//! the disk, and other attempts only once.
//!
//! Only a shortcut. What is not here is read from the store, and what is here is what the store
//! holds: an entry comes in when its commit is durable, and a delivery leaves when it is leased or
//! when a commit touches it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use relevo_mailkit::source::Source;

use crate::record::{DeliveryRecord, INLINE};
use crate::{Delivery, DeliveryId, ItemId, ItemMeta, NewDelivery};

/// Messages that are remembered: under load about as many as are accepted in half a second.
const ITEMS: usize = 512;
/// Octets of bodies in memory.
const OCTETS: usize = 4 << 20;

/// A message that has just been accepted.
pub(crate) struct Fresh {
    pub(crate) meta: Arc<ItemMeta>,
    /// None when it is in a file of its own: who reads that checks it.
    pub(crate) body: Option<Arc<dyn Source>>,
    pub(crate) deliveries: Vec<NewDelivery>,
}

struct Item {
    meta: Arc<ItemMeta>,
    body: Option<Arc<dyn Source>>,
    octets: usize,
    /// By number; none once it was leased or changed.
    deliveries: Vec<Option<NewDelivery>>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Recent(Mutex<RecentItems>);

#[derive(Default)]
struct RecentItems {
    items: HashMap<ItemId, Item>,
    /// Oldest first; may name items that are gone, and then come again.
    order: VecDeque<ItemId>,
    octets: usize,
}

impl std::fmt::Debug for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kept = self.kept();
        f.debug_struct("Recent").field("items", &kept.items.len()).field("octets", &kept.octets).finish()
    }
}

impl Recent {
    fn kept(&self) -> MutexGuard<'_, RecentItems> {
        self.0.lock()
    }

    /// Remembers a message whose commit is durable; the oldest make room.
    pub(crate) fn add(&self, id: ItemId, fresh: Fresh) {
        let Fresh { meta, body, deliveries } = fresh;
        // A campaign to thousands of domains is not "a moment" of work, and its records are large.
        if deliveries.len() > ITEMS {
            return;
        }
        let body_octets = body.as_ref().map_or(0, |body| usize::try_from(body.size()).unwrap_or(INLINE));
        let octets = body_octets + meta.recipe.len();
        let deliveries = deliveries.into_iter().map(Some).collect();
        let mut kept = self.kept();
        kept.remove(id);
        kept.items.insert(id, Item { meta, body, octets, deliveries });
        kept.order.push_back(id);
        kept.octets += octets;
        while kept.order.len() > ITEMS || kept.octets > OCTETS {
            let Some(oldest) = kept.order.pop_front() else { break };
            kept.remove(oldest);
        }
    }

    /// A delivery for its first attempt, with its item's facts.
    pub(crate) fn take(&self, id: DeliveryId) -> Option<(Arc<ItemMeta>, Delivery)> {
        let mut kept = self.kept();
        let item = kept.items.get_mut(&id.item)?;
        let new = item.deliveries.get_mut(usize::try_from(id.number).ok()?)?.take()?;
        let meta = item.meta.clone();
        drop(kept);
        Some((meta, DeliveryRecord::new(new).into_delivery(id)))
    }

    /// A small body.
    pub(crate) fn body(&self, id: ItemId) -> Option<Arc<dyn Source>> {
        self.kept().items.get(&id).and_then(|item| item.body.clone())
    }

    /// A commit changed the delivery.
    pub(crate) fn changed(&self, id: DeliveryId) {
        let mut kept = self.kept();
        let Some(item) = kept.items.get_mut(&id.item) else { return };
        if let Some(delivery) = usize::try_from(id.number).ok().and_then(|n| item.deliveries.get_mut(n)) {
            *delivery = None;
        }
    }

    /// The item is gone, or damaged.
    pub(crate) fn forget(&self, id: ItemId) {
        self.kept().remove(id);
    }
}

impl RecentItems {
    fn remove(&mut self, id: ItemId) {
        if let Some(item) = self.items.remove(&id) {
            self.octets -= item.octets;
        }
        // Delivered in about the order of arrival: what is gone is mostly at the front.
        while self.order.front().is_some_and(|id| !self.items.contains_key(id)) {
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recipient;

    fn item(n: u16) -> ItemId {
        ItemId::new(i64::from(n), [0; 10])
    }

    fn fresh(octets: usize) -> Fresh {
        let recipient = Recipient::pending(0, "a@example.com");
        let delivery = NewDelivery {
            key: crate::QueueKey::of_domain("example.com"),
            recipients: vec![recipient],
            due_at: 7,
            ..NewDelivery::default()
        };
        let meta = ItemMeta { tenant: "t".into(), size: octets as u64, ..ItemMeta::default() };
        Fresh { meta: Arc::new(meta), body: Some(Arc::new(vec![0; octets])), deliveries: vec![delivery] }
    }

    #[test]
    fn gives_a_delivery_once_and_a_body_until_it_is_forgotten() {
        let recent = Recent::default();
        recent.add(item(1), fresh(10));
        let id = DeliveryId { item: item(1), number: 0 };
        let (_, delivery) = recent.take(id).expect("there");
        assert_eq!((delivery.due_at, delivery.attempts), (7, 0));
        assert!(recent.take(id).is_none());
        assert!(recent.take(DeliveryId { item: item(1), number: 1 }).is_none());
        assert_eq!(recent.body(item(1)).expect("there").size(), 10);
        recent.forget(item(1));
        assert!(recent.body(item(1)).is_none());
    }

    #[test]
    fn does_not_give_what_was_changed() {
        let recent = Recent::default();
        recent.add(item(1), fresh(10));
        recent.changed(DeliveryId { item: item(1), number: 0 });
        assert!(recent.take(DeliveryId { item: item(1), number: 0 }).is_none());
    }

    #[test]
    fn stays_within_its_bounds() {
        let recent = Recent::default();
        for n in 0..2000 {
            recent.add(item(n), fresh(INLINE / 4));
            // Some are delivered out of order.
            recent.forget(item(n.saturating_sub(n % 7)));
        }
        let kept = recent.kept();
        assert!(kept.items.len() <= ITEMS && kept.order.len() <= ITEMS);
        assert!(kept.octets <= OCTETS);
        let octets: usize = kept.items.values().map(|i| i.octets).sum();
        assert_eq!(octets, kept.octets);
        assert!(kept.items.contains_key(&item(1998)), "the latest stay");
    }
}
