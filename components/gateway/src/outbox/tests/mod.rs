//! The outbox against a model: instances that run at the same time, end anywhere, and meet a core that
//! is up, away, or takes what it is sent without saying so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod model;
mod world;

use std::rc::Rc;

use serde_json::json;

use self::world::{
    ENTRIES, HOUR, Mode, Outside, Task, World, flush, identity, outbox, poll, request, run, send,
};
use super::entry::Kind;
use super::status::OutboxStatus;
use super::{CoreReply, Kept, Outbox, OutboxSettings, Sent};
use crate::emails::Surroundings;

fn stored(world: &Rc<World>, key: Option<&str>, digest: u8) -> Sent {
    run(send(Rc::clone(world), identity(key, digest, world)))
}

#[test]
fn the_same_key_has_the_same_answer_while_the_core_is_away() {
    let world = World::new();
    world.mode.set(Mode::NotReached);
    let first = stored(&world, Some("k"), 0);
    let Sent::Stored(answer) = &first else { panic!("{first:?}") };
    assert!(answer.id.starts_with("edge-") && answer.data[0].id == answer.id);
    assert_eq!(stored(&world, Some("k"), 0), first);
    assert_eq!(stored(&world, Some("k"), 1), Sent::KeyOfAnother);
    assert_eq!(world.count(Kind::Waiting), 1);
    // The core is back: what waits is still first.
    world.mode.set(Mode::Up);
    assert_eq!(stored(&world, Some("k"), 1), Sent::KeyOfAnother);
    assert_eq!(run(flush(Rc::clone(&world), 0)).forwarded, 1);
    let again = stored(&world, Some("k"), 0);
    assert!(matches!(again, Sent::Core(CoreReply::Answered { status: 202, .. })), "{again:?}");
    assert_eq!(world.taken.borrow().len(), 1);
}

#[test]
fn only_a_core_that_is_away_is_waited_for() {
    for (mode, is_stored) in [
        (Mode::NotReached, true),
        (Mode::Unavailable, true),
        (Mode::BadGateway, true),
        (Mode::Lost, true),
        (Mode::Refuses, false),
        (Mode::Fails, false),
        (Mode::WrongToken, false),
    ] {
        let world = World::new();
        world.mode.set(mode);
        let sent = stored(&world, None, 0);
        assert_eq!(matches!(sent, Sent::Stored(_)), is_stored, "{mode:?}: {sent:?}");
    }
}

#[test]
fn trials_do_not_wait() {
    let world = World::new();
    world.mode.set(Mode::NotReached);
    let mut trial = request("A: b");
    trial.emails[0].dry_run = true;
    let identity = identity(None, 0, &world);
    let (outbox, core) = (outbox(&world), Outside(Rc::clone(&world)));
    let copy = Rc::clone(&world);
    let sent = run(async move { outbox.send(&core, &*copy, &identity, trial, true).await });
    assert_eq!((sent, world.count(Kind::Waiting)), (Ok(Sent::Core(CoreReply::NotReached)), 0));
}

#[test]
fn the_store_has_bounds() {
    let world = World::new();
    world.mode.set(Mode::NotReached);
    let sent: Vec<_> = (0..8).map(|_| matches!(stored(&world, None, 0), Sent::Stored(_))).collect();
    assert_eq!(sent, [[true; ENTRIES].as_slice(), &[false; 2]].concat());
    let keep = |settings: OutboxSettings, octets: usize| {
        let world = World::new();
        let identity = identity(None, 0, &world);
        let outbox = Outbox::new(Outside(Rc::clone(&world)), settings);
        run(async move { outbox.keep(&identity, vec![b' '; octets], None, 1).await.unwrap() })
    };
    let small = OutboxSettings { octets: 1000, ..OutboxSettings::default() };
    assert_eq!((keep(small.clone(), 1000), keep(small, 500)), (Kept::Full, Kept::Stored));
    assert_eq!(keep(OutboxSettings::default(), 980_000), Kept::TooLarge);
    assert_eq!(keep(OutboxSettings::default(), 970_000), Kept::Stored);
}

#[test]
fn the_end_of_a_request_can_be_looked_at() {
    let world = World::new();
    let find = |id: &str| {
        let (outbox, id) = (outbox(&world), id.to_owned());
        let found = run(async move { outbox.find(&id).await.unwrap() });
        found.map(|found| serde_json::to_value(found).unwrap())
    };
    world.mode.set(Mode::NotReached);
    let id = |sent: Sent| match sent {
        Sent::Stored(answer) => answer.id,
        other => panic!("{other:?}"),
    };
    let first = id(stored(&world, None, 0));
    assert_eq!(find(&first).unwrap()["status"], "waiting");
    assert_eq!(find("edge-0"), None);
    world.mode.set(Mode::Up);
    run(flush(Rc::clone(&world), 0));
    let forwarded = find(&format!("{first}-0")).unwrap();
    assert_eq!((&forwarded["status"], &forwarded["accepted"]["id"]), (&json!("forwarded"), &json!("A")));

    world.mode.set(Mode::Unavailable);
    let second = id(stored(&world, None, 1));
    world.mode.set(Mode::Refuses);
    assert_eq!(run(flush(Rc::clone(&world), 0)).dead, 1);
    let dead = find(&second).unwrap();
    assert_eq!(
        (&dead["status"], &dead["reason"], &dead["core_answer"]),
        (&json!("dead"), &json!("refused"), &json!("{}"))
    );
    let (outbox, status) = (outbox(&world), |status: OutboxStatus| (status.waiting, status.dead_ids));
    assert_eq!(status(run(async move { outbox.status().await.unwrap() })), (0, vec![second]));
}

