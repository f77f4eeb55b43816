//! The events of all shards as one history, for whoever lists or follows them.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

use super::{EventError, EventLog, StoreError, StoredEvent};

/// Shards that the text of a position names at most.
const MAX_PLACES: usize = 1024;

/// A position in the events of all shards: one place for each shard, by the cursors of its log.
///
/// The text of a position is a plain number where there is one log, and otherwise such as
/// `1.4711-2.815`: number and cursor of each shard. A shard keeps its cursors when another node takes
/// it over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPosition {
    /// The place in shards without one of their own, and that of the only log.
    rest: u64,
    places: BTreeMap<u16, u64>,
}

impl EventPosition {
    /// Before the oldest events: where reading forward begins.
    #[must_use]
    pub fn oldest() -> Self {
        Self::default()
    }

    /// Behind the newest events: where reading backward begins.
    #[must_use]
    pub fn newest() -> Self {
        Self { rest: u64::MAX, places: BTreeMap::new() }
    }

    /// A place in the only log.
    #[must_use]
    pub fn alone(cursor: u64) -> Self {
        Self { rest: cursor, places: BTreeMap::new() }
    }

    /// Reads the text of a position. Shards that it does not name are where `self` is.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<Self> {
        if let Ok(cursor) = text.parse() {
            return Some(Self::alone(cursor));
        }
        let mut places = BTreeMap::new();
        for place in text.split('-') {
            let (shard, cursor) = place.split_once('.')?;
            let is_first = places.insert(shard.parse().ok()?, cursor.parse().ok()?).is_none();
            if !is_first || places.len() > MAX_PLACES {
                return None;
            }
        }
        Some(Self { rest: self.rest, places })
    }

    /// The place in a shard; none: the only log.
    #[must_use]
    pub fn place(&self, shard: Option<u16>) -> u64 {
        shard.and_then(|shard| self.places.get(&shard)).copied().unwrap_or(self.rest)
    }

    /// Returns true if it has places of several shards, or none that could not be theirs.
    #[must_use]
    pub fn is_of_shards(&self) -> bool {
        !self.places.is_empty() || [0, u64::MAX].contains(&self.rest)
    }

    /// Returns true if it can be a place in an only log.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.places.is_empty()
    }

    /// Changes the place in a shard; none: the only log.
    pub fn set(&mut self, shard: Option<u16>, cursor: u64) {
        match shard {
            Some(shard) => drop(self.places.insert(shard, cursor)),
            None => self.rest = cursor,
        }
    }

    /// The position at an event that was read from here.
    #[must_use]
    pub fn at(mut self, event: &PlacedEvent) -> Self {
        self.set(event.shard, event.stored.cursor);
        self
    }
}

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.places.is_empty() {
            return self.rest.fmt(f);
        }
        for (number, (shard, cursor)) in self.places.iter().enumerate() {
            let separator = if number == 0 { "" } else { "-" };
            write!(f, "{separator}{shard}.{cursor}")?;
        }
        Ok(())
    }
}

/// An event, and the shard whose log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedEvent {
    /// None: the only log.
    pub shard: Option<u16>,
    /// The event.
    pub stored: StoredEvent,
}

/// Events of several shards. Those of one shard are in the order of its log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPage {
    /// The events; none, and no shard that is unavailable: there are no more.
    pub events: Vec<PlacedEvent>,
    /// Shards that could not be asked. They keep their place, so that nothing of theirs is lost to
    /// whoever goes on from here.
    pub unavailable_shards: Vec<u16>,
}

impl EventPage {
    /// Of the only log.
    fn alone(events: Vec<StoredEvent>) -> Self {
        let placed = |stored| PlacedEvent { shard: None, stored };
        Self { events: events.into_iter().map(placed).collect(), unavailable_shards: Vec::new() }
    }
}

/// Which events are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedEvents {
    /// All.
    All,
    /// Those that list a message
    /// ([`Event::lists_message`](relevo_mailkit::event::Event::lists_message)).
    Messages,
}

