//! The guest threads: a fixed number, fed through a bounded queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// What runs with the `S` of a thread.
type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Jobs that may wait for a thread, for each thread: enough that none idles while a waiting future is woken.
const QUEUED_PER_THREAD: usize = 2;

/// Threads on which guest code runs, and nowhere else. Each has an `S`.
pub(crate) struct Pool<S> {
    permits: Arc<Semaphore>,
    jobs: Sender<Job<S>>,
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
        // Bounded by the permits.
        let (jobs, queue) = unbounded();
        for n in 0..threads {
            let queue = queue.clone();
            thread::Builder::new().name(format!("{name}-{n}")).spawn(move || {
                yield_to_others(nice);
                work(&queue);
            })?;
        }
        Ok(Self { permits: Arc::new(Semaphore::new(threads * (1 + QUEUED_PER_THREAD))), jobs })
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
        self.jobs.send(job).map_err(|_| NotRun::ShuttingDown)?;
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

fn work<S: Default>(queue: &Receiver<Job<S>>) {
    let mut own = S::default();
    for job in queue {
        job(&mut own);
    }
}
