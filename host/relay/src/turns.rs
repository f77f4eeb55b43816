//! Whose message is next in the sandbox.
//!
//! Guest threads are few. In front of them new mail and deliveries take turns, and within each the tenants do: a campaign of
//! one tenant waits behind itself, and acceptance does not run away from delivery. One message can make a thousand copies, so
//! turns alone would not see to that: what the copies of a tenant's accepted mail have not had yet is counted, and while it is
//! much, its new mail waits behind its copies.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Turns that a tenant's copies may be owed before its new mail waits for those that want theirs. More than are under way at
/// ordinary times, between the commit of a message and the connections that it goes out on.
const AHEAD: u32 = 256;
/// More than this is forgotten at once: mail for sites that are down is owed turns and never asks for them.
const MOST_OWED: u32 = 4 * AHEAD;

/// What the sandbox is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A client waits for its reply.
    Accept = 0,
    /// A copy is to be made.
    Deliver = 1,
}

/// Gives turns. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    waiting: [Lanes; 2],
    /// What the last turn was given for.
    last: Work,
    /// Turns that the copies of accepted mail are still to have, by tenant.
    owed: HashMap<String, u32>,
}

/// Who waits, by tenant; a tenant with somebody waiting is in `order` once.
#[derive(Debug, Default)]
struct Lanes {
    queues: HashMap<String, VecDeque<oneshot::Sender<Turn>>>,
    order: VecDeque<String>,
}

/// A turn; dropping it lets the next one in.
#[derive(Debug)]
pub struct Turn(Option<Turns>);

impl Default for Turns {
    /// Two for each processor: one runs, one is on its way to or from its thread.
    fn default() -> Self {
        Self::new(2 * std::thread::available_parallelism().map_or(2, usize::from))
    }
}

impl Turns {
    /// So many at the same time; at least one.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        let state = State {
            free: at_once.max(1),
            waiting: Default::default(),
            last: Work::Deliver,
            owed: HashMap::new(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Mail of a tenant was accepted whose copies will want so many turns.
    pub fn owe(&self, tenant: &str, copies: usize) {
        let copies = u32::try_from(copies).unwrap_or(MOST_OWED);
        let mut state = self.state();
        match state.owed.get_mut(tenant) {
            Some(owed) => *owed = owed.saturating_add(copies).min(MOST_OWED),
            None if copies > 0 => drop(state.owed.insert(tenant.to_owned(), copies.min(MOST_OWED))),
            None => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn. Whoever stops waiting gives up the place.
    pub async fn wait(&self, work: Work, tenant: &str) -> Turn {
        let given = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                state.given(work, tenant);
                return Turn(Some(self.clone()));
            }
            state.waiting[work as usize].push(tenant)
        };
        // The sender goes only with its turn, and turns are given until nobody waits.
        given.await.unwrap_or(Turn(None))
    }

    /// Hands a turn that is over to who is next.
    fn pass(&self) {
        loop {
            let mut state = self.state();
            let Some(next) = state.next() else {
                state.free += 1;
                return;
            };
            drop(state);
            match next.send(Turn(Some(self.clone()))) {
                Ok(()) => return,
                // Nobody waits there any more. Its drop must not pass the turn on as well.
                Err(mut unwanted) => drop(unwanted.0.take()),
            }
        }
    }
}

impl State {
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let other = match self.last {
            Work::Accept => Work::Deliver,
            Work::Deliver => Work::Accept,
        };
        let [accept, deliver] = &mut self.waiting;
        for work in [other, self.last] {
            let next = match work {
                // Who has to wait has copies that do: one of the two finds somebody while anybody waits.
                Work::Accept => accept.pop(|tenant| {
                    let owed = self.owed.get(tenant).copied().unwrap_or(0);
                    owed <= AHEAD || !deliver.queues.contains_key(tenant)
                }),
                Work::Deliver => deliver.pop(|_| true),
            };
            if let Some((tenant, next)) = next {
                self.given(work, &tenant);
                return Some(next);
            }
        }
        None
    }

    fn given(&mut self, work: Work, tenant: &str) {
        self.last = work;
        // Whose new mail goes while none of its copies wait is owed a turn less, too: copies for sites that are down never ask for theirs.
        if work == Work::Accept && self.waiting[Work::Deliver as usize].queues.contains_key(tenant) {
            return;
        }
        if let Some(owed) = self.owed.get_mut(tenant) {
            *owed -= 1;
            if *owed == 0 {
                self.owed.remove(tenant);
            }
        }
    }
}

