//! The bound of what one answer reads of the event log.

use relevo_mailkit::event::EventEntry;

/// What one answer may read and keep. It is shared by all messages of the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Events of messages that are read.
    pub(super) events: usize,
    /// Octets of what is kept of them, as JSON.
    pub(super) octets: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { events: 20_000, octets: 8 << 20 }
    }
}

impl Budget {
    pub(super) fn is_used_up(&self) -> bool {
        self.events == 0 || self.octets == 0
    }

    /// Takes what an event needs that is kept. Returns false when there is not enough left.
    pub(super) fn keep(&mut self, entry: &EventEntry) -> bool {
        let mut counter = Counter(0);
        let octets = serde_json::to_writer(&mut counter, entry).map_or(usize::MAX, |()| counter.0);
        let is_enough = octets <= self.octets;
        self.octets = self.octets.saturating_sub(octets);
        is_enough
    }
}

/// Counts octets.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0 += octets.len();
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
