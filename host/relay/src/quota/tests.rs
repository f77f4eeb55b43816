//! Quotas over a real store, with a clock that is set by hand.

use std::sync::atomic::{AtomicI64, Ordering};

use relevo_store::{ControlStore, StoreUrl};

use super::*;
use crate::testing::SetClock;

/// Tue, 30 Jun 2026 23:30:00 UTC.
const LATE: Millis = 1_782_862_200_000;

struct Scene {
    _folder: tempfile::TempDir,
    store: Arc<ControlStore>,
    clock: Arc<SetClock>,
    quotas: Quotas,
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a folder");
    let url = StoreUrl::File(folder.path().join("control.sqlite"));
    let store = Arc::new(ControlStore::open(&url).await.expect("opens"));
    let clock = Arc::new(SetClock(AtomicI64::new(LATE)));
    let quotas = Quotas::new(store.clone(), clock.clone());
    Scene { _folder: folder, store, clock, quotas }
}

fn limits(hour: u64, day: u64, month: u64) -> QuotaSettings {
    QuotaSettings { hour: Some(hour), day: Some(day), month: Some(month) }
}

fn used(quotas: &Quotas) -> [u64; 3] {
    quotas.uses("acme", &QuotaSettings::default()).map(|period| period.used)
}

#[tokio::test]
async fn recipients_are_counted_whole_or_not_at_all() {
    let scene = scene().await;
    let take =
        |recipients| scene.quotas.take("acme", &limits(10, 15, 100), recipients).map(QuotaReservation::keep);
    assert_eq!(take(8), Ok(()));
    let refused = take(3).expect_err("two are left");
    assert_eq!((refused.period, refused.limit, refused.remaining), (Period::Hour, 10, 2));
    assert_eq!((refused.free_at, refused.retry_after), (LATE + HOUR / 2, Duration::from_secs(1_800)));
    assert!(refused.to_string().contains("2 are left until 2026-07-01T00:00:00"), "{refused}");
    assert_eq!(take(2), Ok(()));
    assert_eq!(used(&scene.quotas), [10, 10, 10]);
    let all = take(101).expect_err("more than any has left");
    assert_eq!(all.period, Period::Month, "the one that ends last");
    assert!(scene.quotas.take("other", &limits(10, 15, 100), 10).map(QuotaReservation::keep).is_ok());

    // The next hour is in another day and another month.
    scene.clock.0.store(LATE + HOUR / 2, Ordering::SeqCst);
    assert_eq!(used(&scene.quotas), [0, 0, 0]);
    assert_eq!(take(10), Ok(()));
    scene.clock.0.store(LATE + 2 * HOUR, Ordering::SeqCst);
    assert_eq!(take(6).expect_err("of the day").period, Period::Day);
    assert_eq!(used(&scene.quotas), [0, 10, 10]);
    let [_, day, month] = scene.quotas.uses("acme", &QuotaSettings::default());
    assert_eq!(timestamp(day.ends_at), "2026-07-02T00:00:00.000Z");
    assert_eq!(timestamp(month.ends_at), "2026-08-01T00:00:00.000Z");
}

#[tokio::test]
async fn what_was_not_accepted_is_given_back() {
    let scene = scene().await;
    let limits = limits(10, 10, 10);
    drop(scene.quotas.take("acme", &limits, 10));
    let taken = scene.quotas.take("acme", &limits, 10).expect("nothing was used");
    assert!(scene.quotas.take("acme", &limits, 1).is_err());
    scene.clock.0.store(LATE + HOUR, Ordering::SeqCst);
    drop(taken);
    assert_eq!(used(&scene.quotas), [0, 0, 0], "its periods have ended");
    assert!(scene.quotas.take("acme", &QuotaSettings::default(), usize::MAX).is_ok(), "no quota");
}

#[tokio::test]
async fn use_survives_a_restart_and_adds_up_over_nodes() {
    let scene = scene().await;
    let here = &scene.quotas;
    let there = Quotas::new(scene.store.clone(), scene.clock.clone());
    let take = |quotas: &Quotas, recipients| {
        quotas.take("acme", &limits(100, 100, 100), recipients).map(QuotaReservation::keep)
    };
    assert_eq!((take(here, 30), take(&there, 60)), (Ok(()), Ok(())));
    here.write().await;
    there.write().await;
    assert_eq!((used(here), used(&there)), ([30; 3], [90; 3]));
    assert_eq!(take(here, 1), Ok(()));
    here.write().await;
    here.write().await;
    assert_eq!(used(here), [91; 3]);
    assert_eq!(take(here, 10).expect_err("nine are left").remaining, 9);

    let again = Quotas::new(scene.store.clone(), scene.clock.clone());
    assert_eq!(used(&again), [0; 3]);
    again.load().await.expect("reads");
    assert_eq!(used(&again), [91; 3]);
    // The row of the hour before stays in the store, and counts no longer.
    scene.clock.0.store(LATE + HOUR, Ordering::SeqCst);
    again.load().await.expect("reads");
    assert_eq!(used(&again), [0; 3]);
}