impl Lanes {
    fn push(&mut self, tenant: &str) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        match self.queues.get_mut(tenant) {
            Some(queue) => queue.push_back(sender),
            None => {
                self.queues.insert(tenant.to_owned(), VecDeque::from([sender]));
                self.order.push_back(tenant.to_owned());
            }
        }
        receiver
    }

    /// The first one of the tenant that is next among those that `may` go.
    fn pop(&mut self, may: impl Fn(&str) -> bool) -> Option<(String, oneshot::Sender<Turn>)> {
        let place = self.order.iter().position(|tenant| may(tenant))?;
        let tenant = self.order.remove(place)?;
        let queue = self.queues.get_mut(&tenant)?;
        let next = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&tenant);
        } else {
            self.order.push_back(tenant.clone());
        }
        Some((tenant, next))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiting = std::pin::Pin<Box<dyn Future<Output = Turn>>>;

    fn waiting(turns: &Turns, work: Work, tenant: &str) -> Waiting {
        let (turns, tenant) = (turns.clone(), tenant.to_owned());
        let mut future: Waiting = Box::pin(async move { turns.wait(work, &tenant).await });
        assert!(ready(&mut future).is_none(), "must wait");
        future
    }

    fn ready(future: &mut Waiting) -> Option<Turn> {
        match pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    /// Lets all in, one after the other; the order in which they came.
    fn order(turn: Turn, mut all: Vec<(&'static str, Waiting)>) -> Vec<&'static str> {
        let mut current = turn;
        let mut order = Vec::new();
        while !all.is_empty() {
            drop(current);
            let next = all.iter_mut().enumerate().find_map(|(n, (_, future))| Some((n, ready(future)?)));
            let (n, turn) = next.expect("somebody is let in");
            assert!(all.iter_mut().enumerate().all(|(m, (_, f))| m == n || ready(f).is_none()), "only one");
            order.push(all.remove(n).0);
            current = turn;
        }
        order
    }

    #[tokio::test]
    async fn tenants_and_kinds_of_work_take_turns() {
        let turns = Turns::new(1);
        let first = turns.wait(Work::Accept, "noisy").await;
        let all = vec![
            ("noisy 1", waiting(&turns, Work::Accept, "noisy")),
            ("noisy 2", waiting(&turns, Work::Accept, "noisy")),
            ("noisy 3", waiting(&turns, Work::Accept, "noisy")),
            ("quiet 1", waiting(&turns, Work::Accept, "quiet")),
            ("delivery 1", waiting(&turns, Work::Deliver, "noisy")),
            ("delivery 2", waiting(&turns, Work::Deliver, "noisy")),
        ];
        let order = order(first, all);
        assert_eq!(order, ["delivery 1", "noisy 1", "delivery 2", "quiet 1", "noisy 2", "noisy 3"]);
    }

    /// Otherwise a tenant with much mail for sites that are down would be owed turns for ever, and accept less than it could.
    #[tokio::test]
    async fn turns_that_nobody_asks_for_are_forgotten() {
        let turns = Turns::new(1);
        turns.owe("backlog", AHEAD as usize + 3);
        for _ in 0..3 {
            drop(turns.wait(Work::Accept, "backlog").await);
        }
        let first = turns.wait(Work::Deliver, "quiet").await;
        let all = vec![
            ("copy 1", waiting(&turns, Work::Deliver, "backlog")),
            ("copy 2", waiting(&turns, Work::Deliver, "backlog")),
            ("new 1", waiting(&turns, Work::Accept, "backlog")),
            ("new 2", waiting(&turns, Work::Accept, "backlog")),
        ];
        assert_eq!(order(first, all), ["new 1", "copy 1", "new 2", "copy 2"]);
    }

    #[tokio::test]
    async fn new_mail_waits_for_the_copies_of_what_was_accepted() {
        let turns = Turns::new(1);
        let first = turns.wait(Work::Accept, "campaign").await;
        turns.owe("campaign", AHEAD as usize + 3);
        let all = vec![
            ("new 1", waiting(&turns, Work::Accept, "campaign")),
            ("new 2", waiting(&turns, Work::Accept, "campaign")),
            ("other", waiting(&turns, Work::Accept, "quiet")),
            ("copy 1", waiting(&turns, Work::Deliver, "campaign")),
            ("copy 2", waiting(&turns, Work::Deliver, "campaign")),
            ("copy 3", waiting(&turns, Work::Deliver, "campaign")),
            ("copy 4", waiting(&turns, Work::Deliver, "campaign")),
        ];
        let order = order(first, all);
        assert_eq!(order, ["copy 1", "other", "copy 2", "copy 3", "new 1", "copy 4", "new 2"]);
        // Of 259, four had theirs, and one is forgotten: no copies waited when `new 2` went.
        assert_eq!(turns.state().owed["campaign"], AHEAD - 2);
    }

    #[tokio::test]
    async fn copies_that_never_ask_hold_nothing_up() {
        let turns = Turns::new(1);
        turns.owe("a", usize::MAX);
        turns.owe("a", 1);
        assert_eq!(turns.state().owed["a"], MOST_OWED);
        let first = turns.wait(Work::Accept, "a").await;
        let mut next = waiting(&turns, Work::Accept, "a");
        drop(first);
        assert!(ready(&mut next).is_some());
    }

    #[tokio::test]
    async fn a_place_that_is_given_up_is_passed_on() {
        let turns = Turns::new(2);
        let (one, two) = (turns.wait(Work::Accept, "a").await, turns.wait(Work::Accept, "a").await);
        let gone = waiting(&turns, Work::Accept, "a");
        let let_in = waiting(&turns, Work::Accept, "b");
        let mut stays = waiting(&turns, Work::Accept, "a");
        drop(gone);
        drop(one);
        // It has its turn already when it goes.
        drop(let_in);
        assert!(ready(&mut stays).is_some());
        drop((two, stays));
        let state = turns.state();
        assert_eq!(state.free, 2);
        assert!(state.waiting.iter().all(|lanes| lanes.queues.is_empty() && lanes.order.is_empty()));
    }
}
