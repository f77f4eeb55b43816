//! The store against a model, on a disk that breaks: what was answered `Ok` survives a loss of
//! power, and what was not is there whole or not at all.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::*;
use proptest::prelude::*;
use relevo_queue::disk::{DiskFault, FaultyDisk};
use relevo_queue::*;

#[derive(Debug, Clone)]
enum Step {
    /// Accept an item with this body size and number of deliveries.
    Accept {
        size: usize,
        deliveries: u32,
    },
    /// Settle the first due delivery: delivered, failed, or later.
    Settle(u8),
    /// Report the first item whose round is over.
    Report,
    Act(u8),
    Restart,
    Fault(DiskFault),
    PowerLoss(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        (1..20_u32).prop_map(DiskFault::Write),
        (1..20_u32).prop_map(DiskFault::TornWrite),
        (1..8_u32).prop_map(DiskFault::Sync),
        (1..20_u32).prop_map(DiskFault::Full),
    ];
    prop_oneof![
        6 => (prop_oneof![0..2000_usize, 65_000..140_000_usize], 1..4_u32).prop_map(|(size, deliveries)| Step::Accept { size, deliveries }),
        6 => (0..4_u8).prop_map(Step::Settle),
        2 => Just(Step::Report),
        1 => (0..4_u8).prop_map(Step::Act),
        1 => Just(Step::Restart),
        1 => fault.prop_map(Step::Fault),
        1 => any::<u64>().prop_map(Step::PowerLoss),
    ]
}

/// What one recipient's state may be: as known, or either of two when the answer was an error.
type States = BTreeMap<(u32, u32), RecipientState>;

/// Every state an item may be in on disk. None: not there.
#[derive(Debug, Clone, Default)]
struct Model {
    items: BTreeMap<u64, Vec<Option<States>>>,
    sizes: BTreeMap<u64, usize>,
}

fn number(item: ItemId) -> u64 {
    u64::from_be_bytes(item.0[8..].try_into().unwrap())
}

fn bytes(n: u64, size: usize) -> Vec<u8> {
    (0..size).map(|i| u8::try_from((i as u64 * 7 + n) % 251).unwrap()).collect()
}

fn live(states: States) -> Option<States> {
    let left = |s: &RecipientState| {
        !matches!(s, RecipientState::Delivered | RecipientState::Failed { reported: true })
    };
    states.values().any(left).then_some(states)
}

struct Run {
    disk: FaultyDisk,
    store: Arc<EmbeddedStore>,
    model: Model,
    now: Millis,
    next: u64,
}

impl Run {
    fn reopen(&mut self) {
        self.store =
            EmbeddedStore::open_on(Arc::new(self.disk.clone()), "/q", small()).expect("a mended disk opens");
    }

    /// The present state of an item, as far as the store knows.
    async fn states(&self, n: u64) -> Option<States> {
        let view = self.store.item(id(n)).await.ok()??;
        let all = view.deliveries.iter().flat_map(|d| {
            let of = d.delivery.id.number;
            d.delivery.recipients.iter().map(move |r| ((of, r.index), r.state.clone()))
        });
        Some(all.collect())
    }

    fn known(&mut self, n: u64, outcome: Option<States>, sure: bool) {
        let possible = self.model.items.entry(n).or_insert_with(|| vec![None]);
        if sure {
            possible.clear();
        }
        if !possible.contains(&outcome) {
            possible.push(outcome);
        }
    }

    async fn accept(&mut self, size: usize, deliveries: u32) {
        let n = self.next;
        self.next += 1;
        let Ok(mut spool) = self.store.spool().await else { return };
        if spool.write(&bytes(n, size)).await.is_err() {
            return;
        }
        let Ok(body) = spool.finish().await else { return };
        let new = |d: u32| {
            let mut new = delivery(&format!("d{d}.test"), [d * 2, d * 2 + 1], self.now);
            new.recipients[1].delay_report_at = Some(self.now);
            new
        };
        let new = (0..deliveries).map(new).collect();
        let states = (0..deliveries).flat_map(|d| [(d, d * 2), (d, d * 2 + 1)]);
        let states: States = states.map(|key| (key, RecipientState::Pending)).collect();
        self.model.sizes.insert(n, size);
        let item = NewItem { id: id(n), meta: meta("acme"), body, deliveries: new };
        let done = self.store.accept(vec![item], vec![event("acme", "email.queued", self.now)]).await;
        self.known(n, Some(states), done.is_ok());
    }

    async fn settle(&mut self, how: u8) {
        let Ok(due) = self.store.due(self.now, &|_| false, 1).await else { return };
        let Some(first) = due.into_iter().next() else { return };
        let Ok(leases) = self.store.lease(&[first.key], self.now, self.now + HOUR, 1).await else {
            return;
        };
        let Some(lease) = leases.into_iter().next() else { return };
        let n = number(lease.delivery.id.item);
        let Some(mut states) = self.states(n).await else { return };
        let (settlement, state) = match how {
            0 => (settle(&lease, RecipientState::Delivered), Some(RecipientState::Delivered)),
            1 => (
                settle(&lease, RecipientState::Failed { reported: false }),
                Some(RecipientState::Failed { reported: false }),
            ),
            2 => (settle(&lease, RecipientState::Relayed), Some(RecipientState::Relayed)),
            _ => (later(&lease, self.now + 60_000), None),
        };
        if let Some(state) = state {
            for ((of, _), s) in &mut states {
                if *of == lease.delivery.id.number && *s == RecipientState::Pending {
                    *s = state.clone();
                }
            }
        }
        let done = settle_all(&self.store, vec![settlement], vec![], vec![]).await;
        self.known(n, live(states), done.is_ok());
    }

