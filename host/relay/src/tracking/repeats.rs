//! Repeats of one event within a window are counted in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use relevo_mailkit::visitor::Guess;
use relevo_queue::ItemId;

/// The time within which repeats become one event.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Octets of all windows. An event beyond them is not remembered, so its repeats count as new.
const MAX_OCTETS: usize = 16 << 20;
/// Octets of a window beside the texts of its event.
const WINDOW_OCTETS: usize = 200;

/// A click or an open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TrackingEvent {
    pub(super) tenant: String,
    pub(super) item: ItemId,
    /// The recipient's position in the envelope.
    pub(super) recipient: u32,
    /// The destination of a click; none for an open.
    pub(super) url: Option<String>,
    /// By the request alone. What different kinds of clients do is counted apart.
    pub(super) guess: Guess,
}

impl TrackingEvent {
    fn octets(&self) -> usize {
        WINDOW_OCTETS + self.tenant.len() + self.url.as_ref().map_or(0, String::len)
    }
}

/// Counts repeats by event.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    octets: usize,
    counts: HashMap<Arc<TrackingEvent>, u64>,
    /// In order of their end.
    ends: VecDeque<(Duration, Arc<TrackingEvent>)>,
}

impl Repeats {
    /// Counts the event if its window is open.
    pub(super) fn count(&self, event: &TrackingEvent) -> bool {
        let mut windows = self.windows();
        let count = windows.counts.get_mut(event);
        count.map(|count| *count += 1).is_some()
    }

    /// Returns true if an equal event was written within the window.
    pub(super) fn is_open(&self, event: &TrackingEvent) -> bool {
        self.windows().counts.contains_key(event)
    }

    /// Adds repeats to an event that is on disk. Its window is opened if there is none.
    pub(super) fn add(&self, event: TrackingEvent, count: u64, now: Duration) {
        let mut windows = self.windows();
        match windows.counts.get_mut(&event) {
            Some(counted) => *counted += count,
            None => windows.open(event, count, now),
        }
    }

    /// Opens a window for an event that is being written. False: it was opened by somebody else,
    /// who is writing it, and this one is counted.
    pub(super) fn open(&self, event: TrackingEvent, now: Duration) -> bool {
        let mut windows = self.windows();
        if let Some(count) = windows.counts.get_mut(&event) {
            *count += 1;
            return false;
        }
        windows.open(event, 0, now);
        true
    }

    /// Takes the counted repeats of windows that have ended. An event that was repeated gets
    /// another window.
    pub(super) fn ended(&self, now: Duration) -> Vec<(Arc<TrackingEvent>, u64)> {
        let mut windows = self.windows();
        let mut ended = Vec::new();
        while windows.ends.front().is_some_and(|(end, _)| *end <= now) {
            let Some((_, event)) = windows.ends.pop_front() else { break };
            match windows.counts.get_mut(&event).map(std::mem::take) {
                Some(count) if count > 0 => {
                    windows.ends.push_back((now + WINDOW, event.clone()));
                    ended.push((event, count));
                }
                _ => {
                    windows.octets -= event.octets();
                    windows.counts.remove(&event);
                }
            }
        }
        ended
    }

    /// Takes all counted repeats and closes all windows.
    pub(super) fn close(&self) -> Vec<(Arc<TrackingEvent>, u64)> {
        let windows = std::mem::take(&mut *self.windows());
        windows.counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn windows(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock()
    }
}

impl Windows {
    fn open(&mut self, event: TrackingEvent, count: u64, now: Duration) {
        let octets = self.octets + event.octets();
        if octets <= MAX_OCTETS {
            self.octets = octets;
            let event = Arc::new(event);
            self.counts.insert(event.clone(), count);
            self.ends.push_back((now + WINDOW, event));
        }
    }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::visitor::Visitor;

    use super::*;

    fn event(recipient: u32, url: Option<&str>) -> TrackingEvent {
        TrackingEvent {
            tenant: "acme".to_owned(),
            item: ItemId([1; 16]),
            recipient,
            url: url.map(str::to_owned),
            guess: Guess { visitor: Visitor::Human, reason: "browser" },
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn counts(ended: &[(Arc<TrackingEvent>, u64)]) -> Vec<u64> {
        ended.iter().map(|(_, count)| *count).collect()
    }

    #[test]
    fn repeats_are_counted_until_the_window_ends() {
        let repeats = Repeats::default();
        assert!(!repeats.count(&event(0, None)));
        assert!(repeats.open(event(0, None), at(0)));
        assert!(!repeats.open(event(0, None), at(1)));
        assert!(repeats.count(&event(0, None)));
        assert!(!repeats.count(&event(1, None)) && !repeats.count(&event(0, Some("https://x.example/"))));
        let scanner = Guess { visitor: Visitor::Scanner, reason: "program" };
        assert!(!repeats.count(&TrackingEvent { guess: scanner, ..event(0, None) }));
        assert!(repeats.ended(at(59)).is_empty());
        assert_eq!(counts(&repeats.ended(at(60))), [2]);
        assert!(repeats.count(&event(0, None)), "its window goes on");
        assert_eq!(counts(&repeats.ended(at(120))), [1]);
        assert!(repeats.ended(at(180)).is_empty());
        assert!(!repeats.count(&event(0, None)), "nothing came within the last window");
        assert_eq!(repeats.windows().octets, 0);
    }

    #[test]
    fn reported_repeats_are_added_to_a_window() {
        let repeats = Repeats::default();
        repeats.add(event(0, None), 0, at(0));
        assert!(repeats.is_open(&event(0, None)) && !repeats.is_open(&event(1, None)));
        repeats.add(event(0, None), 3, at(1));
        repeats.add(event(1, None), 2, at(1));
        assert!(repeats.count(&event(0, None)));
        assert_eq!(counts(&repeats.ended(at(60))), [4]);
        assert_eq!(counts(&repeats.ended(at(61))), [2], "a window that had ended");
    }

    #[test]
    fn closing_takes_what_was_counted() {
        let repeats = Repeats::default();
        repeats.open(event(0, None), at(0));
        repeats.open(event(1, None), at(0));
        repeats.count(&event(1, None));
        assert_eq!(counts(&repeats.close()), [1]);
        assert!(repeats.close().is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let repeats = Repeats::default();
        let long = "x".repeat(8_000);
        for n in 0..10_000 {
            assert!(repeats.open(event(n, Some(&long)), at(0)));
        }
        assert!(repeats.windows().octets <= MAX_OCTETS);
        assert!(repeats.count(&event(0, Some(&long))) && !repeats.count(&event(9_999, Some(&long))));
        assert!(repeats.ended(at(60)).len() == 1 && repeats.ended(at(120)).is_empty());
        assert_eq!(repeats.windows().octets, 0);
    }
}
