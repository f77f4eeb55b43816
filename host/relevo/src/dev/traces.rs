//! What each stage did with a message, by queue id, until the inbox shows it.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use relevo_http::inbox::StageLine;
use relevo_queue::ItemId;
use relevo_relay::trace::{TraceObserver, TraceStep};

/// Bounded: the oldest trace is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    state: Mutex<TraceTable>,
}

#[derive(Debug, Default)]
struct TraceTable {
    by_id: HashMap<String, Vec<StageLine>>,
    /// Oldest first.
    order: VecDeque<String>,
}

const KEPT: usize = 1_000;

impl Traces {
    /// All that is known of `id`, in order.
    pub(crate) fn of(&self, id: &str) -> Vec<StageLine> {
        let state = self.state.lock();
        state.by_id.get(id).cloned().unwrap_or_default()
    }
}

impl TraceObserver for Traces {
    fn step(&self, item: ItemId, step: &TraceStep) {
        let id = item.to_string();
        let line = StageLine {
            name: step.stage.to_owned(),
            micros: u64::try_from(step.took.as_micros()).unwrap_or(u64::MAX),
            summary: step.changes.join("; "),
        };
        let mut state = self.state.lock();
        let TraceTable { by_id, order } = &mut *state;
        if !by_id.contains_key(&id) {
            order.push_back(id.clone());
            if order.len() > KEPT
                && let Some(oldest) = order.pop_front()
            {
                by_id.remove(&oldest);
            }
        }
        by_id.entry(id).or_default().push(line);
    }
}
