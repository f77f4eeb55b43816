//! Queue keys and tenants as small numbers, so that a waiting delivery costs few octets.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Counted names. A number is free again when its last user released it.
#[derive(Debug)]
pub(crate) struct NameTable<K> {
    numbers: HashMap<K, u32>,
    slots: Vec<Option<(K, u32)>>,
    free: Vec<u32>,
}

impl<K> Default for NameTable<K> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<K: Clone + Eq + Hash> NameTable<K> {
    /// The number of a name, with one more user.
    pub(crate) fn acquire(&mut self, name: &K) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            if let Some((_, users)) = &mut self.slots[*number as usize] {
                *users += 1;
            }
            return *number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[number as usize] = Some((name.clone(), 1));
        self.numbers.insert(name.clone(), number);
        number
    }

    /// One user less.
    pub(crate) fn release(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        if let Some((name, users)) = slot {
            *users -= 1;
            if *users == 0 {
                self.numbers.remove(name);
                *slot = None;
                self.free.push(number);
            }
        }
    }

    /// The number of a name that has users.
    pub(crate) fn find<Q: Eq + Hash + ?Sized>(&self, name: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        self.numbers.get(name).copied()
    }

    /// The name of a number that has users.
    pub(crate) fn name(&self, number: u32) -> Option<&K> {
        self.slots.get(number as usize)?.as_ref().map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_reused_only_after_the_last_release() {
        let mut names = NameTable::<&str>::default();
        let a = names.acquire(&"a");
        assert_eq!(names.acquire(&"a"), a);
        let b = names.acquire(&"b");
        assert_ne!(a, b);
        names.release(a);
        assert_eq!(names.find("a"), Some(a));
        names.release(a);
        assert_eq!(names.find("a"), None);
        assert_eq!(names.acquire(&"c"), a);
        assert_eq!((names.name(a), names.name(b)), (Some(&"c"), Some(&"b")));
    }
}
