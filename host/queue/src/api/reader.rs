//! How far a reader is behind the event log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{EventError, EventLog, Millis, StoredEvent};

/// Stands for a position that was not read from the reader's store yet.
const UNKNOWN: u64 = u64::MAX;

/// The cursor up to which a reader has handled events. Clones share it.
#[derive(Debug, Clone)]
pub struct ReaderPosition(Arc<AtomicU64>);

impl Default for ReaderPosition {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(UNKNOWN)))
    }
}

impl ReaderPosition {
    /// Events up to `cursor` are handled.
    pub fn set(&self, cursor: u64) {
        self.0.store(cursor, Ordering::Relaxed);
    }

    /// Age of the oldest event that is not handled, 0 if there is none. It also grows while the
    /// reader is stuck. `None`: the position is not known yet.
    ///
    /// # Errors
    /// The log's.
    pub async fn delay(&self, events: &dyn EventLog, now: Millis) -> Result<Option<Millis>, EventError> {
        let position = self.0.load(Ordering::Relaxed);
        if position == UNKNOWN {
            return Ok(None);
        }
        let oldest = match events.events(None, position, 1).await {
            Err(EventError::Pruned { oldest }) => events.events(None, oldest, 1).await?,
            found => found?,
        };
        let age = |stored: &StoredEvent| now.saturating_sub(stored.event.at).max(0);
        Ok(Some(oldest.first().map_or(0, age)))
    }
}