/// Why no history is returned.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The position is older than what is kept: 410.
    #[error("events up to this cursor are no longer kept; the oldest that can be read after is {oldest}")]
    Pruned {
        /// The oldest position that can be read after.
        oldest: EventPosition,
    },
    /// The position is one of a node alone, and this is a cluster, or the other way round: 410.
    #[error("this cursor was given before the relay became a cluster, or ceased to be one; 0 begins anew")]
    Foreign,
    /// As for the queue.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The events of all shards. A store alone has one log, and does as is written here.
#[async_trait]
pub trait EventHistory: EventLog {
    /// Returns true if positions have a place for each shard.
    fn has_shards(&self) -> bool {
        false
    }

    /// Up to `max` events of `tenant` after a position, about in the order of their times; bounded as
    /// [`EventLog::events`].
    async fn history(
        &self,
        tenant: &str,
        after: &EventPosition,
        max: usize,
    ) -> Result<EventPage, HistoryError> {
        if !after.is_alone() {
            return Err(HistoryError::Foreign);
        }
        match self.events(Some(tenant), after.place(None), max).await {
            Ok(events) => Ok(EventPage::alone(events)),
            Err(EventError::Pruned { oldest }) => {
                Err(HistoryError::Pruned { oldest: EventPosition::alone(oldest) })
            }
            Err(EventError::Store(error)) => Err(error.into()),
        }
    }

    /// Up to `max` events of `tenant` before a position, those of the newest time first; bounded as
    /// [`EventLog::events_before`].
    async fn history_before(
        &self,
        tenant: &str,
        listed: ListedEvents,
        before: &EventPosition,
        max: usize,
    ) -> Result<EventPage, HistoryError> {
        if !before.is_alone() {
            return Err(HistoryError::Foreign);
        }
        let before = before.place(None);
        let events = match listed {
            ListedEvents::All => self.events_before(tenant, before, max).await?,
            ListedEvents::Messages => self.messages_before(tenant, before, max).await?,
        };
        Ok(EventPage::alone(events))
    }

    /// The position at the newest events of `tenant`.
    ///
    /// # Errors
    /// The store's, also when one of several shards cannot be asked.
    async fn newest(&self, tenant: &str) -> Result<EventPosition, StoreError> {
        let newest = self.events_before(tenant, u64::MAX, 1).await?;
        Ok(EventPosition::alone(newest.first().map_or(0, |stored| stored.cursor)))
    }

    /// The position at an event of `tenant` that is about a message. In other shards it is the place of
    /// its time.
    async fn position_at(&self, tenant: &str, stored: &StoredEvent) -> Result<EventPosition, StoreError> {
        let _ = tenant;
        Ok(EventPosition::alone(stored.cursor))
    }

    /// Waits until there may be an event after `seen`, and moves `seen` there. It may return too early.
    async fn wait_history(&self, seen: &mut EventPosition) {
        seen.rest = self.wait_after(seen.rest).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        let mut position = EventPosition::newest();
        position.set(Some(2), 815);
        position.set(Some(1), 4711);
        assert_eq!(position.to_string(), "1.4711-2.815");
        assert_eq!(EventPosition::newest().parse("1.4711-2.815"), Some(position.clone()));
        assert_eq!((position.place(Some(2)), position.place(Some(3))), (815, u64::MAX));
        let forward = EventPosition::oldest().parse("1.4711-2.815").expect("reads");
        assert_eq!((forward.place(Some(2)), forward.place(Some(3))), (815, 0));
        assert_eq!(EventPosition::oldest().parse("17"), Some(EventPosition::alone(17)));
        assert_eq!(EventPosition::alone(17).to_string(), "17");
        for bad in ["", "-", "1", "1.", ".1", "1.2-", "1.2-1.3", "65536.1", "1.18446744073709551616", "x.1"] {
            let read = EventPosition::oldest().parse(bad);
            assert!(read.is_none_or(|read| read.to_string() == bad && bad == "1"), "{bad}");
        }
        let many = (0..1025).map(|shard| format!("{shard}.1")).collect::<Vec<_>>().join("-");
        assert_eq!(EventPosition::oldest().parse(&many), None);
    }
}
