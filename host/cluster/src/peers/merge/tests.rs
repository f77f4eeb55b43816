use std::sync::Arc;

use proptest::prelude::*;
use relevo_mailkit::event::{Event, Rescheduled};
use relevo_queue::{DeliveryId, ItemMeta, NewEvent, QueueKey};

use super::*;

fn item(n: u8) -> ItemView {
    ItemView { id: ItemId([n; 16]), meta: Arc::new(ItemMeta::default()), deliveries: Vec::new() }
}

fn page(numbers: &[u8], is_cut: bool) -> ItemsOf {
    ItemsOf { items: numbers.iter().map(|n| item(*n)).collect(), is_cut }
}

fn numbers(items: &[ItemView]) -> Vec<u8> {
    items.iter().map(|item| item.id.0[0]).collect()
}

#[test]
fn items_behind_the_end_of_a_page_are_left_to_the_next() {
    let whole = items(vec![page(&[1, 4], false), page(&[2, 3, 9], false)], 10);
    assert_eq!(numbers(&whole), [1, 2, 3, 4, 9]);
    let cut = items(vec![page(&[1, 4], true), page(&[2, 3, 9], false)], 10);
    assert_eq!(numbers(&cut), [1, 2, 3, 4], "after 4 the first shard may have 5");
    assert_eq!(numbers(&items(vec![page(&[1, 4], false), page(&[2, 3], false)], 3)), [1, 2, 3]);
    let moved = items(vec![page(&[1, 4], false), page(&[1, 4], false)], 10);
    assert_eq!(numbers(&moved), [1, 4], "it moved meanwhile");
}

fn to(numbers: &[u8], next: Option<u8>) -> DomainItems {
    let items = numbers.iter().map(|n| (ItemId([*n; 16]), "acme".to_owned())).collect();
    DomainItems { items, next: next.map(|n| ItemId([n; 16])), ..DomainItems::default() }
}

#[test]
fn a_search_goes_on_where_the_first_shard_ended() {
    let found = items_to([to(&[1, 4], Some(4)), to(&[2, 3, 9], None)], 10);
    assert_eq!(found, to(&[1, 2, 3, 4], Some(4)));
    assert_eq!(items_to([to(&[1, 4], None), to(&[2], None)], 2), to(&[1, 2], Some(2)));
    assert_eq!(items_to([to(&[1], None), to(&[2], None)], 2), to(&[1, 2], None));
}

#[test]
fn backlogs_are_added_by_key() {
    let key = |domain: &str, count, next_due, oldest| KeyBacklog {
        key: QueueKey::of_domain(domain),
        deliveries: count,
        recipients: count,
        due: count,
        leased: count,
        held: count,
        next_due,
        oldest: DeliveryId { item: ItemId([oldest; 16]), number: 0 },
    };
    let of = |keys, is_truncated| Backlog { keys, is_truncated, ..Backlog::default() };
    let all = backlogs([
        of(vec![key("a.test", 1, Some(7), 5), key("b.test", 2, None, 1)], false),
        of(vec![key("a.test", 10, Some(3), 9)], true),
    ]);
    assert_eq!(all, of(vec![key("a.test", 11, Some(3), 5), key("b.test", 2, None, 1)], true));
}

fn events(times: &[i64]) -> Vec<StoredEvent> {
    let event = |at| NewEvent {
        tenant: "acme".into(),
        at,
        item: None,
        labels: Default::default(),
        event: Event::Rescheduled(Rescheduled::default()),
    };
    (1..).zip(times).map(|(cursor, at)| StoredEvent { cursor, event: event(*at) }).collect()
}

fn places(found: &[PlacedEvent]) -> Vec<(u16, i64)> {
    found.iter().map(|event| (event.shard.unwrap_or_default(), event.stored.event.at)).collect()
}

#[test]
fn events_are_merged_by_their_times() {
    let found = forward(vec![(1, events(&[1, 4, 3])), (2, events(&[2, 5]))], 10);
    assert_eq!(places(&found), [(1, 1), (2, 2), (1, 4), (1, 3), (2, 5)], "each shard's stay in order");
    let found = backward(vec![(1, events(&[9, 5])), (2, events(&[8, 5, 1]))], 3);
    assert_eq!(places(&found), [(1, 9), (2, 8), (1, 5)]);
    let found = backward(vec![(1, events(&[9, 5])), (2, events(&[8, 4, 1]))], 10);
    assert_eq!(places(&found), [(1, 9), (2, 8), (1, 5)], "the first may have a 4 of its own");
}

proptest! {
    /// Pages of any size have every event once, whatever each shard answers at once.
    #[test]
    fn pages_lose_and_repeat_nothing(
        times in proptest::collection::vec(proptest::collection::vec(0..50_i64, 0..20), 1..4),
        (max, at_once) in (1..9_usize, 1..9_usize),
        is_backward in any::<bool>(),
    ) {
        let logs: Vec<Vec<StoredEvent>> = times.iter().map(|times| events(times)).collect();
        let mut position = EventPosition::default();
        let mut found = Vec::new();
        for _ in 0..500 {
            let read = (0..).zip(&logs).map(|(shard, log)| {
                let from = usize::try_from(position.place(Some(shard))).expect("small");
                (shard, log.iter().skip(from).take(max.min(at_once)).cloned().collect())
            });
            let read: Vec<EventsOf> = read.collect();
            let is_end = read.iter().all(|(_, events)| events.is_empty());
            let page = if is_backward { backward(read, max) } else { forward(read, max) };
            prop_assert!(page.len() <= max && page.is_empty() == is_end);
            if is_end {
                break;
            }
            position = page.iter().fold(position, |position, event| position.at(event));
            found.extend(page);
        }
        for (shard, log) in (0..).zip(&logs) {
            let of_shard = found.iter().filter(|event| event.shard == Some(shard));
            let of_shard: Vec<u64> = of_shard.map(|event| event.stored.cursor).collect();
            let all: Vec<u64> = log.iter().map(|stored| stored.cursor).collect();
            prop_assert_eq!(of_shard, all);
        }
    }
}
