//! The schedule against a store in memory.

use std::collections::BTreeMap;

use proptest::prelude::*;
use relevo_store::WebhookStatus;

use super::*;

const BOUNDS: ConnectionBounds = ConnectionBounds { total: 6, per_tenant: 4, per_endpoint: 2 };

fn delivery(endpoint: &str, event: i64, next_at: Millis) -> WebhookDelivery {
    WebhookDelivery {
        endpoint: endpoint.into(),
        node: "n".into(),
        event,
        event_type: "email.delivered".into(),
        message_id: None,
        status: WebhookStatus::Pending,
        attempts: 0,
        tries: 0,
        next_at,
        created_at: 0,
    }
}

/// Pending deliveries by endpoint and event.
#[derive(Default)]
struct World {
    pending: BTreeMap<(String, i64), Millis>,
    sent: Vec<(String, i64)>,
}

fn tenant(endpoint: &str) -> &str {
    &endpoint[..1]
}

impl World {
    fn add(&mut self, schedule: &mut Schedule, endpoint: &str, event: i64) {
        self.pending.insert((endpoint.into(), event), 0);
        schedule.wake(tenant(endpoint), endpoint);
    }

    /// Does what is to be done until there is nothing left.
    fn run(&mut self, schedule: &mut Schedule, now: Millis) {
        schedule.wake_due(now);
        while let Some(step) = schedule.next(now) {
            match step {
                Step::Send(delivery) => {
                    assert!(delivery.next_at <= now, "not before it is due");
                    let sent = (delivery.endpoint, delivery.event);
                    assert!(!self.sent.contains(&sent), "never twice at the same time");
                    self.sent.push(sent);
                }
                Step::Read { endpoint, .. } => {
                    let of_endpoint = self.pending.iter().filter(|((id, _), _)| *id == endpoint);
                    let mut found: Vec<_> =
                        of_endpoint.map(|((id, event), at)| delivery(id, *event, *at)).collect();
                    found.sort_by_key(|delivery| (delivery.next_at, delivery.event));
                    schedule.put(&endpoint, found, now);
                }
            }
        }
        for (bound, key) in [(BOUNDS.per_endpoint, 2), (BOUNDS.per_tenant, 1)] {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for (endpoint, _) in &self.sent {
                *counts.entry(&endpoint[..key]).or_default() += 1;
            }
            assert!(counts.values().all(|count| *count <= bound), "{counts:?}");
        }
        assert!(self.sent.len() <= BOUNDS.total);
    }

    fn finish(&mut self, schedule: &mut Schedule, index: usize, now: Millis, succeeded: bool) {
        let (endpoint, event) = self.sent.remove(index);
        let key = (endpoint.clone(), event);
        match succeeded {
            true => drop(self.pending.remove(&key)),
            false => drop(self.pending.insert(key, now + 5_000)),
        }
        schedule.finish(&endpoint, event, now, succeeded, None);
    }

    fn endpoints(&self) -> Vec<&str> {
        self.sent.iter().map(|(endpoint, _)| endpoint.as_str()).collect()
    }
}

#[test]
fn tenants_and_endpoints_take_turns() {
    let (mut schedule, mut world) = (Schedule::new(BOUNDS), World::default());
    for event in 0..10 {
        for endpoint in ["a1", "a2", "a3", "b1"] {
            world.add(&mut schedule, endpoint, event);
        }
    }
    world.run(&mut schedule, 1);
    let count = |tenant: &str| world.endpoints().iter().filter(|id| id.starts_with(tenant)).count();
    assert_eq!((count("a"), count("b")), (4, 2), "{:?}", world.endpoints());
    assert!(["a1", "a2", "a3"].iter().all(|id| world.endpoints().contains(id)), "{:?}", world.endpoints());
}

