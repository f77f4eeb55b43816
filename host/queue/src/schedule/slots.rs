//! Entries by number.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Slot;

/// Room for so many entries is never given back.
const KEPT: usize = if cfg!(test) { 16 } else { 1024 };

/// Entries, and the numbers that are free. The lowest is taken first, so that what is left after a peak gathers at the beginning and
/// the rest of the memory can be given back.
#[derive(Debug)]
pub(super) struct Slots<T> {
    /// The last one, if any, is taken.
    entries: Vec<Option<T>>,
    /// All that are free; also some beyond the end, until the first of them is looked at.
    free: BinaryHeap<Reverse<Slot>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: BinaryHeap::new() }
    }
}

impl<T> Slots<T> {
    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.entries.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.entries.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().flatten()
    }

    pub(super) fn insert(&mut self, entry: T) -> Slot {
        let lowest = self.free.pop().map(|Reverse(slot)| slot);
        if let Some(slot) = lowest
            && let Some(place) = self.entries.get_mut(slot as usize)
        {
            *place = Some(entry);
            return slot;
        }
        // If the lowest is beyond the end, so are the others.
        self.free.clear();
        self.entries.push(Some(entry));
        u32::try_from(self.entries.len() - 1).unwrap_or(Slot::MAX)
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        self.free.push(Reverse(slot));
        while let Some(None) = self.entries.last() {
            self.entries.pop();
        }
        let (len, capacity) = (self.entries.len(), self.entries.capacity());
        if capacity > KEPT && len < capacity / 4 {
            self.entries.shrink_to((2 * len).max(KEPT));
            self.free.retain(|Reverse(slot)| (*slot as usize) < len);
            self.free.shrink_to_fit();
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_of_a_peak_is_given_back() {
        let mut slots = Slots::default();
        let taken: Vec<Slot> = (0..100_000).map(|n| slots.insert(n)).collect();
        for slot in &taken[..99_000] {
            assert!(slots.remove(*slot).is_some());
        }
        // What is left stands at the end, and moves to the beginning as it comes and goes.
        for slot in &taken[99_000..] {
            let entry = slots.remove(*slot).unwrap();
            slots.insert(entry);
        }
        assert_eq!(slots.iter().count(), 1_000);
        assert!(slots.entries.capacity() <= 8_000, "{}", slots.entries.capacity());
        assert!(slots.free.len() <= slots.entries.len());
    }

    proptest! {
        #[test]
        fn a_number_is_one_entrys_at_a_time(steps in proptest::collection::vec((any::<bool>(), any::<u32>()), 1..4_000)) {
            let (mut slots, mut model) = (Slots::default(), BTreeMap::new());
            for (n, (add, which)) in steps.into_iter().enumerate() {
                let nth = which as usize % model.len().max(1);
                let known = model.keys().nth(nth).copied().filter(|_| !add);
                match known {
                    None => prop_assert_eq!(model.insert(slots.insert(n), n), None),
                    Some(slot) => {
                        prop_assert_eq!(slots.remove(slot), model.remove(&slot));
                        prop_assert_eq!((slots.remove(slot), slots.get(slot)), (None, None));
                    }
                }
                prop_assert!(slots.entries.len() >= model.len());
            }
            prop_assert!(slots.iter().eq(model.values()));
            for (slot, entry) in &model {
                prop_assert_eq!(slots.get(*slot), Some(entry));
            }
        }
    }
}
