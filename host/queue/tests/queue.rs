//! The queue as its callers see it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::*;
use relevo_queue::disk::FaultyDisk;
use relevo_queue::*;

#[tokio::test]
async fn an_accepted_message_is_leased_delivered_and_gone() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.accept(vec![simple(1, "x.test")], vec![event("acme", "email.queued", T0)]).await.unwrap();
    assert_eq!(read(&store, id(1), 0..7).await.unwrap(), b"Subject");
    let lease = lease_one(&store, T0).await;
    assert_eq!(lease.meta.recipe, vec![7; 20]);
    assert!(lease_all(&store, T0).await.is_empty());
    let done = settle(&lease, RecipientState::Delivered);
    settle_all(&store, vec![done], vec![], vec![event("acme", "email.delivered", T0)]).await.unwrap();
    assert!(store.item(id(1)).await.unwrap().is_none());
    assert!(store.body(id(1)).await.unwrap().is_none());
    assert_eq!(store.stats().items, 0);
    assert_eq!(store.stats().deliveries, 0);
    let events = store.events(Some("acme"), 0, 10).await.unwrap();
    assert_eq!(marks(events), ["email.queued", "email.delivered"]);
}

#[tokio::test]
async fn a_large_body_goes_through_a_file() {
    let store = EmbeddedStore::open_temp().unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let mut spool = store.spool().await.unwrap();
    for chunk in bytes.chunks(7777) {
        spool.write(chunk).await.unwrap();
    }
    let body = spool.finish().await.unwrap();
    assert_eq!(body.source.size(), 300_000);
    let new = NewItem { id: id(1), meta: meta("acme"), body, deliveries: vec![delivery("x.test", [0], T0)] };
    store.accept(vec![new], vec![]).await.unwrap();
    assert_eq!(read(&store, id(1), 0..u64::MAX).await.unwrap(), bytes);
    assert_eq!(std::fs::read_dir(store.path().join("spool")).unwrap().count(), 0);
    let lease = lease_one(&store, T0).await;
    settle_all(&store, vec![settle(&lease, RecipientState::Delivered)], vec![], vec![]).await.unwrap();
    store.close().await;
    assert_eq!(std::fs::read_dir(store.path().join("bodies")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_lease_that_nobody_has_lapses_and_its_token_is_refused() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.accept(vec![simple(1, "x.test"), simple(2, "x.test")], vec![]).await.unwrap();
    let mut old = lease_all(&store, T0).await;
    assert_eq!(store.next_due(T0).await, Some(T0 + HOUR));
    old[0].hold = LeaseHold::default();
    // The other one is still being attempted, term after term.
    let again = lease_one(&store, T0 + HOUR).await;
    assert_eq!(again.delivery.id, old[0].delivery.id);
    assert!(lease_all(&store, T0 + 2 * HOUR).await.is_empty());
    // One stale lease refuses its whole call, and nothing of it takes effect.
    let both = old.iter().map(|l| settle(l, RecipientState::Delivered)).collect();
    let refused =
        settle_all(&store, both, vec![simple(9, "y.test")], vec![event("acme", "email.delivered", T0)]).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost(d)) if d == old[0].delivery.id));
    assert_eq!(store.stats().items, 2);
    assert!(store.events(None, 0, 10).await.unwrap().is_empty());
    settle_all(&store, vec![settle(&old[1], RecipientState::Delivered)], vec![], vec![]).await.unwrap();
    settle_all(&store, vec![settle(&again, RecipientState::Delivered)], vec![], vec![]).await.unwrap();
    let twice = settle_all(&store, vec![settle(&again, RecipientState::Delivered)], vec![], vec![]).await;
    assert!(matches!(twice, Err(StoreError::LeaseLost(_))));
    let stats = store.stats();
    assert_eq!((stats.items, stats.deliveries, stats.due, stats.leased, stats.committed), (0, 0, 0, 0, 5));
}

