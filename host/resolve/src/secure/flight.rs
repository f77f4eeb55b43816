//! Answers that many ask for at the same time are made once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::Instant;

type Slot<V> = Arc<OnceCell<(V, Instant)>>;

/// Remembers answers for a time of their own. One task makes an answer, the others wait for it.
#[derive(Debug)]
pub struct SingleFlight<K, V> {
    slots: Mutex<HashMap<K, Slot<V>>>,
    most: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> SingleFlight<K, V> {
    /// Remembers at most `most` answers.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { slots: Mutex::new(HashMap::new()), most }
    }

    /// The answer that is remembered, or that of `make`, with the time for which it is remembered.
    /// If the task that makes it is dropped, another one that waits makes it.
    pub async fn get<F>(&self, key: K, make: F) -> V
    where
        F: Future<Output = (V, Duration)>,
    {
        let slot = self.slot(key);
        let made = slot.get_or_init(|| async {
            let (value, time) = make.await;
            (value, Instant::now() + time)
        });
        made.await.0.clone()
    }

    /// Forgets an answer.
    pub fn forget(&self, key: &K) {
        self.slots.lock().remove(key);
    }

    fn slot(&self, key: K) -> Slot<V> {
        let now = Instant::now();
        let is_fresh = |slot: &Slot<V>| slot.get().is_none_or(|(_, until)| *until > now);
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(&key).filter(|slot| is_fresh(slot)) {
            return Arc::clone(slot);
        }
        if slots.len() >= self.most {
            slots.retain(|_, slot| is_fresh(slot));
        }
        if slots.len() >= self.most
            && let Some(other) = slots.keys().next().cloned()
        {
            slots.remove(&other);
        }
        let slot = Slot::default();
        slots.insert(key, Arc::clone(&slot));
        slot
    }
}