#[test]
fn time_ends_the_wait() {
    // Certainly not taken: three days. Perhaps taken, or with a key of the caller: while the core knows
    // the key.
    for (mode, key, hours, reason) in [
        (Mode::NotReached, None, 72, "too_old"),
        (Mode::BadGateway, None, 23, "unknown"),
        (Mode::NotReached, Some("k"), 23, "unknown"),
    ] {
        let world = World::new();
        world.mode.set(mode);
        let Sent::Stored(answer) = stored(&world, key, 0) else { panic!("{mode:?}") };
        world.mode.set(Mode::NotReached);
        world.now.set(world.now() + hours * HOUR);
        let flushed = run(flush(Rc::clone(&world), 0));
        assert_eq!((flushed.waiting, flushed.away), (1, true), "{mode:?}");
        world.now.set(world.now() + 1);
        assert_eq!(run(flush(Rc::clone(&world), 0)).dead, 1, "{mode:?}");
        let outbox = outbox(&world);
        let found = run(async move { outbox.find(&answer.id).await.unwrap().unwrap() });
        assert_eq!(serde_json::to_value(found).unwrap()["reason"], reason, "{mode:?}");
    }
}

#[test]
fn what_the_core_may_have_is_not_told_to_be_unsent() {
    let world = World::new();
    world.mode.set(Mode::Lost);
    let Sent::Stored(answer) = stored(&world, None, 0) else { panic!("it waits") };
    assert_eq!(world.taken.borrow().len(), 1);
    world.mode.set(Mode::NotReached);
    world.now.set(world.now() + 2 * HOUR + 1);
    let settings = OutboxSettings { lifetime: 2 * HOUR, ..OutboxSettings::default() };
    let outbox = Outbox::new(Outside(Rc::clone(&world)), settings);
    let (core, copy) = (Outside(Rc::clone(&world)), Rc::clone(&world));
    let found = run(async move {
        assert_eq!(outbox.flush(&core, &*copy, 0, 10).await.unwrap().dead, 1);
        outbox.find(&answer.id).await.unwrap().unwrap()
    });
    assert_eq!(serde_json::to_value(found).unwrap()["reason"], "unknown");
}

#[test]
fn an_attempt_whose_instance_died_counts() {
    for (later, taken, dead) in [(23 * HOUR, 1, 0), (23 * HOUR + 1, 1, 1), (30 * HOUR, 1, 1)] {
        let world = World::new();
        world.mode.set(Mode::NotReached);
        stored(&world, None, 0);
        world.mode.set(Mode::Lost);
        let mut dies: Task = Box::pin({
            let work = flush(Rc::clone(&world), 0);
            async move {
                let _ = work.await;
            }
        });
        while world.taken.borrow().is_empty() {
            assert!(!poll(&mut dies));
        }
        drop(dies);
        assert_eq!((world.count(Kind::Waiting), world.count(Kind::Unknown)), (1, 0));
        world.mode.set(Mode::Up);
        world.now.set(world.now() + later);
        let flushed = run(flush(Rc::clone(&world), 0));
        let times = *world.taken.borrow().values().next().unwrap();
        assert_eq!((times, flushed.dead, flushed.waiting), (taken, dead, 0), "{later}");
    }
}

#[test]
fn what_cannot_be_read_is_put_aside() {
    let world = World::new();
    world.mode.set(Mode::NotReached);
    stored(&world, None, 0);
    world.stored.borrow_mut().values_mut().for_each(|value| value.truncate(9));
    world.mode.set(Mode::Up);
    let flushed = run(flush(Rc::clone(&world), 0));
    assert_eq!((flushed.dead, flushed.waiting, world.taken.borrow().len()), (1, 0, 0));
}

#[test]
fn a_request_that_the_core_fails_with_does_not_stop_the_others() {
    let world = World::new();
    world.mode.set(Mode::NotReached);
    stored(&world, None, 0);
    stored(&world, None, 1);
    world.mode.set(Mode::Fails);
    let flushed = run(flush(Rc::clone(&world), 0));
    assert_eq!((flushed.waiting, flushed.away, world.count(Kind::Unknown)), (2, false, 2));
    world.mode.set(Mode::WrongToken);
    assert!(run(flush(Rc::clone(&world), 0)).away);
}
