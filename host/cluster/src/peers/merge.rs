//! Puts together what shards answer.

use relevo_queue::{
    Backlog, DomainItems, EventPosition, ItemId, ItemView, KeyBacklog, PlacedEvent, StoredEvent,
};

use crate::engine::ShardId;

/// Items of one or more shards, in the order of their ids.
pub(super) struct ItemsOf {
    pub(super) items: Vec<ItemView>,
    /// There may be more behind the last one.
    pub(super) is_cut: bool,
}

/// The first `max` items of all pages. Nothing is returned that lies behind the end of a page which has
/// more: it would be passed over.
pub(super) fn items(pages: Vec<ItemsOf>, max: usize) -> Vec<ItemView> {
    let cut = pages.iter().filter(|page| page.is_cut).filter_map(|page| page.items.last());
    let end: Option<ItemId> = cut.map(|item| item.id).min();
    let mut items: Vec<ItemView> = pages.into_iter().flat_map(|page| page.items).collect();
    items.retain(|item| end.is_none_or(|end| item.id <= end));
    items.sort_by_key(|item| item.id);
    // A shard that moved between two answers is in both.
    items.dedup_by_key(|item| item.id);
    items.truncate(max);
    items
}

/// The first `max` items to a domain.
pub(crate) fn items_to(pages: impl IntoIterator<Item = DomainItems>, max: usize) -> DomainItems {
    let mut all = DomainItems::default();
    let mut next = None;
    for page in pages {
        all.items.extend(page.items);
        all.unavailable_shards.extend(page.unavailable_shards);
        next = [next, page.next].into_iter().flatten().min();
    }
    all.items.sort_unstable();
    all.items.dedup_by_key(|(item, _)| *item);
    // What lies behind the first end of looking is found again by the next call.
    if let Some(end) = next {
        all.items.retain(|(item, _)| *item <= end);
    }
    if all.items.len() > max {
        all.items.truncate(max);
        next = all.items.last().map(|(item, _)| *item);
    }
    DomainItems { next, ..all }
}

/// The sums by queue key.
pub(crate) fn backlogs(backlogs: impl IntoIterator<Item = Backlog>) -> Backlog {
    let mut all = Backlog::default();
    let mut places = std::collections::HashMap::new();
    for backlog in backlogs {
        all.is_truncated |= backlog.is_truncated;
        all.unavailable_shards.extend(backlog.unavailable_shards);
        for key in backlog.keys {
            let count = all.keys.len();
            let place = *places.entry(key.key.clone()).or_insert(count);
            match all.keys.get_mut(place) {
                Some(known) => add(known, &key),
                None => all.keys.push(key),
            }
        }
    }
    all
}

fn add(known: &mut KeyBacklog, more: &KeyBacklog) {
    known.deliveries += more.deliveries;
    known.recipients += more.recipients;
    known.due += more.due;
    known.leased += more.leased;
    known.held += more.held;
    known.next_due = [known.next_due, more.next_due].into_iter().flatten().min();
    known.oldest = known.oldest.min(more.oldest);
}

/// Events of one shard in the order in which they are read, at most `max` of which were asked for.
pub(super) type EventsOf = (ShardId, Vec<StoredEvent>);

/// The first `max` events of all shards, those of the earliest time first. Each shard's stay in order.
pub(super) fn forward(shards: Vec<EventsOf>, max: usize) -> Vec<PlacedEvent> {
    merged(shards, max, |a, b| a < b, |_| false)
}

/// The same for events that were read backward. It ends with a shard that may have more than it
/// answered: what the others have may be older than that.
pub(super) fn backward(shards: Vec<EventsOf>, max: usize) -> Vec<PlacedEvent> {
    merged(shards, max, |a, b| a > b, |count| count > 0 && count < max)
}

fn merged(
    shards: Vec<EventsOf>,
    max: usize,
    is_before: impl Fn(i64, i64) -> bool,
    ends: impl Fn(usize) -> bool,
) -> Vec<PlacedEvent> {
    let mut heads: Vec<_> = shards
        .into_iter()
        .map(|(shard, events)| (shard, ends(events.len()), events.into_iter().peekable()))
        .collect();
    let mut found = Vec::new();
    while found.len() < max {
        let mut first: Option<(usize, i64)> = None;
        for (place, (_, _, events)) in heads.iter_mut().enumerate() {
            let Some(at) = events.peek().map(|stored| stored.event.at) else { continue };
            if first.is_none_or(|(_, earliest)| is_before(at, earliest)) {
                first = Some((place, at));
            }
        }
        let Some((shard, ends, events)) = first.and_then(|(place, _)| heads.get_mut(place)) else { break };
        let Some(stored) = events.next() else { break };
        found.push(PlacedEvent { shard: Some(*shard), stored });
        if *ends && events.peek().is_none() {
            break;
        }
    }
    found
}

/// The position with the place of one more shard.
pub(super) fn with_place(mut position: EventPosition, shard: ShardId, cursor: u64) -> EventPosition {
    position.set(Some(shard), cursor);
    position
}

#[cfg(test)]
mod tests;
