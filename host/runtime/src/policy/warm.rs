//! Instances of class `large` between two messages.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use wasmtime::Store;

use super::code::Guests;
use crate::state::GuestState;

/// An instance that has been configured and has answered.
pub(crate) struct Instance {
    pub(crate) store: Store<GuestState>,
    pub(crate) guests: Guests,
}

struct IdleInstance {
    /// Of the plugin: one version as one tenant uses it.
    plugin: u64,
    since: Instant,
    instance: Instance,
}

/// The warm instances of all plugins, the one that has been idle for longest first.
pub(crate) struct WarmInstances {
    kept: Mutex<VecDeque<IdleInstance>>,
    most: usize,
    most_per_plugin: usize,
    idle: Duration,
}

impl WarmInstances {
    pub(crate) fn new(most: usize, most_per_plugin: usize, idle: Duration) -> Self {
        Self { kept: Mutex::default(), most, most_per_plugin, idle }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<IdleInstance>> {
        // Nothing in here can be half done.
        self.kept.lock()
    }

    /// The plugin's instance that was used last.
    pub(crate) fn take(&self, plugin: u64) -> Option<Instance> {
        let mut kept = self.lock();
        let at = kept.iter().rposition(|one| one.plugin == plugin)?;
        kept.remove(at).map(|one| one.instance)
    }

    /// Keeps an instance, at the price of the one that has been idle for longest.
    pub(crate) fn put(&self, plugin: u64, instance: Instance, now: Instant) {
        let mut gone = Vec::new();
        let mut kept = self.lock();
        let own = kept.iter().filter(|one| one.plugin == plugin).count();
        if own >= self.most_per_plugin {
            let oldest = kept.iter().position(|one| one.plugin == plugin);
            gone.extend(oldest.and_then(|at| kept.remove(at)));
        }
        kept.push_back(IdleInstance { plugin, since: now, instance });
        while kept.len() > self.most {
            gone.extend(kept.pop_front());
        }
        drop(kept);
        // Dropping one gives much memory back to the system: not under the lock.
        drop(gone);
    }

    /// Drops what has been idle for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut kept = self.lock();
        let fresh = kept.iter().position(|one| now.saturating_duration_since(one.since) < self.idle);
        let fresh = fresh.unwrap_or(kept.len());
        let gone: Vec<IdleInstance> = kept.drain(..fresh).collect();
        drop(kept);
        drop(gone);
    }

    /// Drops the instances of a plugin.
    pub(crate) fn remove(&self, plugin: u64) {
        let mut kept = self.lock();
        let (gone, stay): (Vec<IdleInstance>, Vec<IdleInstance>) =
            kept.drain(..).partition(|one| one.plugin == plugin);
        kept.extend(stay);
        drop(kept);
        drop(gone);
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}
