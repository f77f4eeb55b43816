//! Deliveries whose sender is to be told that they wait. Those of which no such report was asked for
//! are not in it.

use std::collections::{BTreeSet, HashMap};

use crate::{DeliveryId, Millis};

/// Reports of delay by the time at which they are due.
#[derive(Debug, Default)]
pub(super) struct DelayReports {
    by_time: BTreeSet<(Millis, DeliveryId)>,
    of: HashMap<DeliveryId, Millis>,
}

impl DelayReports {
    /// Sets when the report about a delivery is due. None: none is.
    pub(super) fn set(&mut self, id: DeliveryId, at: Option<Millis>) {
        let before = match at {
            Some(at) => self.of.insert(id, at),
            None => self.of.remove(&id),
        };
        if let Some(before) = before {
            self.by_time.remove(&(before, id));
        }
        if let Some(at) = at {
            self.by_time.insert((at, id));
        }
    }

    /// Those that are due at `now`, the oldest first.
    pub(super) fn due(&self, now: Millis) -> impl Iterator<Item = DeliveryId> {
        self.by_time.iter().take_while(move |(at, _)| *at <= now).map(|(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ItemId;

    #[test]
    fn a_delivery_has_one_time_at_most() {
        let [first, second] = [1, 2].map(|n| DeliveryId { item: ItemId([n; 16]), number: 0 });
        let mut reports = DelayReports::default();
        reports.set(first, Some(20));
        reports.set(second, Some(10));
        reports.set(first, Some(5));
        assert_eq!(reports.due(4).count(), 0);
        assert_eq!(reports.due(10).collect::<Vec<_>>(), [first, second]);
        reports.set(first, None);
        reports.set(first, None);
        assert_eq!(reports.due(30).collect::<Vec<_>>(), [second]);
        assert_eq!((reports.of.len(), reports.by_time.len()), (1, 1));
    }
}
