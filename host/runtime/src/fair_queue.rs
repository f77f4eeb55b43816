//! A round-robin queue: one key's thousand entries do not stand before another key's first.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Entries by key. Keys are served round-robin; entries of one key leave in the order in which they
/// came.
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
        self.pop_if(|_| true)
    }

    /// Takes the first entry of the next key for which `may` holds. The others keep their
    /// positions.
    pub fn pop_if(&mut self, may: impl Fn(&K) -> bool) -> Option<(K, T)> {
        let at = self.order.iter().position(may)?;
        let key = self.order.remove(at)?;
        let entries = self.entries.get_mut(&key)?;
        let entry = entries.pop_front()?;
        if entries.is_empty() {
            self.entries.remove(&key);
        } else {
            self.order.push_back(key.clone());
        }
        Some((key, entry))
    }

    /// Takes an entry of this key for which `wanted` holds, whichever key is next.
    pub fn remove(&mut self, key: &K, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let entries = self.entries.get_mut(key)?;
        let entry = entries.iter().position(wanted).and_then(|at| entries.remove(at))?;
        if entries.is_empty() {
            self.entries.remove(key);
            self.order.retain(|other| other != key);
        }
        Some(entry)
    }

    /// Returns true if this key has an entry.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.values().map(VecDeque::len).sum()
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
    #[test]
    fn who_may_not_go_keeps_its_turn_and_what_is_removed_costs_none() {
        let mut queue = FairQueue::default();
        for (key, entry) in [("a", 1), ("b", 2), ("b", 3), ("a", 4)] {
            queue.push(key, entry);
        }
        assert_eq!(queue.pop_if(|key| *key == "c"), None);
        assert_eq!(queue.pop_if(|key| *key == "b"), Some(("b", 2)));
        assert_eq!(queue.remove(&"a", |entry| *entry == 1), Some(1));
        assert_eq!(queue.remove(&"a", |entry| *entry == 1), None);
        assert_eq!(queue.pop(), Some(("a", 4)), "it was first");
        assert_eq!(queue.remove(&"b", |entry| *entry == 3), Some(3));
        assert!(queue.is_empty() && !queue.contains(&"b"));
        queue.push("b", 5);
        assert_eq!((queue.pop(), queue.pop()), (Some(("b", 5)), None));
    }
}
