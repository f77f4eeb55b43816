//! Instances that run at the same time and end anywhere, with a core that changes.

use std::rc::Rc;

use proptest::prelude::*;

use super::world::{ENTRIES, HOUR, MINUTE, Mode, TASKS, Task, World, flush, identity, poll, run, send};
use crate::emails::Surroundings;
use crate::outbox::entry::Kind;

#[derive(Debug, Clone)]
enum Action {
    /// A caller sends, with one of three keys or none, one of two requests.
    Send(Option<u8>, u8),
    Flush(usize),
    /// Lets an instance take some steps.
    Step(usize, usize),
    /// An instance dies.
    Die(usize),
    Core(Mode),
    Wait(u64),
}

fn action() -> impl Strategy<Value = Action> {
    let mode = prop::sample::select(vec![
        Mode::Up,
        Mode::NotReached,
        Mode::Unavailable,
        Mode::BadGateway,
        Mode::Lost,
        Mode::Refuses,
        Mode::Fails,
        Mode::WrongToken,
    ]);
    let wait = prop::sample::select(vec![1, MINUTE, HOUR, 12 * HOUR, 30 * HOUR, 200 * HOUR]);
    prop_oneof![
        4 => (prop::option::of(0..3_u8), 0..2_u8).prop_map(|(key, body)| Action::Send(key, body)),
        2 => (0..ENTRIES).prop_map(Action::Flush),
        8 => (0..TASKS, 1..30_usize).prop_map(|(task, steps)| Action::Step(task, steps)),
        1 => (0..TASKS).prop_map(Action::Die),
        2 => mode.prop_map(Action::Core),
        1 => wait.prop_map(Action::Wait),
    ]
}

fn play(actions: Vec<Action>) {
    let world = World::new();
    let begun = world.now();
    let mut tasks: Vec<Task> = Vec::new();
    for action in actions {
        match action {
            Action::Send(key, body) if tasks.len() < TASKS => {
                // The core forgets a key after a day: callers repeat a request sooner.
                let key = key.filter(|_| world.now() - begun < 50 * MINUTE).map(|key| format!("k{key}"));
                let work = send(Rc::clone(&world), identity(key.as_deref(), body, &world));
                tasks.push(Box::pin(async move {
                    let _ = work.await;
                }));
            }
            Action::Flush(start) if tasks.len() < TASKS => {
                let work = flush(Rc::clone(&world), start);
                tasks.push(Box::pin(async move {
                    let _ = work.await;
                }));
            }
            Action::Send(..) | Action::Flush(_) => {}
            Action::Step(task, steps) => {
                let Some(index) = task.checked_rem(tasks.len()) else { continue };
                if (0..steps).any(|_| poll(&mut tasks[index])) {
                    drop(tasks.swap_remove(index));
                }
            }
            Action::Die(task) => {
                if let Some(index) = task.checked_rem(tasks.len()) {
                    drop(tasks.swap_remove(index));
                }
            }
            Action::Core(mode) => world.mode.set(mode),
            Action::Wait(time) => {
                // No platform lets a request live for an hour.
                if time >= HOUR {
                    tasks.clear();
                }
                world.now.set(world.now() + time);
            }
        }
    }
    drop(tasks);
    world.mode.set(Mode::Up);
    while run(flush(Rc::clone(&world), 0)).waiting > 0 {}
    let (taken, dead) = (world.taken.borrow(), world.dead.borrow());
    for (request, times) in taken.iter() {
        assert_eq!(*times, 1, "{request:?} was accepted more than once");
    }
    for (id, key, digest) in world.promised.borrow().iter() {
        let is_dead = dead.contains(&(id.clone(), digest[..32].to_owned()));
        assert!(taken.contains_key(&(key.clone(), digest.clone())) || is_dead, "{id} is lost");
    }
    run(flush(Rc::clone(&world), 0));
    let left = world.names().into_iter().filter(|name| matches!(name.kind, Kind::Attempt | Kind::Unknown));
    assert_eq!(left.count(), 0, "nothing is left of attempts");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_is_lost_and_nothing_is_accepted_twice(actions in prop::collection::vec(action(), 1..80)) {
        play(actions);
    }
}
