//! Turns that go round among tenants: one tenant's thousand entries do not stand before another's
//! first.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Distinct entries, taken in turn by tenant and first in, first out within a tenant.
///
/// An entry of several tenants stands in several queues, and the first of these places that comes
/// counts. The others are no longer good then, also when the entry is added again: each place has a
/// number, and the entry knows that of its latest one. So whatever is pushed and taken, what is no
/// longer good is passed over as soon as it comes first.
#[derive(Debug)]
pub(crate) struct RoundRobin<T> {
    queues: HashMap<String, VecDeque<(T, u64)>>,
    turns: VecDeque<String>,
    members: HashMap<T, u64>,
    pushed: u64,
}

impl<T> Default for RoundRobin<T> {
    fn default() -> Self {
        Self { queues: HashMap::new(), turns: VecDeque::new(), members: HashMap::new(), pushed: 0 }
    }
}

impl<T: Clone + Eq + Hash> RoundRobin<T> {
    /// Adds `entry` for each of `tenants` (for nobody in particular when there are none). Nothing
    /// happens when it waits already.
    pub(crate) fn push(&mut self, entry: &T, tenants: &[String]) {
        if self.members.contains_key(entry) {
            return;
        }
        self.pushed += 1;
        self.members.insert(entry.clone(), self.pushed);
        if tenants.is_empty() {
            self.enqueue(entry, "");
        }
        for (n, tenant) in tenants.iter().enumerate() {
            if !tenants[..n].contains(tenant) {
                self.enqueue(entry, tenant);
            }
        }
    }

    fn enqueue(&mut self, entry: &T, tenant: &str) {
        let queue = self.queues.entry(tenant.to_owned()).or_default();
        if queue.is_empty() {
            self.turns.push_back(tenant.to_owned());
        }
        queue.push_back((entry.clone(), self.pushed));
    }

    /// The next entry of the tenant whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        loop {
            let tenant = self.turns.pop_front()?;
            let Some(queue) = self.queues.get_mut(&tenant) else { continue };
            let mut found = None;
            while let Some((entry, number)) = queue.pop_front() {
                if self.members.get(&entry) == Some(&number) {
                    found = Some(entry);
                    break;
                }
            }
            if queue.is_empty() {
                self.queues.remove(&tenant);
            } else {
                self.turns.push_back(tenant);
            }
            let Some(entry) = found else { continue };
            self.members.remove(&entry);
            if self.members.is_empty() {
                self.queues.clear();
                self.turns.clear();
            }
            return Some(entry);
        }
    }

    /// Whether it waits.
    pub(crate) fn contains<Q>(&self, entry: &Q) -> bool
    where
        T: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.members.contains_key(entry)
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: &str) -> Vec<String> {
        vec![s.to_owned()]
    }

    #[test]
    fn a_campaign_does_not_stand_before_a_small_tenant() {
        let mut fair = RoundRobin::default();
        for n in 0..1000 {
            fair.push(&n, &t("big"));
        }
        fair.push(&5000, &t("small"));
        assert_eq!((fair.pop(), fair.pop(), fair.pop()), (Some(0), Some(5000), Some(1)));
    }

    #[test]
    fn an_entry_of_two_tenants_comes_once() {
        let mut fair = RoundRobin::default();
        fair.push(&1, &["a".to_owned(), "b".to_owned()]);
        fair.push(&1, &t("c"));
        assert_eq!((fair.len(), fair.contains(&1)), (1, true));
        assert_eq!((fair.pop(), fair.pop(), fair.is_empty()), (Some(1), None, true));
        fair.push(&1, &t("b"));
        assert_eq!(fair.pop(), Some(1));
    }

    #[test]
    fn places_that_are_no_longer_good_do_not_pile_up() {
        let tenants: Vec<String> = ["a", "b", "a", "c"].map(str::to_owned).into();
        let mut fair = RoundRobin::default();
        fair.push(&0, &tenants);
        for n in 0..10_000 {
            fair.push(&(n + 1), &tenants);
            assert_eq!(fair.pop(), Some(n));
            let places: usize = fair.queues.values().map(VecDeque::len).sum();
            assert!(places <= 9, "{places} places for one entry");
        }
    }
}