    async fn report(&mut self) {
        self.now += 1;
        let Ok(rounds) = self.store.unreported(self.now, 1).await else { return };
        let Some((item, _, failed)) = rounds.into_iter().next() else { return };
        let Some(mut states) = self.states(number(item)).await else { return };
        for f in &failed {
            let state = match f.kind {
                ReportKind::Failed => RecipientState::Failed { reported: true },
                ReportKind::Relayed => RecipientState::Delivered,
                ReportKind::Delayed => continue,
            };
            states.insert((f.delivery.number, f.recipient.index), state);
        }
        let keys: Vec<ReportKey> = failed.iter().map(Unreported::key).collect();
        let done = self.store.report(item, keys.clone(), None, vec![]).await;
        if done.is_ok() {
            let again = self.store.report(item, keys, None, vec![]).await;
            assert!(again.is_err(), "a report was made twice");
        }
        self.known(number(item), live(states), done.is_ok());
    }

    async fn act(&mut self, what: u8) {
        let Some(n) = self.model.items.keys().next_back().copied() else { return };
        let action =
            [OperatorAction::Retry, OperatorAction::Hold, OperatorAction::Release, OperatorAction::Drop]
                [usize::from(what)];
        let before = self.states(n).await;
        let done = self.store.act(id(n), action, self.now, vec![]).await;
        let Some(before) = before.filter(|_| action == OperatorAction::Drop) else { return };
        match done {
            // A fault left deliveries leased: they stay, and nothing else does.
            Ok(Acted::BeingAttempted) => {
                let left = self.states(n).await;
                let stays = |states: &States| {
                    states.iter().all(|(key, s)| {
                        *s == before[key] || !matches!(s, RecipientState::Pending) && !s.is_unreported()
                    })
                };
                assert!(left.as_ref().is_some_and(stays), "{left:?} of {before:?}");
                self.known(n, left, true);
            }
            done => self.known(n, None, done.is_ok()),
        }
    }

    async fn power_loss(&mut self, seed: u64) {
        let mut random = seed | 1;
        self.disk = self.disk.power_loss(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random.to_be_bytes()[0]
        });
        self.reopen();
        self.check().await;
    }

    /// The store holds, for every item, one of the states it may be in; and its body.
    async fn check(&mut self) {
        assert_eq!(self.store.stats().quarantined, 0);
        let listed = self.store.list(None, usize::MAX).await.unwrap().items;
        assert_eq!(self.store.stats().items, listed.len() as u64);
        for view in &listed {
            assert!(self.model.items.contains_key(&number(view.id)), "{} was never accepted", view.id);
        }
        let numbers: Vec<u64> = self.model.items.keys().copied().collect();
        for n in numbers {
            let found = self.states(n).await;
            let possible = &self.model.items[&n];
            assert!(possible.contains(&found), "item {n} is {found:?}, not one of {possible:?}");
            if found.is_some() {
                let body = read(&self.store, id(n), 0..u64::MAX).await.unwrap();
                assert_eq!(body, bytes(n, self.model.sizes[&n]), "body of item {n}");
            }
            self.model.items.insert(n, vec![found]);
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Accept { size, deliveries } => self.accept(size, deliveries).await,
            Step::Settle(how) => self.settle(how).await,
            Step::Report => self.report().await,
            Step::Act(what) => self.act(what).await,
            // After a failed sync the cache of the operating system shows what the medium may not
            // hold: only a new start of the machine tells.
            Step::Restart if self.disk.sync_failed() => self.power_loss(3).await,
            Step::Restart => {
                self.store.close().await;
                self.disk.mend();
                self.reopen();
                self.check().await;
            }
            Step::Fault(fault) => self.disk.order(fault),
            Step::PowerLoss(seed) => self.power_loss(seed).await,
        }
    }
}

/// Small segments, emptied at once: compaction takes part.
fn small() -> StoreConfig {
    StoreConfig { segment_size: 4096, compact_after: std::time::Duration::ZERO, ..config() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_is_half_written(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = FaultyDisk::new();
            let store = EmbeddedStore::open_on(Arc::new(disk.clone()), "/q", small()).unwrap();
            let mut run = Run { disk, store, model: Model::default(), now: T0, next: 1 };
            for step in steps {
                run.step(step).await;
            }
            run.power_loss(7).await;
        });
    }
}

/// A body with a file of its own: content, name and row are synced one after the other, and each
/// failure is final.
#[tokio::test]
async fn a_failed_sync_of_a_large_body_stops_the_store_for_good() {
    for nth in 1..=3 {
        let disk = FaultyDisk::new();
        let store = EmbeddedStore::open_on(Arc::new(disk.clone()), "/q", config()).unwrap();
        store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
        disk.order(DiskFault::Sync(nth));
        let accepted = async {
            let mut spool = store.spool().await?;
            spool.write(&bytes(2, 100_000)).await?;
            let body = spool.finish().await?;
            let deliveries = vec![delivery("x.test", [0], T0)];
            store.accept(vec![NewItem { id: id(2), meta: meta("acme"), body, deliveries }], vec![]).await
        };
        assert!(accepted.await.is_err(), "sync {nth} failed and the message was accepted");
        assert!(disk.sync_failed());
        // Every sync would succeed now, and none may be tried.
        disk.mend();
        let before = disk.counts();
        assert!(store.accept(vec![simple(3, "x.test")], vec![]).await.is_err());
        assert!(store.spool().await.is_err());
        assert_eq!(disk.counts(), before, "a store that cannot trust its disk wrote to it");
        let store = EmbeddedStore::open_on(Arc::new(disk.power_loss(|| 0)), "/q", config()).unwrap();
        assert_eq!((store.stats().items, store.stats().quarantined), (1, 0));
        assert_eq!(read(&store, id(1), 0..u64::MAX).await.unwrap(), body_of(1));
    }
}
