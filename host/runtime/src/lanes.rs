//! Whose job is next: those who share the threads take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Who shares the threads with others. Jobs of a lane begin in the order in which they came; lanes take turns.
pub(crate) struct Lane {
    /// Jobs that run at the same time.
    at_once: usize,
}

impl Lane {
    /// At least one job at the same time.
    pub(crate) fn new(at_once: usize) -> Self {
        Self { at_once: at_once.max(1) }
    }
}

/// Of a job. Who takes it first has the say: the thread that begins with it, or the one who waits for it no more.
#[derive(Clone, Default)]
pub(crate) struct Ticket(Arc<AtomicBool>);

impl Ticket {
    /// Whether nobody had it.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Jobs that wait, in their lanes.
pub(crate) struct Lanes<J> {
    /// Of those with a job, waiting or running.
    queues: HashMap<Key, Queue<J>>,
    /// Those with a job that may run now, each once.
    next: VecDeque<Key>,
}

/// The address of a lane, which is kept for as long as this is.
pub(crate) type Key = usize;

/// The jobs of a lane.
struct Queue<J> {
    lane: Arc<Lane>,
    jobs: VecDeque<(Ticket, J)>,
    running: usize,
    /// It is in [`Lanes::next`].
    is_next: bool,
}

impl<J> Lanes<J> {
    /// Whether a thread could begin with it now.
    pub(crate) fn push(&mut self, lane: &Arc<Lane>, ticket: Ticket, job: J) -> bool {
        let key = Arc::as_ptr(lane).addr();
        let queue = self.queues.entry(key).or_insert_with(|| Queue {
            lane: Arc::clone(lane),
            jobs: VecDeque::new(),
            running: 0,
            is_next: false,
        });
        queue.jobs.push_back((ticket, job));
        let now = queue.running.saturating_add(queue.jobs.len()) <= queue.lane.at_once;
        self.offer(key);
        now
    }

    /// Whether a job of this lane would be next at once.
    pub(crate) fn has_room(&self, lane: &Arc<Lane>) -> bool {
        let busy = |queue: &Queue<J>| queue.running.saturating_add(queue.jobs.len()) >= lane.at_once;
        !self.queues.get(&Arc::as_ptr(lane).addr()).is_some_and(busy)
    }

    /// The next job that somebody waits for; those before it in its lane are put into `forgotten`, and cost the lane nothing.
    pub(crate) fn take(&mut self, forgotten: &mut Vec<J>) -> Option<(Key, J)> {
        while let Some(key) = self.next.pop_front() {
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            queue.is_next = false;
            while let Some((ticket, job)) = queue.jobs.pop_front() {
                if ticket.is_taken() {
                    forgotten.push(job);
                    continue;
                }
                queue.running += 1;
                self.offer(key);
                return Some((key, job));
            }
            self.settle(key);
        }
        None
    }

    /// One of its jobs has ended.
    pub(crate) fn done(&mut self, key: Key) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        queue.running -= 1;
        self.settle(key);
    }

    /// Forgets a lane that has nothing to do.
    fn settle(&mut self, key: Key) {
        let has_nothing = |queue: &Queue<J>| queue.running == 0 && queue.jobs.is_empty();
        if self.queues.get(&key).is_some_and(has_nothing) {
            self.queues.remove(&key);
        } else {
            self.offer(key);
        }
    }

    /// Puts a lane behind the others that have a job which may run.
    fn offer(&mut self, key: Key) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        if !queue.is_next && !queue.jobs.is_empty() && queue.running < queue.lane.at_once {
            queue.is_next = true;
            self.next.push_back(key);
        }
    }
}

impl<J> Default for Lanes<J> {
    fn default() -> Self {
        Self { queues: HashMap::new(), next: VecDeque::new() }
    }
}

#[cfg(test)]
impl<J> Lanes<J> {
    /// How many lanes are kept, and how many of them have a job that may run.
    pub(crate) fn kept(&self) -> (usize, usize) {
        (self.queues.len(), self.next.len())
    }
}