#[test]
fn an_endpoint_that_fails_gets_one_request_at_a_time_and_pauses() {
    let (mut schedule, mut world) = (Schedule::new(BOUNDS), World::default());
    for event in 0..20 {
        world.add(&mut schedule, "a1", event);
    }
    let mut now = 1;
    world.run(&mut schedule, now);
    assert_eq!(world.sent.len(), 2);
    world.finish(&mut schedule, 0, now, false);
    world.run(&mut schedule, now);
    assert_eq!(world.sent.len(), 1, "one fails: the other one is enough");
    while schedule.endpoints["a1"].failures < PATIENCE {
        world.finish(&mut schedule, 0, now, false);
        world.run(&mut schedule, now);
    }
    assert_eq!((world.sent.len(), schedule.next_timer()), (0, Some(now + 1_000)));
    now += 1_000;
    world.run(&mut schedule, now);
    world.finish(&mut schedule, 0, now, true);
    world.run(&mut schedule, now);
    assert_eq!(world.sent.len(), 2, "it works again");
}

#[test]
fn a_pause_that_an_endpoint_asks_for_holds_up_nobody_else() {
    let (mut schedule, mut world) = (Schedule::new(BOUNDS), World::default());
    for event in 0..3 {
        world.add(&mut schedule, "a1", event);
    }
    world.run(&mut schedule, 1);
    let (endpoint, event) = world.sent.remove(0);
    world.pending.insert((endpoint.clone(), event), 60_000);
    schedule.finish(&endpoint, event, 1, false, Some(Duration::from_secs(60)));
    world.finish(&mut schedule, 0, 1, true);
    world.add(&mut schedule, "b1", 9);
    world.run(&mut schedule, 1);
    assert_eq!(world.endpoints(), ["b1"]);
    world.run(&mut schedule, 60_001);
    assert_eq!(world.endpoints(), ["b1", "a1", "a1"]);
}

#[test]
fn what_has_nothing_to_do_is_forgotten() {
    let (mut schedule, mut world) = (Schedule::new(BOUNDS), World::default());
    world.add(&mut schedule, "a1", 1);
    world.run(&mut schedule, 1);
    world.finish(&mut schedule, 0, 1, true);
    world.run(&mut schedule, 1);
    assert!(schedule.endpoints.is_empty() && schedule.tenants.is_empty(), "{schedule:?}");
    assert!(schedule.turn.is_empty() && schedule.timers.is_empty(), "{schedule:?}");
}

#[derive(Debug, Clone)]
enum Act {
    Add(usize, i64),
    Finish(usize, bool),
    Release(usize),
    Pass(Millis),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0_usize..5, 0_i64..8).prop_map(|(endpoint, event)| Act::Add(endpoint, event)),
        4 => (0_usize..6, any::<bool>()).prop_map(|(index, succeeded)| Act::Finish(index, succeeded)),
        1 => (0_usize..6).prop_map(Act::Release),
        2 => (1_i64..20_000).prop_map(Act::Pass),
    ];
    proptest::collection::vec(act, 0..60)
}

proptest! {
    /// Whatever happens: bounds hold, nothing is sent twice at once, and everything is sent in the end.
    #[test]
    fn everything_is_sent_in_the_end(acts in acts()) {
        const ENDPOINTS: [&str; 5] = ["a1", "a2", "a3", "b1", "c1"];
        let (mut schedule, mut world, mut now) = (Schedule::new(BOUNDS), World::default(), 1);
        for act in acts {
            match act {
                Act::Add(endpoint, event) => {
                    let endpoint = ENDPOINTS[endpoint];
                    if !world.pending.contains_key(&(endpoint.to_owned(), event)) {
                        world.add(&mut schedule, endpoint, event);
                    }
                }
                Act::Finish(index, succeeded) if index < world.sent.len() => {
                    world.finish(&mut schedule, index, now, succeeded);
                }
                Act::Release(index) if index < world.sent.len() => {
                    let (endpoint, event) = world.sent.remove(index);
                    schedule.release(&endpoint, event, now + 5_000);
                }
                Act::Finish(..) | Act::Release(_) => {}
                Act::Pass(time) => now += time,
            }
            world.run(&mut schedule, now);
        }
        for _ in 0..1_000 {
            if world.pending.is_empty() {
                break;
            }
            while !world.sent.is_empty() {
                world.finish(&mut schedule, 0, now, true);
            }
            now = schedule.next_timer().unwrap_or(now).max(now);
            world.run(&mut schedule, now);
        }
        prop_assert!(world.pending.is_empty(), "{:?} is left: {schedule:?}", world.pending);
        prop_assert_eq!((schedule.in_flight, world.sent.len()), (0, 0));
    }
}
