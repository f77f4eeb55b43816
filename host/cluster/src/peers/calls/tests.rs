use std::sync::Arc;

use proptest::prelude::*;
use relevo_mailkit::event::{Event, Rescheduled};
use relevo_queue::{
    Delivery, DeliveryView, DomainItems, ItemMeta, KeyBacklog, LastAttempt, QueueKey, Recipient,
};

use super::*;

const ITEM: ItemId = ItemId([7; 16]);

fn event() -> NewEvent {
    let event = Event::Rescheduled(Rescheduled { scheduled_at: "soon".into(), previous: "now".into() });
    NewEvent { tenant: "acme".into(), at: 5, item: Some(ITEM), labels: Default::default(), event }
}

fn view() -> ItemView {
    let last = LastAttempt { text: "later".into(), code: Some(450), ..LastAttempt::default() };
    let delivery = Delivery {
        id: DeliveryId { item: ITEM, number: 3 },
        key: QueueKey::of_domain("b.test"),
        recipients: vec![Recipient::pending(0, "r@b.test")],
        due_at: 9,
        priority: -2,
        held: true,
        hold_reason: Some("looks odd".into()),
        attempts: 2,
        last: Some(last.clone()),
        reasons: vec![(0, last)],
    };
    let meta = ItemMeta { tenant: "acme".into(), recipe: vec![1, 2], ..ItemMeta::default() };
    let deliveries = vec![DeliveryView { delivery, leased_until: Some(11) }];
    ItemView { id: ITEM, meta: Arc::new(meta), deliveries }
}

fn calls() -> Vec<StoreCall> {
    let (one, tenant) = (id(ITEM), "acme".to_owned());
    vec![
        StoreCall::Item(one),
        StoreCall::Body { item: one, offset: u64::MAX },
        StoreCall::Delivery(DeliveryId { item: ITEM, number: 3 }),
        StoreCall::Act {
            item: one,
            domain: Some("b.test".into()),
            action: OperatorAction::Reschedule(17),
            now: 5,
            events: vec![event()],
        },
        StoreCall::Append { events: vec![event(); 2], are_expendable: true },
        StoreCall::List { after: Some(one), max: 5 },
        StoreCall::ItemsTo { domain: "b.test".into(), after: None, looks: 9, max: 5 },
        StoreCall::Backlog { now: 5, looks: 9 },
        StoreCall::Counts(vec![tenant.clone()]),
        StoreCall::AcceptedRequest { tenant: tenant.clone(), key: "k".into(), now: 5 },
        StoreCall::Events { tenant: tenant.clone(), after: 7, max: 5 },
        StoreCall::EventsBefore { tenant: tenant.clone(), of_messages: true, before: 7, max: 5 },
        StoreCall::EventsOf { message: one, after: 7, max: 5 },
        StoreCall::PlaceBehind { tenant, at: 5 },
    ]
}

fn answers() -> Vec<StoreAnswer> {
    let key = KeyBacklog {
        key: QueueKey::of_domain("b.test"),
        deliveries: 1,
        recipients: 2,
        due: 3,
        leased: 4,
        held: 5,
        next_due: Some(6),
        oldest: DeliveryId { item: ITEM, number: 3 },
    };
    let meta = view().meta;
    let delivery = view().deliveries.into_iter().next();
    let queued = delivery.map(|view| QueuedDelivery { meta, view });
    let request = IdempotentRequest {
        tenant: "acme".into(),
        key: "k".into(),
        digest: [3; 32],
        at: 5,
        answer: vec![1, 2, 3],
    };
    let failures = [
        StoreFailure::NotServed,
        StoreFailure::Full,
        StoreFailure::NoInodes,
        StoreFailure::Unavailable("away".into()),
        StoreFailure::Corrupt("bad".into()),
        StoreFailure::Pruned(9),
        StoreFailure::Other("odd".into()),
    ];
    let mut all: Vec<StoreAnswer> = failures.into_iter().map(StoreAnswer::Failed).collect();
    all.extend([
        StoreAnswer::Item(None),
        StoreAnswer::Item(Some(view())),
        StoreAnswer::Body(Some(BodyPiece { size: 9, octets: vec![0xff; 9] })),
        StoreAnswer::Delivery(queued),
        StoreAnswer::Acted(Acted::BeingAttempted),
        StoreAnswer::Appended,
        StoreAnswer::Items { items: vec![view(); 2], is_cut: true },
        StoreAnswer::ItemsTo(DomainItems {
            items: vec![(ITEM, "acme".into())],
            next: Some(ITEM),
            unavailable_shards: vec![3],
        }),
        StoreAnswer::Backlog(Backlog { keys: vec![key], is_truncated: true, unavailable_shards: vec![] }),
        StoreAnswer::Counts {
            stats: QueueStats { items: 1, free_inodes: Some(3), ..QueueStats::default() },
            held: vec![1, 2],
        },
        StoreAnswer::Request(Some(request)),
        StoreAnswer::Events(vec![StoredEvent { cursor: 8, event: event() }]),
        StoreAnswer::Place(u64::MAX),
    ]);
    all
}

#[test]
fn every_call_and_answer_is_read_as_it_was_written() {
    for call in calls() {
        let question = StoreQuestion { shard: 3, call };
        assert_eq!(decode::<StoreQuestion>(&encode(&question).expect("encodes")), Ok(question));
    }
    for answer in answers() {
        assert_eq!(decode::<StoreAnswer>(&encode(&answer).expect("encodes")), Ok(answer));
    }
}

#[test]
fn what_is_cut_or_longer_is_refused() {
    for call in calls() {
        let octets = encode(&StoreQuestion { shard: 3, call }).expect("encodes");
        for end in 0..octets.len() {
            assert_eq!(decode::<StoreQuestion>(&octets[..end]), Err(WireError::Unreadable));
        }
        let longer = [octets, vec![0]].concat();
        assert_eq!(decode::<StoreQuestion>(&longer), Err(WireError::Unreadable));
    }
}

#[test]
fn calls_name_their_messages() {
    for call in calls() {
        let messages: Vec<ItemId> = call.messages().collect();
        let is_about_one = !matches!(
            call,
            StoreCall::List { .. }
                | StoreCall::ItemsTo { .. }
                | StoreCall::Backlog { .. }
                | StoreCall::Counts(_)
                | StoreCall::AcceptedRequest { .. }
                | StoreCall::Events { .. }
                | StoreCall::EventsBefore { .. }
                | StoreCall::PlaceBehind { .. }
        );
        assert_eq!(!messages.is_empty(), is_about_one, "{call:?}");
        assert!(messages.iter().all(|message| *message == ITEM));
    }
}

proptest! {
    /// Nothing that another node may send makes this one panic or take memory that was not sent.
    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode::<StoreQuestion>(&octets);
        let _ = decode::<StoreAnswer>(&octets);
    }

    #[test]
    fn changed_octets_are_read_or_refused(number in 0..14_usize, at in 0..200_usize, new in any::<u8>()) {
        let call = calls().swap_remove(number);
        let mut octets = encode(&StoreQuestion { shard: 3, call }).expect("encodes");
        let at = at % octets.len();
        octets[at] = new;
        let _ = decode::<StoreQuestion>(&octets);
    }
}
