//! The guest threads: a fixed number, and whose job is next on them.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::slice;

/// What runs with the `S` of a thread.
type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Threads on which guest code runs, and nowhere else. Each has an `S`.
pub(crate) struct Pool<S>(Arc<Jobs<S>>);

/// Who shares the threads with others. Jobs of a lane begin in the order in which they came; lanes take turns.
pub(crate) struct Lane {
    /// Jobs that run at the same time.
    at_once: usize,
}

/// What waits for a thread: as many jobs as there are futures that wait for one, and those that nobody waits for any more until their lane's turn. A thread that finds nothing sleeps at once: those that
/// spin first, as a channel's do, take a tenth of the time that guests need. One that has done a job takes the next one along; to let
/// whoever waits bring it then would cost two hand-overs.
struct Jobs<S> {
    waiting: Mutex<Waiting<S>>,
    /// There is a job for one more thread, or there will be none.
    changed: Condvar,
}

struct Waiting<S> {
    /// Those with a job, waiting or running.
    lanes: HashMap<Key, Queue<S>>,
    /// Those with a job that may run now, each once.
    next: VecDeque<Key>,
    /// Threads that sleep.
    idle: usize,
    /// Nobody is left who could bring a job.
    over: bool,
}

/// The address of a lane, which is kept for as long as this is.
type Key = usize;

struct Queue<S> {
    lane: Arc<Lane>,
    jobs: VecDeque<(Ticket, Job<S>)>,
    running: usize,
    /// It is in `next`.
    is_next: bool,
}

/// Why a job gave no result.
pub(crate) enum NotRun {
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

impl Lane {
    /// At least one job at the same time.
    pub(crate) fn new(at_once: usize) -> Self {
        Self { at_once: at_once.max(1) }
    }

