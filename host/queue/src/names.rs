//! Domain and tenant names as small numbers, so that a waiting delivery costs few octets.

use std::collections::HashMap;
use std::sync::Arc;

/// Counted names. A number is free again when its last user released it.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: HashMap<Arc<str>, u32>,
    slots: Vec<Option<(Arc<str>, u32)>>,
    free: Vec<u32>,
}

impl Names {
    /// The number of a name, with one more user.
    pub(crate) fn acquire(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            if let Some((_, users)) = &mut self.slots[*number as usize] {
                *users += 1;
            }
            return *number;
        }
        let name: Arc<str> = name.into();
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[number as usize] = Some((name.clone(), 1));
        self.numbers.insert(name, number);
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
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The name of a number that has users.
    pub(crate) fn name(&self, number: u32) -> &str {
        self.slots.get(number as usize).and_then(Option::as_ref).map_or("", |(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_reused_only_after_the_last_release() {
        let mut names = Names::default();
        let a = names.acquire("a");
        assert_eq!(names.acquire("a"), a);
        let b = names.acquire("b");
        assert_ne!(a, b);
        names.release(a);
        assert_eq!(names.find("a"), Some(a));
        names.release(a);
        assert_eq!(names.find("a"), None);
        assert_eq!(names.acquire("c"), a);
        assert_eq!((names.name(a), names.name(b)), ("c", "b"));
    }
}
