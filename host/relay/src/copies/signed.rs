//! Signatures of untracked copies: the same for every recipient, so made once for all.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use relevo_queue::ItemId;
use tokio::sync::OnceCell;

/// Messages whose signatures are remembered; some 2 KB each.
const REMEMBERED: usize = 1024;

/// The item, whether it was turned into 7bit, and the generation of the settings.
pub(super) type Reuse = (ItemId, bool, u64);

type Cell = Arc<OnceCell<Arc<[u8]>>>;

/// Remembers the latest. What is forgotten is made again, with the same result.
#[derive(Default)]
pub(super) struct SignedOnce {
    state: Mutex<(HashMap<Reuse, Cell>, VecDeque<Reuse>)>,
}

impl SignedOnce {
    /// Where the signatures of these copies are or will be. Several that ask at once wait for one
    /// to sign.
    pub(super) fn cell(&self, name: Reuse) -> Cell {
        let mut state = self.state.lock();
        let (cells, order) = &mut *state;
        if let Some(cell) = cells.get(&name) {
            return Arc::clone(cell);
        }
        if order.len() >= REMEMBERED
            && let Some(oldest) = order.pop_front()
        {
            cells.remove(&oldest);
        }
        order.push_back(name);
        Arc::clone(cells.entry(name).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(n: u8) -> ItemId {
        ItemId::new(i64::from(n), [n; 10])
    }

    #[test]
    fn gives_the_same_cell_for_the_same_copy() {
        let once = SignedOnce::default();
        let cell = once.cell((item(1), false, 0));
        assert!(Arc::ptr_eq(&cell, &once.cell((item(1), false, 0))));
        assert!(!Arc::ptr_eq(&cell, &once.cell((item(1), true, 0))));
        assert!(!Arc::ptr_eq(&cell, &once.cell((item(1), false, 1))));
    }

    #[test]
    fn forgets_the_oldest() {
        let once = SignedOnce::default();
        let cell = once.cell((item(0), false, 0));
        for generation in 1..=1024 {
            once.cell((item(1), false, generation));
        }
        assert!(!Arc::ptr_eq(&cell, &once.cell((item(0), false, 0))));
        assert_eq!(once.state.lock().0.len(), REMEMBERED);
    }
}
