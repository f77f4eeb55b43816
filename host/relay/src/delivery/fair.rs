//! Turns that go round among tenants: one tenant's thousand entries do not stand before another's first.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// Distinct entries, taken in turn by tenant and first in, first out within a tenant.
#[derive(Debug)]
pub(crate) struct Fair<T> {
    queues: HashMap<String, VecDeque<T>>,
    turns: VecDeque<String>,
    members: HashSet<T>,
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Self { queues: HashMap::new(), turns: VecDeque::new(), members: HashSet::new() }
    }
}

impl<T: Clone + Eq + Hash> Fair<T> {
    /// Adds `entry` for each of `tenants` (for nobody in particular when there are none). Nothing happens when it waits
    /// already.
    pub(crate) fn push(&mut self, entry: &T, tenants: &[String]) {
        if !self.members.insert(entry.clone()) {
            return;
        }
        if tenants.is_empty() {
            self.enqueue(entry, "");
        }
        for tenant in tenants {
            self.enqueue(entry, tenant);
        }
    }

    fn enqueue(&mut self, entry: &T, tenant: &str) {
        let queue = self.queues.entry(tenant.to_owned()).or_default();
        if queue.is_empty() {
            self.turns.push_back(tenant.to_owned());
        }
        queue.push_back(entry.clone());
    }

    /// The next entry of the tenant whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        loop {
            let tenant = self.turns.pop_front()?;
            let Some(queue) = self.queues.get_mut(&tenant) else { continue };
            let entry = queue.pop_front();
            if queue.is_empty() {
                self.queues.remove(&tenant);
            } else {
                self.turns.push_back(tenant);
            }
            // An entry of several tenants stands in several queues: the first that comes counts.
            if let Some(entry) = entry
                && self.members.remove(&entry)
            {
                return Some(entry);
            }
        }
    }

    /// Whether it waits.
    pub(crate) fn contains<Q>(&self, entry: &Q) -> bool
    where
        T: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.members.contains(entry)
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
        let mut fair = Fair::default();
        for n in 0..1000 {
            fair.push(&n, &t("big"));
        }
        fair.push(&5000, &t("small"));
        assert_eq!((fair.pop(), fair.pop(), fair.pop()), (Some(0), Some(5000), Some(1)));
    }

    #[test]
    fn an_entry_of_two_tenants_comes_once() {
        let mut fair = Fair::default();
        fair.push(&1, &["a".to_owned(), "b".to_owned()]);
        fair.push(&1, &t("c"));
        assert_eq!((fair.len(), fair.contains(&1)), (1, true));
        assert_eq!((fair.pop(), fair.pop(), fair.is_empty()), (Some(1), None, true));
        fair.push(&1, &t("b"));
        assert_eq!(fair.pop(), Some(1));
    }
}