/// Of 8 workers none attempts what another holds, and everything is attempted (one recipient once
/// got 17 copies).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_workers_deliver_once() {
    let store = EmbeddedStore::open_temp().unwrap();
    let items = (0..400).map(|n| simple(n, if n % 2 == 0 { "x.test" } else { "y.test" })).collect();
    store.accept(items, vec![]).await.unwrap();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let keys = ["x.test", "y.test"].map(QueueKey::of_domain);
                let leases = store.lease(&keys, T0, T0 + HOUR, 7).await.unwrap();
                if leases.is_empty() {
                    return done;
                }
                done.extend(leases.iter().map(|l| l.delivery.id));
                let settled = leases.iter().map(|l| settle(l, RecipientState::Delivered)).collect();
                settle_all(&store, settled, vec![], vec![]).await.unwrap();
            }
        });
    }
    let mut all: Vec<DeliveryId> = workers.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    let before = all.len();
    all.dedup();
    assert_eq!((before, all.len()), (400, 400));
    assert_eq!(store.stats().items, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_accepts_share_commits() {
    let store = EmbeddedStore::open_temp().unwrap();
    let mut sessions = tokio::task::JoinSet::new();
    for s in 0..20_u64 {
        let store = store.clone();
        sessions.spawn(async move {
            for n in 0..10 {
                store.accept(vec![simple(s * 100 + n, "x.test")], vec![]).await.unwrap();
            }
        });
    }
    sessions.join_all().await;
    let stats = store.stats();
    assert_eq!((stats.items, stats.committed), (200, 200));
    assert!(stats.commits < 150, "{} commits for 200 accepts", stats.commits);
}

/// A campaign of one tenant does not bury another's single message.
#[tokio::test]
async fn tenants_take_turns() {
    let store = EmbeddedStore::open_temp().unwrap();
    let mut items: Vec<NewItem> =
        (0..50).map(|n| item(n, "bulk", body_of(n), vec![delivery("x.test", [0], T0)])).collect();
    items.push(item(90, "small", body_of(90), vec![delivery("x.test", [0], T0 + 5)]));
    items.push(item(91, "other", body_of(91), vec![delivery("y.test", [0], T0 + 5)]));
    store.accept(items, vec![]).await.unwrap();
    let keys = ["x.test", "y.test"].map(QueueKey::of_domain);
    let mut owners = Vec::new();
    for _ in 0..3 {
        let leases = store.lease(&keys, T0 + 5, T0 + HOUR, 1).await.unwrap();
        owners.push(leases[0].meta.tenant.clone());
    }
    owners.sort();
    assert_eq!(owners, ["bulk", "other", "small"]);
    let due = store.due(T0 + 5, &|_| false, 10).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].ready, due[0].tenants.as_slice()), (49, &["bulk".to_owned()][..]));
}

/// One that is urgent overtakes what its tenant has for the same hosts, of whichever key; nothing
/// starves; others' turns stay theirs.
#[tokio::test]
async fn a_priority_counts_as_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), config()).unwrap();
    let key = |pool: &str| {
        let (domain, pool) = ("x.test".to_owned(), pool.to_owned());
        QueueKey::from(QueueKeyParts { domain, pool, ..QueueKeyParts::default() })
    };
    let at = |n, tenant: &str, pool: &str, priority, due| {
        let new = NewDelivery { key: key(pool), priority, ..delivery("x.test", [0], due) };
        item(n, tenant, body_of(n), vec![new])
    };
    let items = vec![
        at(1, "acme", "", 0, T0),
        at(2, "acme", "", -1, T0 - PRIORITY_STEP + 1),
        at(3, "acme", "", 2, T0 + PRIORITY_STEP),
        at(4, "acme", "own", 1, T0 - 2),
        at(5, "acme", "", -9, T0 - 10 * PRIORITY_STEP + 1),
        at(6, "other", "", 0, T0 + PRIORITY_STEP),
    ];
    store.accept(items, vec![]).await.unwrap();
    store.close().await;
    let store = EmbeddedStore::open(dir.path(), config()).unwrap();
    let now = T0 + PRIORITY_STEP;
    let due = store.due(now, &|_| false, 9).await.unwrap();
    let keys = ["", "own"].map(key);
    let found: Vec<_> = due.iter().map(|d| (d.key.clone(), d.ready)).collect();
    assert_eq!(found, [(keys[0].clone(), 5), (keys[1].clone(), 1)]);
    let mut leased = Vec::new();
    while let Some(lease) = store.lease(&keys, now, now + HOUR, 1).await.unwrap().pop() {
        leased.push((lease.meta.tenant.clone(), lease.delivery.id.item));
    }
    assert!(leased[..2].iter().any(|(tenant, _)| tenant == "other"), "{leased:?}");
    let own: Vec<_> = leased.into_iter().filter(|(t, _)| t == "acme").map(|(_, item)| item).collect();
    assert_eq!(own, [4, 3, 5, 1, 2].map(id));
}

