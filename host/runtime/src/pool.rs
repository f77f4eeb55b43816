//! The guest threads: a fixed number, fed through a bounded queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::slots::Slots;

type Job = Box<dyn FnOnce(&mut Slots) + Send>;

/// Jobs that may wait for a thread, for each thread: enough that none idles while a waiting future is woken.
const QUEUED_PER_THREAD: usize = 2;

/// Threads on which guest code runs, and nowhere else.
pub(crate) struct Pool {
    permits: Arc<Semaphore>,
    jobs: Sender<Job>,
}

/// Why a job gave no result.
pub(crate) enum NotRun {
    ShuttingDown,
    Panicked,
}

impl Pool {
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        // Bounded by the permits.
        let (jobs, queue) = unbounded();
        for n in 0..threads {
            let queue = queue.clone();
            thread::Builder::new().name(format!("guest-{n}")).spawn(move || work(&queue))?;
        }
        Ok(Self { permits: Arc::new(Semaphore::new(threads * (1 + QUEUED_PER_THREAD))), jobs })
    }

    /// Runs `job` on a guest thread. When the future is dropped a job that was queued still runs; its result goes nowhere.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Slots) -> T + Send + 'static,
    ) -> Result<T, NotRun> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| NotRun::ShuttingDown)?;
        let (sender, receiver) = oneshot::channel();
        // The permit goes with the job: what bounds the queue is what is in it, not who still waits.
        let job: Job = Box::new(move |slots| finish(permit, sender, slots, job));
        self.jobs.send(job).map_err(|_| NotRun::ShuttingDown)?;
        receiver.await.unwrap_or(Err(NotRun::ShuttingDown))
    }
}

fn finish<T>(
    permit: OwnedSemaphorePermit,
    sender: oneshot::Sender<Result<T, NotRun>>,
    slots: &mut Slots,
    job: impl FnOnce(&mut Slots) -> T,
) {
    let result = catch_unwind(AssertUnwindSafe(|| job(slots)));
    if result.is_err() {
        // Whatever was half done is in the kept instances.
        *slots = Slots::default();
    }
    drop(permit);
    // Nobody may be waiting any more.
    let _ = sender.send(result.map_err(|_| NotRun::Panicked));
}

fn work(queue: &Receiver<Job>) {
    let mut slots = Slots::default();
    for job in queue {
        job(&mut slots);
    }
}
