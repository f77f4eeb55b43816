//! The guest threads: a fixed number, fed through a bounded queue.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// What runs with the `S` of a thread.
type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Jobs that may wait for a thread, for each thread: enough that none idles while a waiting future is woken.
const QUEUED_PER_THREAD: usize = 2;

/// Threads on which guest code runs, and nowhere else. Each has an `S`.
pub(crate) struct Pool<S> {
    permits: Arc<Semaphore>,
    jobs: Arc<Jobs<S>>,
}

/// What waits for a thread; bounded by the permits. A thread that finds nothing sleeps at once: those that spin first, as a channel's
/// do, take a tenth of the time that guests need.
struct Jobs<S> {
    waiting: Mutex<Waiting<S>>,
    /// There is a job, or there will be none.
    changed: Condvar,
}

struct Waiting<S> {
    jobs: VecDeque<Job<S>>,
    /// Nobody is left who could bring one.
    over: bool,
}

/// A place in the queue.
pub(crate) struct Admission(OwnedSemaphorePermit);

/// Why a job gave no result.
pub(crate) enum NotRun {
    ShuttingDown,
    Panicked,
}

impl NotRun {
    /// For the detail of a fault.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::ShuttingDown => "shutting down",
            Self::Panicked => "the host panicked while running it",
        }
    }
}

impl<S: Default + 'static> Pool<S> {
    /// Starts threads with this name, `nice` above the nice value of the process.
    pub(crate) fn start(threads: usize, name: &str, nice: i32) -> std::io::Result<Self> {
        let permits = Arc::new(Semaphore::new(threads * (1 + QUEUED_PER_THREAD)));
        let jobs = Arc::new(Jobs {
            waiting: Mutex::new(Waiting { jobs: VecDeque::new(), over: false }),
            changed: Condvar::new(),
        });
        let pool = Self { permits, jobs };
        for n in 0..threads {
            let jobs = Arc::clone(&pool.jobs);
            thread::Builder::new().name(format!("{name}-{n}")).spawn(move || {
                yield_to_others(nice);
                work(&jobs);
            })?;
        }
        Ok(pool)
    }

    /// Waits until a job may be queued.
    pub(crate) async fn admit(&self) -> Result<Admission, NotRun> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| NotRun::ShuttingDown)?;
        Ok(Admission(permit))
    }

    /// Runs `job` on a guest thread. When the future is dropped a job that was queued still runs; its result goes nowhere.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, NotRun> {
        let admission = self.admit().await?;
        self.run_admitted(admission, job).await
    }

    /// As [`Pool::run`], for a job that was admitted before.
    pub(crate) async fn run_admitted<T: Send + 'static>(
        &self,
        admission: Admission,
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, NotRun> {
        let (sender, receiver) = oneshot::channel();
        // The permit goes with the job: what bounds the queue is what is in it, not who still waits.
        let job: Job<S> = Box::new(move |own| finish(admission.0, sender, own, job));
        self.jobs.push(job);
        receiver.await.unwrap_or(Err(NotRun::ShuttingDown))
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
    permit: OwnedSemaphorePermit,
    sender: oneshot::Sender<Result<T, NotRun>>,
    own: &mut S,
    job: impl FnOnce(&mut S) -> T,
) {
    let result = catch_unwind(AssertUnwindSafe(|| job(own)));
    if result.is_err() {
        // Whatever was half done is in the kept instances.
        *own = S::default();
    }
    drop(permit);
    // Nobody may be waiting any more.
    let _ = sender.send(result.map_err(|_| NotRun::Panicked));
}

fn work<S: Default>(jobs: &Jobs<S>) {
    let all = || {
        let mut own = S::default();
        while let Some(job) = jobs.next() {
            job(&mut own);
        }
    };
    // A job catches its own panics; but what it leaves behind may panic when it is dropped, and jobs would wait for no thread.
    while catch_unwind(AssertUnwindSafe(all)).is_err() {}
}

impl<S> Jobs<S> {
    fn push(&self, job: Job<S>) {
        self.waiting().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Waits for one. None when the pool is gone and everything was done.
    fn next(&self) -> Option<Job<S>> {
        let idle = |waiting: &mut Waiting<S>| waiting.jobs.is_empty() && !waiting.over;
        let found = self.changed.wait_while(self.waiting(), idle);
        found.unwrap_or_else(PoisonError::into_inner).jobs.pop_front()
    }

    /// Nothing panics while it is locked.
    fn waiting(&self) -> MutexGuard<'_, Waiting<S>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Drop for Pool<S> {
    fn drop(&mut self) {
        self.jobs.waiting().over = true;
        self.jobs.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::Poll;
    use std::time::Duration;

    use super::*;

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

    #[tokio::test]
    async fn what_was_queued_is_done_before_the_threads_end() {
        let pool = Pool::<Ends>::start(1, "test", 0).unwrap();
        let (go, gone) = mpsc::channel();
        let gone = Arc::new(Mutex::new(gone));
        let (says, ended) = mpsc::channel();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..1 + QUEUED_PER_THREAD {
            let (done, gone, says) = (Arc::clone(&done), Arc::clone(&gone), says.clone());
            let mut queued = Box::pin(pool.run(move |own: &mut Ends| {
                gone.lock().unwrap().recv().unwrap();
                own.0 = Some(says);
                done.fetch_add(1, Ordering::Relaxed);
            }));
            // It is queued when it is first polled, and dropped then.
            assert!(poll_fn(|cx| Poll::Ready(queued.as_mut().poll(cx).is_pending())).await);
        }
        drop(pool);
        (0..1 + QUEUED_PER_THREAD).for_each(|_| go.send(()).unwrap());
        ended.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 1 + QUEUED_PER_THREAD);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_job_is_forgotten_by_several_threads() {
        let pool = Arc::new(Pool::<()>::start(3, "test", 0).unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        let bring = || {
            let (pool, done) = (Arc::clone(&pool), Arc::clone(&done));
            tokio::spawn(async move {
                for _ in 0..500 {
                    let done = Arc::clone(&done);
                    assert!(pool.run(move |()| done.fetch_add(1, Ordering::Relaxed)).await.is_ok());
                }
            })
        };
        let bringing: Vec<_> = (0..8).map(|_| bring()).collect();
        for all in bringing {
            tokio::time::timeout(Duration::from_secs(60), all).await.unwrap().unwrap();
        }
        assert_eq!(done.load(Ordering::Relaxed), 8 * 500);
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
        assert!(matches!(pool.run(|_| panic!("on purpose")).await, Err(NotRun::Panicked)));
        assert!(matches!(pool.run(|_| 7).await, Ok(7)));
        let broken = pool.run(|own| {
            own.0 = true;
            panic!("on purpose")
        });
        assert!(matches!(tokio::time::timeout(Duration::from_secs(60), broken).await, Ok(Err(_))));
        let next = tokio::time::timeout(Duration::from_secs(60), pool.run(|_| 8)).await;
        assert!(matches!(next, Ok(Ok(8))));
    }
}
