//! When attempts are made, and by whom.

use std::sync::Arc;
use std::time::Duration;

use relevo_queue::testing::FailingCall;
use relevo_queue::{OperatorAction, Queue, QueueKey, RecipientState, StoreError};
use relevo_smtp::client::{DialogueStep, RecipientOutcome};

use super::net::{Host, accepts, failed, reply};
use super::{DAY, World, seconds};

const FAILED: RecipientState = RecipientState::Failed { reported: true };

fn busy() -> Host {
    Host::Up(Arc::new(|_| {
        RecipientOutcome::Failed(failed(DialogueStep::Rcpt, reply(451, Some((4, 7, 1)), "greylisted")))
    }))
}

#[tokio::test(start_paused = true)]
async fn fresh_mail_is_attempted_at_once() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", accepts())]);
    seconds(100).await;
    let at = w.started.elapsed();
    w.to("u@a.test");
    seconds(1).await;
    let waited = w.net.transactions()[0].at - at;
    assert!(waited <= Duration::from_millis(10), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn temporary_failures_follow_the_schedule_and_then_succeed() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", busy())]);
    let id = w.to("u@a.test");
    seconds(2000).await;
    w.net.domain("a.test", &[("mx", accepts())]);
    seconds(1000).await;
    assert_eq!(w.states(id), [RecipientState::Delivered]);
    let at: Vec<u64> = w.net.transactions().iter().map(|t| t.at.as_secs()).collect();
    let gaps: Vec<u64> = at.windows(2).map(|w| w[1] - w[0]).collect();
    assert!((53..=67).contains(&gaps[0]) && (269..=331).contains(&gaps[1]), "{gaps:?}");
    assert!(gaps[2..].iter().all(|g| (809..=991).contains(g)), "the last repeats: {gaps:?}");
    assert_eq!(w.kinds(id).last().map(String::as_str), Some("email.delivered"));
}

/// 11,140 messages sat in ready queues for three days because expiry was only checked elsewhere.
#[tokio::test(start_paused = true)]
async fn mail_behind_a_blackholed_destination_expires_in_time_and_holds_up_nobody() {
    let w = World::new();
    w.net.domain("hole.test", &[("hole", Host::Blackhole(Duration::from_secs(30)))]);
    w.net.domain("a.test", &[("mx", accepts())]);
    let stuck: Vec<_> = (0..300)
        .map(|_| w.send("t", Duration::from_secs(3600), &[("hole.test", &["u@hole.test"])]))
        .collect();
    let good: Vec<_> = (0..300).map(|_| w.to("u@a.test")).collect();
    seconds(20).await;
    assert!(good.iter().all(|id| w.states(*id) == [RecipientState::Delivered]), "others are not held up");
    seconds(3600 + 30).await;
    for id in &stuck {
        let kinds = w.kinds(*id);
        assert!(kinds.ends_with(&["email.expired".to_owned(), "email.dsn_queued".to_owned()]), "{kinds:?}");
    }
    assert!(stuck.iter().all(|id| w.states(*id) == [FAILED]));
    let bounces = w.bounces();
    assert_eq!(bounces.len(), 300);
    assert!(bounces.iter().all(|b| b.contains("Status: 5.4.7")));
    // One probe at a time, seldom: not each of 300 for itself.
    assert!(w.net.opened("hole").len() < 20, "{}", w.net.opened("hole").len());
}

#[tokio::test(start_paused = true)]
async fn many_dead_destinations_leave_places_for_the_living() {
    let w = World::with(|d| d.max_connections = 8);
    for n in 0..40 {
        let domain = format!("hole{n}.test");
        w.net.domain(&domain, &[(&format!("hole{n}"), Host::Blackhole(Duration::from_secs(300)))]);
    }
    w.net.domain("a.test", &[("mx", accepts())]);
    w.to("first@a.test");
    seconds(1).await;
    for n in 0..40 {
        w.to(&format!("u@hole{n}.test"));
    }
    seconds(1).await;
    let good = w.to("u@a.test");
    seconds(1).await;
    assert_eq!(w.states(good), [RecipientState::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn held_mail_expires_too() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", busy())]);
    let id = w.send("t", Duration::from_secs(600), &[("a.test", &["u@a.test"])]);
    seconds(5).await;
    w.queue.act(id, OperatorAction::Hold, w.now(), Vec::new()).await.expect("holds");
    let why = w.handle.why(id).await.expect("reads").expect("is there");
    assert!(why[0].reason.starts_with("held by an operator"), "{}", why[0].reason);
    seconds(700).await;
    assert_eq!(w.kinds(id), ["email.delivery_delayed", "email.expired", "email.dsn_queued"]);
}

#[tokio::test(start_paused = true)]
async fn a_campaign_does_not_bury_another_tenant() {
    let w = World::with(|d| d.connections_per_site = 2);
    w.net.domain("a.test", &[("mx", Host::Slow(Duration::from_millis(100)))]);
    for n in 0..500 {
        w.send("campaign", DAY, &[("a.test", &[&format!("{n}@a.test")])]);
    }
    seconds(3).await;
    let at = w.started.elapsed();
    let small = w.send("small", DAY, &[("a.test", &["vip@a.test"])]);
    seconds(3).await;
    assert_eq!(w.states(small), [RecipientState::Delivered]);
    let seen = w.net.transactions().into_iter().find(|t| t.recipients == ["vip@a.test"]).expect("seen");
    assert!(seen.at - at <= Duration::from_millis(500), "{:?}", seen.at - at);
}

#[tokio::test(start_paused = true)]
async fn connections_are_limited_per_site_and_reused() {
    let w = World::with(|d| d.connections_per_site = 3);
    w.net.domain("a.test", &[("mx", Host::Slow(Duration::from_millis(20)))]);
    w.net.domain("b.test", &[("mx", Host::Slow(Duration::from_millis(20)))]);
    for n in 0..100 {
        w.to(&format!("{n}@{}.test", if n % 2 == 0 { "a" } else { "b" }));
    }
    seconds(10).await;
    assert_eq!(w.net.transactions().len(), 100);
    let most = w.net.log.lock().expect("lock").open_most["mx"];
    assert_eq!((most, w.net.opened("mx").len()), (3, 3), "two domains of one site share its connections");
}

#[tokio::test(start_paused = true)]
async fn an_idle_scheduler_does_not_poll() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", accepts())]);
    w.to("u@a.test");
    seconds(10).await;
    let before = w.queue.looks();
    seconds(3600).await;
    let looks = w.queue.looks() - before;
    assert!(looks <= 130, "{looks} looks in an hour");
}

/// An uncaught error anywhere ended the process.
#[tokio::test(start_paused = true)]
async fn a_panic_is_contained_and_its_delivery_becomes_due_again() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", accepts())]);
    let bad = w.send("panics", DAY, &[("a.test", &["u@a.test"])]);
    seconds(5).await;
    let good = w.to("u@a.test");
    seconds(5).await;
    assert_eq!(w.states(good), [RecipientState::Delivered]);
    assert_eq!(
        (w.states(bad), w.kinds(bad)),
        (vec![RecipientState::Pending], vec!["email.delivery_delayed".to_owned()])
    );
    assert_eq!(w.handle.stats().panics, 1);
    seconds(70).await;
    assert_eq!(w.handle.stats().panics, 2, "tried again by the schedule, not at once and not never");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_cannot_be_made_is_an_event_once() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", accepts())]);
    let id = w.send("broken", DAY, &[("a.test", &["u@a.test"])]);
    seconds(5).await;
    assert_eq!(w.kinds(id), ["email.delivery_delayed"]);
    seconds(3 * 3600).await;
    assert!(w.net.opened("mx").len() > 2, "it is tried again");
    assert_eq!((w.states(id), w.kinds(id).len()), (vec![RecipientState::Pending], 1));
    seconds(DAY.as_secs()).await;
    assert_eq!(w.kinds(id)[1], "email.expired");
}

