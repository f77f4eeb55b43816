//! The leases that are held, and which worker holds them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use relevo_queue::{DeliveryId, Lease, Millis};

use super::site::WorkerId;

/// All leases from the moment they are taken until they are settled on disk.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: Mutex<HashMap<DeliveryId, (WorkerId, Lease)>>,
}

impl Leases {
    fn held(&self) -> MutexGuard<'_, HashMap<DeliveryId, (WorkerId, Lease)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `worker` took these.
    pub(crate) fn add(&self, worker: WorkerId, leases: &[Lease]) {
        let mut held = self.held();
        for lease in leases {
            held.insert(lease.delivery.id, (worker, lease.clone()));
        }
    }

    /// The outcome is known and on its way to the disk: no worker's fault can undo it.
    pub(crate) fn attempted(&self, id: DeliveryId) {
        if let Some((worker, _)) = self.held().get_mut(&id) {
            *worker = NOBODY;
        }
    }

    /// Settled, or lapsed.
    pub(crate) fn remove(&self, id: DeliveryId) {
        self.held().remove(&id);
    }

    /// What a worker still has in hand.
    pub(crate) fn of(&self, worker: WorkerId) -> Vec<Lease> {
        self.held().values().filter(|(owner, _)| *owner == worker).map(|(_, lease)| lease.clone()).collect()
    }

    /// What no outcome is known of.
    pub(crate) fn in_hand(&self) -> Vec<Lease> {
        self.held().values().filter(|(owner, _)| *owner != NOBODY).map(|(_, lease)| lease.clone()).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Lease> {
        self.held().values().map(|(_, lease)| lease.clone()).collect()
    }

    /// They hold until then.
    pub(crate) fn extended(&self, ids: &[DeliveryId], until: Millis) {
        let mut held = self.held();
        for id in ids {
            if let Some((_, lease)) = held.get_mut(id) {
                lease.until = until;
            }
        }
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.held().len()
    }
}

/// Owns what was attempted and is being settled.
const NOBODY: WorkerId = 0;
