//! A round-robin queue: one key's thousand entries do not stand before another key's first.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Entries by key. Keys take turns; entries of one key leave in the order in which they came.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    entries: HashMap<K, VecDeque<T>>,
    /// Every key with an entry, once.
    order: VecDeque<K>,
}

impl<K: Hash + Eq + Clone, T> FairQueue<K, T> {
    /// Adds an entry behind those of its key. A key without entries joins behind the others.
    pub fn push(&mut self, key: K, entry: T) {
        if let Some(entries) = self.entries.get_mut(&key) {
            entries.push_back(entry);
            return;
        }
        self.order.push_back(key.clone());
        self.entries.insert(key, VecDeque::from([entry]));
    }

    /// Takes the first entry of the key that is next.
    pub fn pop(&mut self) -> Option<(K, T)> {
        let key = self.order.pop_front()?;
        let entries = self.entries.get_mut(&key)?;
        let entry = entries.pop_front()?;
        if entries.is_empty() {
            self.entries.remove(&key);
        } else {
            self.order.push_back(key.clone());
        }
        Some((key, entry))
    }

    /// Returns true if there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl<K, T> Default for FairQueue<K, T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_take_turns() {
        let mut queue = FairQueue::default();
        for (key, entry) in [("a", 1), ("a", 2), ("b", 3), ("c", 4), ("b", 5)] {
            queue.push(key, entry);
        }
        let all: Vec<i32> = std::iter::from_fn(|| queue.pop().map(|(_, entry)| entry)).collect();
        assert_eq!(all, [1, 3, 4, 2, 5]);
        assert!(queue.is_empty() && queue.entries.is_empty());
    }
}
