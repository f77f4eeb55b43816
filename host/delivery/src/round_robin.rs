//! Entries that belong to several tenants, round-robin by tenant.

use std::collections::HashMap;
use std::hash::Hash;

use relevo_runtime::FairQueue;

/// Distinct entries in a [`FairQueue`] by tenant.
///
/// An entry of several tenants is in the queue once for each of them. The first that comes counts.
/// The others are passed over from then on, also when the entry is added again: each has a number,
/// and the entry knows that of its latest push.
#[derive(Debug)]
pub(crate) struct RoundRobin<T> {
    queue: FairQueue<String, (T, u64)>,
    members: HashMap<T, u64>,
    pushed: u64,
}

impl<T> Default for RoundRobin<T> {
    fn default() -> Self {
        Self { queue: FairQueue::default(), members: HashMap::new(), pushed: 0 }
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
            self.queue.push(String::new(), (entry.clone(), self.pushed));
        }
        for (n, tenant) in tenants.iter().enumerate() {
            if !tenants[..n].contains(tenant) {
                self.queue.push(tenant.clone(), (entry.clone(), self.pushed));
            }
        }
    }

    /// The next entry of the tenant that is next.
    pub(crate) fn pop(&mut self) -> Option<T> {
        loop {
            let (tenant, mut next) = self.queue.pop()?;
            // A tenant does not lose its turn to entries that are passed over.
            while self.members.get(&next.0) != Some(&next.1) {
                next = match self.queue.remove(&tenant, |_| true) {
                    Some(next) => next,
                    None => break,
                };
            }
            let (entry, number) = next;
            if self.members.get(&entry) != Some(&number) {
                continue;
            }
            self.members.remove(&entry);
            if self.members.is_empty() {
                self.queue = FairQueue::default();
            }
            return Some(entry);
        }
    }

    /// Returns true if nothing waits.
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
        assert_eq!(fair.len(), 1);
        assert_eq!((fair.pop(), fair.pop(), fair.is_empty()), (Some(1), None, true));
        fair.push(&1, &t("b"));
        assert_eq!(fair.pop(), Some(1));
    }

    #[test]
    fn entries_that_are_passed_over_do_not_pile_up() {
        let tenants: Vec<String> = ["a", "b", "a", "c"].map(str::to_owned).into();
        let mut fair = RoundRobin::default();
        fair.push(&0, &tenants);
        for n in 0..10_000 {
            fair.push(&(n + 1), &tenants);
            assert_eq!(fair.pop(), Some(n));
            assert!(fair.queue.len() <= 9, "{} for one entry", fair.queue.len());
        }
    }
}
