//! The threads of plugins: a fixed number, which take jobs from lanes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::lanes::{Key, Lane, Lanes, Ticket};

type Job = Box<dyn FnOnce() + Send>;

/// Threads on which the code of plugins runs, and nowhere else.
pub(crate) struct Pool(Arc<Jobs>);

/// What waits for a thread: as many jobs as there are futures that wait for one, and until their lane's turn those that nobody waits for any
/// more. A thread that finds nothing sleeps at once: those that spin first, as a channel's do, take a tenth of the time that guests need. One
/// that has done a job takes the next one along; to let whoever waits bring it then would cost two hand-overs.
struct Jobs {
    waiting: Mutex<Waiting>,
    /// There is a job for one more thread, or there will be none.
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lanes: Lanes<Job>,
    /// Threads that sleep.
    idle: usize,
    /// Nobody is left who could bring a job.
    over: bool,
}

/// Why a job gave no result.
pub(crate) enum NotRun {
    /// It was not begun in time.
    NoThread,
    ShuttingDown,
    Panicked,
}

impl NotRun {
    /// For the detail of a fault.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoThread => "no thread was free in time",
            Self::ShuttingDown => "shutting down",
            Self::Panicked => "the host panicked while running it",
        }
    }
}

impl Pool {
    /// Starts threads with this name, `nice` above the nice value of the process.
    pub(crate) fn start(threads: usize, name: &str, nice: i32) -> std::io::Result<Self> {
        let pool = Self(Arc::new(Jobs { waiting: Mutex::default(), changed: Condvar::new() }));
        for n in 0..threads {
            let jobs = Arc::clone(&pool.0);
            thread::Builder::new().name(format!("{name}-{n}")).spawn(move || {
                yield_to_others(nice);
                work(&jobs);
            })?;
        }
        Ok(pool)
    }

    /// Runs `job` on a guest thread. When the future is dropped, a job that has begun still runs and its result goes nowhere; one that
    /// has not is forgotten, also when it was not begun within `wait`.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        lane: &Arc<Lane>,
        wait: Option<Duration>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotRun> {
        let (ticket, waits) = Waits::new();
        let (job, mut receiver) = wrapped(ticket.clone(), job);
        self.0.push(lane, ticket, job);
        let done = match wait {
            None => receiver.await,
            Some(wait) => match timeout(wait, &mut receiver).await {
                Ok(done) => done,
                Err(_) if waits.0.take() => return Err(NotRun::NoThread),
                Err(_) => receiver.await,
            },
        };
        done.unwrap_or(Err(NotRun::ShuttingDown))
    }

    /// As [`Self::run`], if the job can begin now. Returns none if all threads are busy or the lane has what it may have.
    pub(crate) fn run_if_idle<T: Send + 'static>(
        &self,
        lane: &Arc<Lane>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<impl Future<Output = Result<T, NotRun>> + Send> {
        let (ticket, waits) = Waits::new();
        let (job, receiver) = wrapped(ticket.clone(), job);
        let begins = self.0.push_if_idle(lane, ticket, job);
        begins.then_some(async move {
            let _waits = waits;
            receiver.await.unwrap_or(Err(NotRun::ShuttingDown))
        })
    }
}

/// A job that runs unless its ticket was taken, and what comes of it.
fn wrapped<T: Send + 'static>(
    ticket: Ticket,
    job: impl FnOnce() -> T + Send + 'static,
) -> (Job, oneshot::Receiver<Result<T, NotRun>>) {
    let (sender, receiver) = oneshot::channel();
    let job = move || {
        if ticket.take() {
            let result = catch_unwind(AssertUnwindSafe(job));
            // Nobody may be waiting for it any more.
            let _ = sender.send(result.map_err(|_| NotRun::Panicked));
        }
    };
    (Box::new(job), receiver)
}

/// Waits for a job until it is dropped.
struct Waits(Ticket);

impl Waits {
    fn new() -> (Ticket, Self) {
        let ticket = Ticket::default();
        (ticket.clone(), Self(ticket))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// Lowers the priority of the calling thread.
fn yield_to_others(nice: i32) {
    // On Linux the nice value is the thread's; elsewhere it would be the process's.
    #[cfg(target_os = "linux")]
    if nice > 0 {
        let lowered = rustix::process::nice(nice);
        if let Err(error) = lowered {
            tracing::warn!(%error, "a thread keeps its priority");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
}

fn work(jobs: &Jobs) {
    let all = || {
        while let Some((job, _running)) = jobs.next() {
            job();
        }
    };
    // A job catches its own panics; but what it leaves behind may panic when it is dropped, and jobs would wait for no thread.
    while catch_unwind(AssertUnwindSafe(all)).is_err() {}
}

/// A job's share of its lane, until it is dropped.
struct Running<'a> {
    jobs: &'a Jobs,
    lane: Key,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.jobs.waiting().lanes.done(self.lane);
    }
}

impl Jobs {
    fn push(&self, lane: &Arc<Lane>, ticket: Ticket, job: Job) {
        let mut waiting = self.waiting();
        let wanted = waiting.lanes.push(lane, ticket, job) && waiting.idle > 0;
        drop(waiting);
        if wanted {
            self.changed.notify_one();
        }
    }

    /// False: it would have to wait, and is dropped.
    fn push_if_idle(&self, lane: &Arc<Lane>, ticket: Ticket, job: Job) -> bool {
        let mut waiting = self.waiting();
        let idle = waiting.idle > 0 && waiting.lanes.has_room(lane);
        if idle {
            waiting.lanes.push(lane, ticket, job);
        }
        drop(waiting);
        if idle {
            self.changed.notify_one();
        }
        idle
    }

    /// Waits for one. None when the pool is gone and nothing is left.
    fn next(&self) -> Option<(Job, Running<'_>)> {
        let mut forgotten = Vec::new();
        let mut waiting = self.waiting();
        loop {
            if let Some((lane, job)) = waiting.lanes.take(&mut forgotten) {
                drop(waiting);
                let running = Running { jobs: self, lane };
                // What they hold may take long to drop: not under the lock.
                drop(forgotten);
                return Some((job, running));
            }
            if !forgotten.is_empty() {
                drop(waiting);
                forgotten.clear();
                waiting = self.waiting();
                continue;
            }
            if waiting.over {
                return None;
            }
            waiting.idle += 1;
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
    }

    /// Nothing panics while it is locked.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.waiting().over = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