/// A stale lock was reaped by destroying the mail.
#[tokio::test(start_paused = true)]
async fn leases_that_lapse_become_due_and_nothing_is_lost() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", accepts())]);
    // Somebody else leased it and went away.
    let id = w.send("t", DAY, &[("never.test", &["u@a.test"])]);
    w.net.domain("never.test", &[("mx", accepts())]);
    let now = w.now();
    let other =
        w.queue.lease(&[QueueKey::of_domain("never.test")], now, now + 60_000, 1).await.expect("leases");
    assert_eq!(other.len(), 1);
    drop(other);
    seconds(50).await;
    assert_eq!(w.states(id), [RecipientState::Pending]);
    seconds(20).await;
    assert_eq!(w.states(id), [RecipientState::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn outcomes_wait_for_a_store_that_fails() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", accepts())]);
    w.queue.fail(FailingCall::Settle, || StoreError::Io("broken".into()));
    let id = w.to("u@a.test");
    seconds(600).await;
    assert_eq!((w.states(id), w.handle.stats().in_flight), (vec![RecipientState::Pending], 1));
    w.queue.heal(FailingCall::Settle);
    seconds(10).await;
    assert_eq!(
        (w.states(id), w.net.transactions().len()),
        (vec![RecipientState::Delivered], 1),
        "delivered once"
    );
}

#[tokio::test(start_paused = true)]
async fn stopping_finishes_what_runs_and_hands_back_the_rest() {
    let w = World::with(|d| d.connections_per_site = 1);
    w.net.domain("slow.test", &[("slow", Host::Slow(Duration::from_secs(2)))]);
    w.net.domain("stuck.test", &[("stuck", Host::Slow(Duration::from_secs(1000)))]);
    let slow: Vec<_> = (0..10).map(|_| w.to("u@slow.test")).collect();
    let stuck = w.to("u@stuck.test");
    seconds(1).await;
    w.handle.stop(Duration::from_secs(10)).await;
    assert_eq!(w.handle.stats().in_flight, 0);
    let done = slow.iter().filter(|id| w.states(**id) == [RecipientState::Delivered]).count();
    assert_eq!(done, w.net.transactions().len());
    assert!((1..10).contains(&done), "{done}");
    assert_eq!(w.states(stuck), [RecipientState::Pending]);
    let now = w.now();
    let due = w
        .queue
        .lease(&["stuck.test", "slow.test"].map(QueueKey::of_domain), now, now + 1, 100)
        .await
        .expect("leases");
    assert_eq!(due.len(), 11 - done, "all of it is due for the next start");
}

#[tokio::test(start_paused = true)]
async fn a_refused_site_is_told_by_why_and_tried_again_by_an_operator() {
    let w = World::new();
    w.net.domain("a.test", &[("mx", Host::Refuses)]);
    let id = w.to("u@a.test");
    seconds(5).await;
    let why = w.handle.why(id).await.expect("reads").expect("is there");
    assert!(why[0].reason.contains("the next attempt is in"), "{}", why[0].reason);
    assert!(why[0].reason.contains("connection refused"), "{}", why[0].reason);
    w.net.domain("a.test", &[("mx", accepts())]);
    w.handle.reset_backoff([&QueueKey::of_domain("a.test")]);
    w.queue.act(id, OperatorAction::Retry, w.now(), Vec::new()).await.expect("retries");
    seconds(1).await;
    assert_eq!(w.states(id), [RecipientState::Delivered]);
}