    /// As many as there are threads.
    pub(crate) fn unbounded() -> Self {
        Self::new(usize::MAX)
    }
}

impl<S: Default + 'static> Pool<S> {
    /// Starts threads with this name, `nice` above the nice value of the process.
    pub(crate) fn start(threads: usize, name: &str, nice: i32) -> std::io::Result<Self> {
        let pool = Self(Arc::new(Jobs { waiting: Mutex::default(), changed: Condvar::new() }));
        for n in 0..threads {
            let jobs = Arc::clone(&pool.0);
            thread::Builder::new().name(format!("{name}-{n}")).spawn(move || {
                yield_to_others(nice);
                slice::of_a_guest_thread();
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
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, NotRun> {
        let (sender, mut receiver) = oneshot::channel();
        let ticket = Ticket::default();
        let waits = Waits(ticket.clone());
        let theirs = ticket.clone();
        let job = move |own: &mut S| {
            if theirs.take() {
                finish(sender, own, job);
            }
        };
        self.0.push(lane, ticket, Box::new(job));
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
}

/// Of a job. Who takes it first has the say: the thread that begins with it, or the one who waits for it no more.
#[derive(Clone, Default)]
struct Ticket(Arc<AtomicBool>);

impl Ticket {
    /// Whether nobody had it.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Waits for a job until it is dropped.
struct Waits(Ticket);

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

fn finish<S: Default, T>(
    sender: oneshot::Sender<Result<T, NotRun>>,
    own: &mut S,
    job: impl FnOnce(&mut S) -> T,
) {
    let result = catch_unwind(AssertUnwindSafe(|| job(own)));
    if result.is_err() {
        // Whatever was half done is in the kept instances.
        *own = S::default();
    }
    // Nobody may be waiting any more.
    let _ = sender.send(result.map_err(|_| NotRun::Panicked));
}

fn work<S: Default>(jobs: &Jobs<S>) {
    let all = || {
        let mut own = S::default();
        while let Some((job, _running)) = jobs.next() {
            job(&mut own);
            slice::is_over();
        }
    };
    // A job catches its own panics; but what it leaves behind may panic when it is dropped, and jobs would wait for no thread.
    while catch_unwind(AssertUnwindSafe(all)).is_err() {}
}

/// A job's share of its lane, until it is dropped.
struct Running<'a, S> {
    jobs: &'a Jobs<S>,
    lane: Key,
}

impl<S> Drop for Running<'_, S> {
    fn drop(&mut self) {
        self.jobs.waiting().done(self.lane);
    }
}

impl<S> Jobs<S> {
    fn push(&self, lane: &Arc<Lane>, ticket: Ticket, job: Job<S>) {
        let mut waiting = self.waiting();
        let wanted = waiting.push(lane, ticket, job) && waiting.idle > 0;
        drop(waiting);
        if wanted {
            self.changed.notify_one();
        }
    }

    /// Waits for one. None when the pool is gone and nothing is left.
    fn next(&self) -> Option<(Job<S>, Running<'_, S>)> {
        let mut forgotten = Vec::new();
        let mut waiting = self.waiting();
        loop {
            if let Some((lane, job)) = waiting.take(&mut forgotten) {
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
    fn waiting(&self) -> MutexGuard<'_, Waiting<S>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Waiting<S> {
    /// Whether a thread could begin with it now.
    fn push(&mut self, lane: &Arc<Lane>, ticket: Ticket, job: Job<S>) -> bool {
        let key = Arc::as_ptr(lane).addr();
        let queue = self.lanes.entry(key).or_insert_with(|| Queue {
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

    /// The next job that somebody waits for; those before it in its lane are put into `forgotten`, and cost the lane nothing.
    fn take(&mut self, forgotten: &mut Vec<Job<S>>) -> Option<(Key, Job<S>)> {
        while let Some(key) = self.next.pop_front() {
            let Some(queue) = self.lanes.get_mut(&key) else { continue };
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

    fn done(&mut self, key: Key) {
        let Some(queue) = self.lanes.get_mut(&key) else { return };
        queue.running -= 1;
        self.settle(key);
    }

    /// Forgets a lane that has nothing to do.
    fn settle(&mut self, key: Key) {
        let has_nothing = |queue: &Queue<S>| queue.running == 0 && queue.jobs.is_empty();
        if self.lanes.get(&key).is_some_and(has_nothing) {
            self.lanes.remove(&key);
        } else {
            self.offer(key);
        }
    }

    /// Puts a lane behind the others that have a job which may run.
    fn offer(&mut self, key: Key) {
        let Some(queue) = self.lanes.get_mut(&key) else { return };
        if !queue.is_next && !queue.jobs.is_empty() && queue.running < queue.lane.at_once {
            queue.is_next = true;
            self.next.push_back(key);
        }
    }
}

impl<S> Default for Waiting<S> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), next: VecDeque::new(), idle: 0, over: false }
    }
}

impl<S> Drop for Pool<S> {
    fn drop(&mut self) {
        self.0.waiting().over = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::Poll;
    use std::time::Instant;

    /// A thread's own, which says when the thread ends.
    #[derive(Default)]
    struct Ends(Option<mpsc::Sender<()>>);

    impl Drop for Ends {
        fn drop(&mut self) {
            if let Some(ended) = &self.0 {
                let _ = ended.send(());
            }
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    /// Something that is not there yet, for jobs to wait for.
    fn signal() -> (mpsc::Sender<()>, Arc<Mutex<mpsc::Receiver<()>>>) {
        let (go, gone) = mpsc::channel();
        (go, Arc::new(Mutex::new(gone)))
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_begun() {
        let pool = Pool::<Ends>::start(1, "test", 0).unwrap();
        let lane = Arc::new(Lane::unbounded());
        let (go, gone) = signal();
        let (says, ended) = mpsc::channel();
        let begun = Arc::new(AtomicUsize::new(0));
        for n in 0..3 {
            let (counted, gone, says) = (Arc::clone(&begun), Arc::clone(&gone), says.clone());
            let mut queued = Box::pin(pool.run(&lane, None, move |own: &mut Ends| {
                own.0 = Some(says);
                counted.fetch_add(1, Ordering::SeqCst);
                gone.lock().unwrap().recv().unwrap();
            }));
            // It is queued when it is first polled, and dropped afterwards.
            assert!(poll_fn(|cx| Poll::Ready(queued.as_mut().poll(cx).is_pending())).await);
            while n == 0 && begun.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
        }
        drop(pool);
        go.send(()).unwrap();
        ended.recv_timeout(LONG).unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn who_gets_no_thread_in_time_waits_no_more() {
        let pool = Pool::<()>::start(1, "test", 0).unwrap();
        let lane = Arc::new(Lane::unbounded());
        let (go, gone) = signal();
        // Longer than it may wait for a thread, but it has one.
        let runs =
            pool.run(&lane, Some(Duration::from_millis(50)), move |()| gone.lock().unwrap().recv().is_ok());
        let waits = async {
            let late = pool.run(&lane, Some(Duration::from_millis(200)), |()| panic!("is not begun")).await;
            go.send(()).unwrap();
            late
        };
        let (runs, waits) = tokio::join!(runs, waits);
        assert!(matches!(runs, Ok(true)));
        assert!(matches!(waits, Err(NotRun::NoThread)));
        assert!(matches!(pool.run(&lane, None, |()| 7).await, Ok(7)), "and is out of the way");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_job_is_forgotten_by_several_threads_and_lanes_keep_to_their_shares() {
        let pool = Arc::new(Pool::<()>::start(4, "test", 0).unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        let lanes =
            [1, 2, usize::MAX].map(|at_once| (Arc::new(Lane::new(at_once)), Arc::new(AtomicUsize::new(0))));
        let bring = |n: usize| {
            let (lane, running) = lanes[n % lanes.len()].clone();
            let (pool, done) = (Arc::clone(&pool), Arc::clone(&done));
            tokio::spawn(async move {
                for _ in 0..500 {
                    let (done, running, share) = (Arc::clone(&done), Arc::clone(&running), lane.at_once);
                    let job = move |(): &mut ()| {
                        assert!(running.fetch_add(1, Ordering::SeqCst) < share);
                        thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        done.fetch_add(1, Ordering::SeqCst)
                    };
                    assert!(pool.run(&lane, None, job).await.is_ok());
                }
            })
        };
        let bringing: Vec<_> = (0..12).map(bring).collect();
        for all in bringing {
            timeout(LONG, all).await.unwrap().unwrap();
        }
        assert_eq!(done.load(Ordering::SeqCst), 12 * 500);
        // The last ones end a little later than they have answered.
        let began = Instant::now();
        while !pool.0.waiting().lanes.is_empty() {
            assert!(began.elapsed() < LONG, "lanes are kept");
            thread::yield_now();
        }
        assert!(pool.0.waiting().next.is_empty());
    }

    #[tokio::test]
    async fn lanes_take_turns() {
        let pool = Pool::<()>::start(1, "test", 0).unwrap();
        let lanes = ["a", "b", "c"].map(|name| (name, Arc::new(Lane::new(1))));
        let (go, gone) = signal();
        let order = Arc::new(Mutex::new(String::new()));
        let job = |of: usize| {
            let ((name, lane), order, pool) = (lanes[of].clone(), Arc::clone(&order), &pool);
            // It comes when it is first polled.
            async move {
                assert!(pool.run(&lane, None, move |()| order.lock().unwrap().push_str(name)).await.is_ok())
            }
        };
        let gate = Arc::new(Lane::new(1));
        let first = pool.run(&gate, None, move |()| gone.lock().unwrap().recv().is_ok());
        let begins = async { go.send(()).unwrap() };
        let (first, ..) = tokio::join!(first, job(0), job(0), job(0), job(1), job(2), job(1), begins);
        assert!(matches!(first, Ok(true)));
        assert_eq!(*order.lock().unwrap(), "abcaba");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_costs_its_lane_no_turn() {
        let pool = Pool::<()>::start(1, "test", 0).unwrap();
        let (gate, lane, other) = (Lane::new(1), Lane::new(1), Lane::new(1));
        let (gate, lane, other) = (Arc::new(gate), Arc::new(lane), Arc::new(other));
        let (go, gone) = signal();
        let order = Arc::new(Mutex::new(String::new()));
        let job = |lane: &Arc<Lane>, name| {
            let (lane, order, pool) = (Arc::clone(lane), Arc::clone(&order), &pool);
            async move {
                assert!(pool.run(&lane, None, move |()| order.lock().unwrap().push_str(name)).await.is_ok())
            }
        };
        let first = pool.run(&gate, None, move |()| gone.lock().unwrap().recv().is_ok());
        let late = async {
            for _ in 0..3 {
                let mut late = Box::pin(job(&lane, "late"));
                assert!(poll_fn(|cx| Poll::Ready(late.as_mut().poll(cx).is_pending())).await);
            }
        };
        let begins = async { go.send(()).unwrap() };
        let (first, ..) =
            tokio::join!(first, late, job(&other, "o"), job(&lane, "l"), job(&other, "o"), begins);
        assert!(matches!(first, Ok(true)));
        assert_eq!(*order.lock().unwrap(), "loo");
    }

    /// Panics when it is replaced or dropped.
    #[derive(Default)]
    struct Fragile(bool);

    impl Drop for Fragile {
        fn drop(&mut self) {
            assert!(!self.0, "on purpose");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_ends_neither_the_thread_nor_others_jobs() {
        let pool = Pool::<Fragile>::start(1, "test", 0).unwrap();
        let lane = Arc::new(Lane::new(1));
        assert!(matches!(pool.run(&lane, None, |_| panic!("on purpose")).await, Err(NotRun::Panicked)));
        assert!(matches!(pool.run(&lane, None, |_| 7).await, Ok(7)));
        let broken = pool.run(&lane, None, |own| {
            own.0 = true;
            panic!("on purpose")
        });
        assert!(matches!(timeout(LONG, broken).await, Ok(Err(_))));
        let next = timeout(LONG, pool.run(&lane, None, |_| 8)).await;
        assert!(matches!(next, Ok(Ok(8))));
    }
}
