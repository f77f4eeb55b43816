//! The events of all nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{join_all, select_all};
use relevo_queue::{
    EventError, EventHistory, EventLog, EventPage, EventPosition, HistoryError, ItemId, ListedEvents, Millis,
    NewEvent, StoreError, StoredEvent,
};
use tokio::time::sleep;

use super::calls::{self, StoreAnswer, StoreCall, StoreFailure, id};
use super::client::{Patience, PeerError, not_expected};
use super::merge;
use super::place::place_behind;
use super::store::{ClusterStore, entries};
use crate::engine::ShardId;

/// Whoever waits for events looks for those of other nodes this often.
const LOOKS: Duration = Duration::from_secs(1);
/// Octets of events in one question.
const APPENDED: usize = 512 << 10;

impl ClusterStore {
    /// Appends to the logs of the messages. What is about no message, or about one whose shard nobody
    /// ever had, is this node's.
    async fn append_all(&self, events: Vec<NewEvent>, are_expendable: bool) -> Result<(), StoreError> {
        // Without events it is a question whether one could be appended.
        let (others, is_question) = (self.others(), events.is_empty());
        let (mut own, mut by_shard) = (Vec::new(), BTreeMap::<ShardId, Vec<NewEvent>>::new());
        for event in events {
            match event.item.map(ItemId::shard).filter(|shard| others.contains(shard)) {
                Some(shard) => by_shard.entry(shard).or_default().push(event),
                None => own.push(event),
            }
        }
        let remote = by_shard
            .into_iter()
            .map(|(shard, events)| async move { self.append_to(shard, events, are_expendable).await });
        let mut failed = Ok(());
        for appended in join_all(remote).await {
            match appended {
                Ok(left) => own.extend(left),
                // The others must not be lost with these.
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        if own.is_empty() && !is_question {
            return failed;
        }
        let appended = match are_expendable {
            true => self.shards.append_expendable(own).await,
            false => self.shards.append(own).await,
        };
        failed.and(appended)
    }

    /// Returns events that the shard has certainly not got, and that need not be in its log: whoever
    /// counts events is told of them at least.
    async fn append_to(
        &self,
        shard: ShardId,
        events: Vec<NewEvent>,
        are_expendable: bool,
    ) -> Result<Vec<NewEvent>, StoreError> {
        let mut left = Vec::new();
        for events in pieces(events) {
            let kept = if are_expendable { events.clone() } else { Vec::new() };
            match self.ask(shard, StoreCall::Append { events, are_expendable }).await {
                Ok(StoreAnswer::Appended) => {}
                Ok(_) => return Err(not_expected().into()),
                Err(PeerError::NotAsked(_)) if are_expendable => left.extend(kept),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(left)
    }

    /// Reads from every shard at once: what it has, or that it could not be asked.
    async fn of_all<F: Future<Output = Result<Vec<StoredEvent>, EventError>>>(
        &self,
        own: impl Fn(ShardId, std::sync::Arc<relevo_queue::EmbeddedStore>) -> F,
        call: impl Fn(ShardId) -> StoreCall,
    ) -> Vec<(ShardId, Result<Vec<StoredEvent>, EventError>)> {
        let here = self.shards.all().into_iter().map(|(shard, store)| (shard, own(shard, store)));
        let here = join_all(here.map(|(shard, read)| async move { (shard, read.await) }));
        let others = self.others().into_iter().map(|shard| (shard, call(shard)));
        let others = join_all(others.map(|(shard, call)| async move {
            let answer = match self.peers.call(shard, call, Patience::OfList).await {
                Ok(StoreAnswer::Events(events)) => Ok(events),
                Ok(_) => Err(EventError::Store(not_expected().into())),
                Err(PeerError::Failed(StoreFailure::Pruned(oldest))) => Err(EventError::Pruned { oldest }),
                Err(error) => Err(EventError::Store(error.into())),
            };
            (shard, answer)
        }));
        let (mut here, others) = tokio::join!(here, others);
        here.extend(others);
        // A shard may have come here meanwhile.
        here.sort_by_key(|(shard, _)| *shard);
        here.dedup_by_key(|(shard, _)| *shard);
        here
    }
}

/// Events in questions that are not too long.
fn pieces(events: Vec<NewEvent>) -> Vec<Vec<NewEvent>> {
    let mut pieces: Vec<Vec<NewEvent>> = Vec::new();
    let mut octets = usize::MAX;
    for event in events {
        let length = calls::length(&event);
        octets = octets.saturating_add(length);
        match pieces.last_mut().filter(|_| octets <= APPENDED) {
            Some(piece) => piece.push(event),
            None => {
                octets = length;
                pieces.push(vec![event]);
            }
        }
    }
    pieces
}

fn place_of(position: &EventPosition, shard: ShardId) -> u64 {
    position.place(Some(shard))
}

#[async_trait]
impl EventLog for ClusterStore {
    async fn append(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.append_all(events, false).await
    }

    async fn append_expendable(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.append_all(events, true).await
    }

    async fn events(
        &self,
        tenant: Option<&str>,
        after: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, EventError> {
        self.shards.events(tenant, after, max).await
    }

    async fn events_before(
        &self,
        tenant: &str,
        before: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.shards.events_before(tenant, before, max).await
    }

    async fn messages_before(
        &self,
        tenant: &str,
        before: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.shards.messages_before(tenant, before, max).await
    }

    async fn events_of(
        &self,
        message: ItemId,
        after: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        if self.is_here(message.shard()) {
            return self.shards.events_of(message, after, max).await;
        }
        if self.is_nowhere(message.shard()) {
            return Ok(Vec::new());
        }
        let call = StoreCall::EventsOf { message: id(message), after, max: entries(max) };
        match self.ask(message.shard(), call).await? {
            StoreAnswer::Events(events) => Ok(events),
            _ => Err(not_expected().into()),
        }
    }

    async fn wait_after(&self, after: u64) -> u64 {
        self.shards.wait_after(after).await
    }

    async fn prune(&self, before: Millis, max: u64) -> Result<usize, StoreError> {
        self.shards.prune(before, max).await
    }
}

#[async_trait]
impl EventHistory for ClusterStore {
    fn has_shards(&self) -> bool {
        true
    }

    async fn history(
        &self,
        tenant: &str,
        after: &EventPosition,
        max: usize,
    ) -> Result<EventPage, HistoryError> {
        if !after.is_of_shards() {
            return Err(HistoryError::Foreign);
        }
        let own = |shard, store: std::sync::Arc<relevo_queue::EmbeddedStore>| async move {
            store.events(Some(tenant), place_of(after, shard), max).await
        };
        let call = |shard| StoreCall::Events {
            tenant: tenant.to_owned(),
            after: place_of(after, shard),
            max: entries(max),
        };
        let (mut found, mut unavailable_shards, mut oldest) = (Vec::new(), Vec::new(), None);
        for (shard, read) in self.of_all(own, call).await {
            match read {
                Ok(events) => found.push((shard, events)),
                Err(EventError::Pruned { oldest: cursor }) => {
                    let known = oldest.take().unwrap_or_else(|| after.clone());
                    oldest = Some(merge::with_place(known, shard, cursor));
                }
                Err(EventError::Store(_)) => unavailable_shards.push(shard),
            }
        }
        if let Some(oldest) = oldest {
            return Err(HistoryError::Pruned { oldest });
        }
        self.note_missing(&unavailable_shards);
        Ok(EventPage { events: merge::forward(found, max), unavailable_shards })
    }

    async fn history_before(
        &self,
        tenant: &str,
        listed: ListedEvents,
        before: &EventPosition,
        max: usize,
    ) -> Result<EventPage, HistoryError> {
        if !before.is_of_shards() {
            return Err(HistoryError::Foreign);
        }
        let max = max.min(usize::try_from(calls::MAX_ENTRIES).unwrap_or(usize::MAX));
        let own = |shard, store: std::sync::Arc<relevo_queue::EmbeddedStore>| async move {
            let before = place_of(before, shard);
            Ok(match listed {
                ListedEvents::All => store.events_before(tenant, before, max).await?,
                ListedEvents::Messages => store.messages_before(tenant, before, max).await?,
            })
        };
        let call = |shard| StoreCall::EventsBefore {
            tenant: tenant.to_owned(),
            of_messages: listed == ListedEvents::Messages,
            before: place_of(before, shard),
            max: entries(max),
        };
        let (mut found, mut unavailable_shards) = (Vec::new(), Vec::new());
        for (shard, read) in self.of_all(own, call).await {
            match read {
                Ok(events) => found.push((shard, events)),
                Err(_) => unavailable_shards.push(shard),
            }
        }
        self.note_missing(&unavailable_shards);
        Ok(EventPage { events: merge::backward(found, max), unavailable_shards })
    }

    async fn newest(&self, tenant: &str) -> Result<EventPosition, StoreError> {
        let own = |_, store: std::sync::Arc<relevo_queue::EmbeddedStore>| async move {
            Ok(store.events_before(tenant, u64::MAX, 1).await?)
        };
        let call = |_| StoreCall::EventsBefore {
            tenant: tenant.to_owned(),
            of_messages: false,
            before: u64::MAX,
            max: 1,
        };
        let mut newest = EventPosition::oldest();
        for (shard, read) in self.of_all(own, call).await {
            let events = read.map_err(|error| match error {
                EventError::Store(error) => error,
                pruned @ EventError::Pruned { .. } => StoreError::Io(pruned.to_string()),
            })?;
            newest.set(Some(shard), events.first().map_or(0, |stored| stored.cursor));
        }
        Ok(newest)
    }

    async fn position_at(&self, tenant: &str, stored: &StoredEvent) -> Result<EventPosition, StoreError> {
        let mut position = EventPosition::newest();
        let Some(own) = stored.event.item.map(ItemId::shard) else { return Ok(position) };
        // In the order of [`merge::backward`]: of the same time the lower shards come first.
        let at = |shard: ShardId| stored.event.at.saturating_sub(Millis::from(shard < own));
        for (shard, store) in self.shards.all() {
            let place = place_behind(&*store, tenant, at(shard)).await;
            position.set(Some(shard), place.map_err(|error| StoreError::Unavailable(error.to_string()))?);
        }
        let call = |shard| StoreCall::PlaceBehind { tenant: tenant.to_owned(), at: at(shard) };
        let read = |answer| match answer {
            StoreAnswer::Place(place) => Some(place),
            _ => None,
        };
        // What cannot be asked is asked again by whoever reads from here.
        for (shard, place) in self.of_others(call, read).await.0 {
            position.set(Some(shard), place);
        }
        position.set(Some(own), stored.cursor);
        Ok(position)
    }

    /// Events of other nodes are looked for now and then.
    async fn wait_history(&self, seen: &mut EventPosition) {
        let mut changes = self.shards.changes();
        changes.mark_unchanged();
        let here = self.shards.all();
        let grown = here.iter().map(|(shard, store)| {
            let after = place_of(seen, *shard);
            Box::pin(async move { (*shard, store.wait_after(after).await) })
        });
        let grown: Vec<_> = grown.collect();
        let has_others = !self.others().is_empty();
        let first = async {
            match grown.is_empty() {
                true => std::future::pending().await,
                false => select_all(grown).await.0,
            }
        };
        tokio::select! {
            (shard, newest) = first => seen.set(Some(shard), newest),
            _ = changes.changed() => {}
            () = sleep(LOOKS), if has_others => {}
        }
    }
}