#[tokio::test]
async fn due_domains_come_oldest_first_and_skip_is_heard() {
    let store = EmbeddedStore::open_temp().unwrap();
    let at = |n, domain: &str, due| item(n, "acme", body_of(n), vec![delivery(domain, [0], due)]);
    let items = vec![
        at(1, "c.test", T0 + 3),
        at(2, "a.test", T0 + 1),
        at(3, "b.test", T0 + 2),
        at(4, "z.test", T0 + 9),
    ];
    store.accept(items, vec![]).await.unwrap();
    let names = |due: Vec<DueQueue>| due.into_iter().map(|d| d.key.domain.clone()).collect::<Vec<_>>();
    assert_eq!(names(store.due(T0 + 5, &|_| false, 10).await.unwrap()), ["a.test", "b.test", "c.test"]);
    assert_eq!(names(store.due(T0 + 5, &|key| key.domain == "a.test", 1).await.unwrap()), ["b.test"]);
    assert_eq!(store.next_due(T0 + 5).await, Some(T0 + 9));
    assert_eq!(store.stats().oldest_due, Some(T0 + 1));
}

/// Nothing sleeps past its item's expiry: neither held mail nor a retry that was set later.
#[tokio::test]
async fn held_and_far_retries_wake_at_expiry() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.accept(vec![simple(1, "x.test"), simple(2, "y.test")], vec![]).await.unwrap();
    assert_eq!(store.act(id(1), OperatorAction::Hold, T0, vec![]).await.unwrap(), Acted::Done);
    let lease = lease_one(&store, T0).await;
    settle_all(&store, vec![later(&lease, T0 + 1000 * HOUR)], vec![], vec![]).await.unwrap();
    assert_eq!(store.stats().held, 1);
    let expiry = T0 + 120 * HOUR;
    assert!(lease_all(&store, expiry - 1).await.is_empty());
    assert_eq!(store.next_due(expiry - 1).await, Some(expiry));
    assert_eq!(lease_all(&store, expiry).await.len(), 2);
}

#[tokio::test]
async fn operators_hold_release_retry_and_drop() {
    let store = EmbeddedStore::open_temp().unwrap();
    assert_eq!(store.act(id(1), OperatorAction::Drop, T0, vec![]).await.unwrap(), Acted::NotFound);
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    let lease = lease_one(&store, T0).await;
    assert_eq!(store.act(id(1), OperatorAction::Hold, T0, vec![]).await.unwrap(), Acted::Done);
    settle_all(&store, vec![later(&lease, T0 + 1)], vec![], vec![]).await.unwrap();
    assert!(lease_all(&store, T0 + HOUR).await.is_empty(), "held when the attempt was settled");
    assert_eq!(store.act(id(1), OperatorAction::Release, T0 + HOUR, vec![]).await.unwrap(), Acted::Done);
    let lease = lease_one(&store, T0 + HOUR).await;
    settle_all(&store, vec![later(&lease, T0 + 9 * HOUR)], vec![], vec![]).await.unwrap();
    assert_eq!(store.act(id(1), OperatorAction::Retry, T0 + 2 * HOUR, vec![]).await.unwrap(), Acted::Done);
    let lease = lease_one(&store, T0 + 2 * HOUR).await;
    let dropped =
        store.act(id(1), OperatorAction::Drop, T0 + 2 * HOUR, vec![event("acme", "email.failed", T0)]).await;
    assert_eq!(dropped.unwrap(), Acted::BeingAttempted);
    settle_all(&store, vec![later(&lease, T0 + 9 * HOUR)], vec![], vec![]).await.unwrap();
    assert_eq!(store.act(id(1), OperatorAction::Drop, T0 + 2 * HOUR, vec![]).await.unwrap(), Acted::Done);
    assert!(store.item(id(1)).await.unwrap().is_none());
    assert_eq!(store.events(None, 0, 9).await.unwrap().len(), 1);
}

