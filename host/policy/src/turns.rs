//! One change of a place at a time, and no clearing away of what is being worked on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Whose turn it is to change a place. What only looks, and what switches a place off, needs none.
#[derive(Default)]
pub(crate) struct Turns(Mutex<ByPlace>);

/// By tenant and name; gone when nobody has or wants it.
type ByPlace = HashMap<(String, String), Weak<Turn<()>>>;

impl Turns {
    /// Waits for the changes of the place that were asked for before.
    pub(crate) async fn of(&self, tenant: &str, plugin: &str) -> OwnedMutexGuard<()> {
        self.place(tenant, plugin).lock_owned().await
    }

    fn place(&self, tenant: &str, plugin: &str) -> Arc<Turn<()>> {
        let mut places = locked(&self.0);
        let key = (tenant.to_owned(), plugin.to_owned());
        if let Some(turn) = places.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        places.retain(|_, turn| turn.strong_count() > 0);
        places.insert(key, Arc::downgrade(&turn));
        turn
    }
}

/// Components that are being worked on: their files stay, though no state refers to them yet.
#[derive(Default)]
pub(crate) struct Pins(Mutex<HashMap<String, usize>>);

/// Keeps the files of a component until it is dropped.
pub(crate) struct Pin {
    pins: Arc<Pins>,
    digest: String,
}

impl Pins {
    pub(crate) fn pin(self: &Arc<Self>, digest: &str) -> Pin {
        *locked(&self.0).entry(digest.to_owned()).or_default() += 1;
        Pin { pins: Arc::clone(self), digest: digest.to_owned() }
    }

    /// Does it unless the component is pinned, and pins it for nobody meanwhile.
    pub(crate) fn unless_pinned(&self, digest: &str, remove: impl FnOnce()) {
        let pins = locked(&self.0);
        if !pins.contains_key(digest) {
            remove();
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = locked(&self.pins.0);
        if let Some(count) = pins.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.digest);
            }
        }
    }
}

/// Maps and counts: nothing in them can be half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_of_one_place_wait_for_each_other_and_for_no_others() {
        let turns = Turns::default();
        let first = turns.of("acme", "list").await;
        assert!(turns.place("acme", "list").try_lock().is_err());
        drop(turns.of("acme", "other").await);
        drop(turns.of("shop", "list").await);
        drop(first);
        drop(turns.of("acme", "list").await);
    }

    #[test]
    fn what_is_pinned_stays_until_the_last_is_done() {
        let pins = Arc::new(Pins::default());
        let removes = |digest| {
            let mut removed = false;
            pins.unless_pinned(digest, || removed = true);
            removed
        };
        let (one, two) = (pins.pin("aa"), pins.pin("aa"));
        assert!(!removes("aa") && removes("bb"));
        drop(one);
        assert!(!removes("aa"));
        drop(two);
        assert!(removes("aa"));
    }
}