#[tokio::test]
async fn a_store_that_fails_loses_no_count() {
    let scene = scene().await;
    scene.quotas.take("acme", &limits(10, 10, 10), 7).expect("room").keep();
    scene.store.close().await;
    scene.quotas.write().await;
    assert_eq!(used(&scene.quotas), [7; 3]);
}

/// A node of a cluster, which takes recipients as the pipeline does.
async fn take_shared(
    quotas: &Quotas,
    limits: &QuotaSettings,
    recipients: usize,
) -> Result<(), QuotaExceeded> {
    quotas.prepare("acme", limits, recipients).await;
    quotas.take("acme", limits, recipients).map(QuotaReservation::keep)
}

#[tokio::test]
async fn nodes_never_exceed_a_shared_quota_together_and_use_it_up() {
    let scene = scene().await;
    let nodes = [(); 3].map(|()| Quotas::new(scene.store.clone(), scene.clock.clone()).shared());
    let limits = QuotaSettings { hour: Some(500), day: None, month: Some(10_000) };
    let mut accepted = 0;
    for round in 0..400 {
        let recipients = round % 7 + 1;
        // Nothing is written in between: what is promised does not depend on it.
        accepted +=
            usize::from(take_shared(&nodes[round % 3], &limits, recipients).await.is_ok()) * recipients;
        assert!(accepted <= 500, "{accepted}");
    }
    assert!(accepted > 440, "{accepted}: a slice is small when little is left");
    // What the others have not used comes back.
    scene.clock.0.fetch_add(shared::IDLE, Ordering::SeqCst);
    for node in &nodes {
        node.write().await;
    }
    while take_shared(&nodes[0], &limits, 1).await.is_ok() {
        accepted += 1;
    }
    assert_eq!(accepted, 500);
    let refused = take_shared(&nodes[0], &limits, 1).await.expect_err("it is used up");
    assert_eq!((refused.period, refused.remaining, refused.free_at), (Period::Hour, 0, LATE + HOUR / 2));
    // A period without a quota is counted as ever.
    for node in &nodes {
        node.end_all_slices();
        node.write().await;
    }
    let stored = scene.store.quota_uses(0).await.expect("reads");
    assert_eq!(stored.iter().map(|quota| quota.used).collect::<Vec<_>>(), [500, 500, 500]);
}

#[tokio::test]
async fn what_a_node_had_when_it_died_is_not_used_again() {
    let scene = scene().await;
    let limits = limits(100, 100, 100);
    let died = Quotas::new(scene.store.clone(), scene.clock.clone()).shared();
    assert_eq!(take_shared(&died, &limits, 1).await, Ok(()));
    drop(died);
    let node = Quotas::new(scene.store.clone(), scene.clock.clone()).shared();
    let mut accepted = 1;
    while take_shared(&node, &limits, 1).await.is_ok() {
        accepted += 1;
    }
    assert_eq!(accepted, 94, "its slice of six is lost");
}

#[tokio::test]
async fn a_refused_message_gives_its_slice_back_and_a_store_that_fails_refuses() {
    let scene = scene().await;
    let node = Quotas::new(scene.store.clone(), scene.clock.clone()).shared();
    let limits = limits(20, 20, 20);
    for _ in 0..5 {
        node.prepare("acme", &limits, 20).await;
        drop(node.take("acme", &limits, 20).expect("nothing was used"));
    }
    assert_eq!(used(&node), [0; 3]);
    assert_eq!(take_shared(&node, &limits, 15).await, Ok(()));
    let too_many = take_shared(&node, &limits, 21).await.expect_err("more than there is");
    assert_eq!((too_many.remaining, too_many.period), (5, Period::Month));
    scene.clock.0.fetch_add(shared::IDLE, Ordering::SeqCst);
    node.write().await;
    scene.store.close().await;
    let refused = take_shared(&node, &limits, 1).await.expect_err("nobody knows what is left");
    assert_eq!(refused.retry_after, Duration::from_secs(10));
}