/// What is being attempted stays; the rest of the message goes.
#[tokio::test]
async fn a_drop_spares_only_what_is_being_attempted() {
    let store = EmbeddedStore::open_temp().unwrap();
    let new = vec![delivery("x.test", [0], T0), delivery("y.test", [1], T0)];
    store.accept(vec![item(1, "acme", body_of(1), new)], vec![]).await.unwrap();
    let lease = store.lease(&[QueueKey::of_domain("x.test")], T0, T0 + HOUR, 1).await.unwrap().remove(0);
    assert_eq!(store.act(id(1), OperatorAction::Drop, T0, vec![]).await.unwrap(), Acted::BeingAttempted);
    assert!(lease_all(&store, T0).await.is_empty());
    settle_all(&store, vec![settle(&lease, RecipientState::Delivered)], vec![], vec![]).await.unwrap();
    assert!(store.item(id(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn one_report_per_round_with_what_was_learnt_of_each() {
    let store = EmbeddedStore::open_temp().unwrap();
    let new = vec![delivery("x.test", [0, 1], T0), delivery("y.test", [2], T0)];
    store.accept(vec![item(1, "acme", body_of(1), new)], vec![]).await.unwrap();
    let leases = lease_all(&store, T0).await;
    let (x, y) = if leases[0].delivery.key.domain == "x.test" {
        (&leases[0], &leases[1])
    } else {
        (&leases[1], &leases[0])
    };
    let failed = RecipientState::Failed { reported: false };
    let first = Settlement {
        lease: Arc::new(x.clone()),
        recipients: vec![(0, failed.clone())],
        next_attempt: Some(T0 + HOUR),
        last: Some(attempt("550 no such user")),
        reasons: vec![],
        events: vec![],
    };
    settle_all(&store, vec![first], vec![], vec![]).await.unwrap();
    assert!(store.unreported(T0 + 1, 10).await.unwrap().is_empty(), "y.test is still being attempted");
    settle_all(&store, vec![later(y, T0 + HOUR)], vec![], vec![]).await.unwrap();
    let rounds = store.unreported(T0 + 1, 10).await.unwrap();
    assert_eq!(rounds.len(), 1);
    let (of, _, failures) = &rounds[0];
    assert_eq!((failures.len(), failures[0].last.text.as_str()), (1, "550 no such user"));
    assert!(store.unreported(T0 + HOUR, 10).await.unwrap().is_empty(), "the next round began");
    let named: Vec<ReportKey> = failures.iter().map(Unreported::key).collect();
    let bounce = item(7, "", body_of(7), vec![delivery("example.com", [0], T0)]);
    store.report(*of, named.clone(), Some(bounce), vec![]).await.unwrap();
    assert!(store.item(id(7)).await.unwrap().is_some());
    let again = store.report(*of, named, Some(simple(8, "example.com")), vec![]).await;
    assert!(matches!(again, Err(StoreError::LeaseLost(_))), "never two bounces for one failure");
    assert!(store.item(id(8)).await.unwrap().is_none());
    for lease in lease_all(&store, T0 + HOUR).await {
        settle_all(&store, vec![settle(&lease, RecipientState::Delivered)], vec![], vec![]).await.unwrap();
    }
    assert_eq!(store.stats().items, 0);
}

#[tokio::test]
async fn an_item_with_only_unreported_failures_stays_until_reported() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    let lease = lease_one(&store, T0).await;
    settle_all(&store, vec![settle(&lease, RecipientState::Failed { reported: false })], vec![], vec![])
        .await
        .unwrap();
    assert_eq!((store.stats().items, store.stats().deliveries), (1, 0));
    let told = ReportKey { delivery: lease.delivery.id, index: 0, kind: ReportKind::Failed };
    for other in [ReportKind::Relayed, ReportKind::Delayed] {
        let untrue = store.report(id(1), vec![ReportKey { kind: other, ..told }], None, vec![]).await;
        assert!(matches!(untrue, Err(StoreError::LeaseLost(_))), "{other:?}");
    }
    store.report(id(1), vec![told], None, vec![]).await.unwrap();
    assert_eq!(store.stats().items, 0);
}

/// The message stays as long as the sender is not told that it went on.
#[tokio::test]
async fn what_was_relayed_is_reported_once_with_the_reply() {
    let disk = FaultyDisk::new();
    let open = || EmbeddedStore::open_on(Arc::new(disk.clone()), "/q", config()).unwrap();
    let store = open();
    store
        .accept(vec![item(1, "acme", body_of(1), vec![delivery("x.test", [0, 1], T0)])], vec![])
        .await
        .unwrap();
    let lease = lease_one(&store, T0).await;
    let relayed = Settlement {
        recipients: vec![(0, RecipientState::Relayed)],
        reasons: vec![(0, attempt("250 taken"))],
        ..later(&lease, T0 + HOUR)
    };
    settle_all(&store, vec![relayed], vec![], vec![]).await.unwrap();
    // A later attempt for the other one changes nothing about it.
    let lease = lease_one(&store, T0 + HOUR).await;
    let delivered = Settlement {
        recipients: vec![(1, RecipientState::Delivered)],
        ..settle(&lease, RecipientState::Delivered)
    };
    settle_all(&store, vec![delivered], vec![], vec![]).await.unwrap();
    store.close().await;
    let store = open();
    assert_eq!((store.stats().items, store.stats().deliveries), (1, 0));
    let rounds = store.unreported(T0 + HOUR, 10).await.unwrap();
    let told: Vec<_> =
        rounds[0].2.iter().map(|u| (u.recipient.index, u.kind, u.last.text.as_str())).collect();
    assert_eq!(told, [(0, ReportKind::Relayed, "250 taken")]);
    let keys: Vec<ReportKey> = rounds[0].2.iter().map(Unreported::key).collect();
    store.report(id(1), keys.clone(), Some(simple(7, "example.com")), vec![]).await.unwrap();
    assert!(store.item(id(1)).await.unwrap().is_none() && store.item(id(7)).await.unwrap().is_some());
    assert!(store.report(id(1), keys, Some(simple(8, "example.com")), vec![]).await.is_err());
    assert!(store.item(id(8)).await.unwrap().is_none());
}

/// Also across a restart; what was delivered, or is being attempted, is not reported as delayed.
#[tokio::test]
async fn a_delay_is_reported_once() {
    let disk = FaultyDisk::new();
    let open = || EmbeddedStore::open_on(Arc::new(disk.clone()), "/q", config()).unwrap();
    let store = open();
    let mut new = delivery("x.test", [0, 1, 2], T0);
    for (recipient, at) in new.recipients.iter_mut().zip([Some(T0 + HOUR), Some(T0 + HOUR), None]) {
        recipient.delay_report_at = at;
    }
    store.accept(vec![item(1, "acme", body_of(1), vec![new])], vec![]).await.unwrap();
    let lease = lease_one(&store, T0).await;
    let first =
        Settlement { recipients: vec![(1, RecipientState::Delivered)], ..later(&lease, T0 + 3 * HOUR) };
    settle_all(&store, vec![first], vec![], vec![]).await.unwrap();
    assert!(store.unreported(T0 + HOUR - 1, 10).await.unwrap().is_empty());
    store.close().await;
    let store = open();
    let rounds = store.unreported(T0 + HOUR, 10).await.unwrap();
    let told: Vec<_> =
        rounds[0].2.iter().map(|u| (u.recipient.index, u.kind, u.last.text.as_str())).collect();
    assert_eq!(told, [(0, ReportKind::Delayed, "try later")]);
    let keys: Vec<ReportKey> = rounds[0].2.iter().map(Unreported::key).collect();
    let lease = lease_one(&store, T0 + 3 * HOUR).await;
    assert!(store.unreported(T0 + 3 * HOUR, 10).await.unwrap().is_empty(), "it may be delivered now");
    settle_all(&store, vec![later(&lease, T0 + 5 * HOUR)], vec![], vec![]).await.unwrap();
    store.report(id(1), keys.clone(), Some(simple(7, "example.com")), vec![]).await.unwrap();
    assert!(matches!(store.report(id(1), keys, None, vec![]).await, Err(StoreError::LeaseLost(_))));
    assert!(store.unreported(T0 + 4 * HOUR, 10).await.unwrap().is_empty());
    store.close().await;
    let store = open();
    assert!(store.unreported(T0 + 4 * HOUR, 10).await.unwrap().is_empty());
    assert_eq!(store.stats().deliveries, 2, "it still waits, beside the report");
}

#[tokio::test]
async fn a_writer_announces_what_may_be_due() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(5), store.changed())
        .await
        .expect("announced before the call");
}

#[tokio::test]
async fn an_item_is_refused_twice_and_without_recipients() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.accept(vec![simple(1, "x.test")], vec![]).await.unwrap();
    assert!(store.accept(vec![simple(1, "y.test")], vec![]).await.is_err());
    assert!(store.accept(vec![simple(2, "y.test"), simple(2, "y.test")], vec![]).await.is_err());
    assert!(store.accept(vec![item(3, "acme", vec![], vec![])], vec![]).await.is_err());
    assert_eq!(store.stats().items, 1);
    assert_eq!(store.list(None, 10).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn listing_goes_page_by_page() {
    let store = EmbeddedStore::open_temp().unwrap();
    store.accept((0..10).map(|n| simple(n, "x.test")).collect(), vec![]).await.unwrap();
    let first = store.list(None, 4).await.unwrap().items;
    let second = store.list(Some(first[3].id), 100).await.unwrap().items;
    let ids: Vec<ItemId> = first.iter().chain(&second).map(|v| v.id).collect();
    assert_eq!(ids, (0..10).map(id).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_large_recipe_lies_beside_the_body() {
    let store = EmbeddedStore::open_temp().unwrap();
    let mut large = simple(1, "x.test");
    large.meta.recipe = (0..50_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    let recipe = large.meta.recipe.clone();
    store.accept(vec![large], vec![]).await.unwrap();
    assert_eq!(lease_one(&store, T0).await.meta.recipe, recipe);
}

#[tokio::test]
async fn space_of_delivered_mail_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let small = StoreConfig { segment_size: 20_000, compact_after: std::time::Duration::ZERO, ..config() };
    let store = EmbeddedStore::open(dir.path(), small).unwrap();
    let big = |n: u64| item(n, "acme", vec![b'a'; 4000], vec![delivery("x.test", [0], T0)]);
    let straggler = item(1000, "acme", vec![b's'; 4000], vec![delivery("slow.test", [0], T0)]);
    store.accept(vec![straggler], vec![]).await.unwrap();
    for n in 0..100 {
        store.accept(vec![big(n)], vec![]).await.unwrap();
    }
    let segments = || std::fs::read_dir(dir.path().join("segments")).unwrap().count();
    assert!(segments() > 15);
    let leases = store.lease(&[QueueKey::of_domain("x.test")], T0, T0 + HOUR, 1000).await.unwrap();
    let settled = leases.iter().map(|l| settle(l, RecipientState::Delivered)).collect();
    settle_all(&store, settled, vec![], vec![]).await.unwrap();
    store.append(vec![event("", "x", T0)]).await.unwrap();
    store.append(vec![event("", "x", T0)]).await.unwrap();
    assert!(segments() <= 2, "{} segments for one message", segments());
    assert_eq!(read(&store, id(1000), 0..u64::MAX).await.unwrap(), vec![b's'; 4000]);
    store.close().await;
    let store = EmbeddedStore::open(dir.path(), config()).unwrap();
    assert_eq!(read(&store, id(1000), 0..u64::MAX).await.unwrap(), vec![b's'; 4000]);
}
