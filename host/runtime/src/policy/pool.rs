//! The threads of plugins: a fixed number, which take jobs of tenants in turn.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::FairQueue;

type Task = Box<dyn FnOnce() + Send>;
type TenantName = Arc<str>;

/// Threads on which the code of plugins runs, and nowhere else.
pub(crate) struct PluginThreads(Arc<TaskQueue>);

/// What waits for a thread: as many jobs as there are futures that wait for one. A thread that
/// finds nothing sleeps at once: those that spin first, as a channel's do, take a tenth of the time
/// that guests need. One that has done a job takes the next one along; to let whoever waits bring
/// it then would cost two hand-overs.
struct TaskQueue {
    /// Threads that one tenant's jobs may keep busy.
    per_tenant: usize,
    waiting: Mutex<TaskQueueState>,
    /// There is a job for one more thread, or there will be none.
    changed: Condvar,
}

#[derive(Default)]
struct TaskQueueState {
    jobs: FairQueue<TenantName, (u64, Task)>,
    /// Tasks that run, of tenants that have any.
    running: HashMap<TenantName, usize>,
    /// Numbers jobs.
    next: u64,
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

impl PluginThreads {
    /// Starts threads with this name, `nice` above the nice value of the process.
    pub(crate) fn start(threads: usize, per_tenant: usize, name: &str, nice: i32) -> std::io::Result<Self> {
        let per_tenant = per_tenant.max(1);
        let jobs = TaskQueue { per_tenant, waiting: Mutex::default(), changed: Condvar::new() };
        let pool = Self(Arc::new(jobs));
        for n in 0..threads {
            let jobs = Arc::clone(&pool.0);
            thread::Builder::new().name(format!("{name}-{n}")).spawn(move || {
                yield_to_others(nice);
                work(&jobs);
            })?;
        }
        Ok(pool)
    }

    /// Runs `job` on a thread of the pool. When the future is dropped, a job that has begun still
    /// runs and its result goes nowhere; one that has not is dropped, also when it was not begun
    /// within `wait`.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        tenant: &TenantName,
        wait: Option<Duration>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotRun> {
        let (job, mut receiver) = wrapped(job);
        let waits = self.0.push(tenant, job);
        let done = match wait {
            None => receiver.await,
            Some(wait) => match timeout(wait, &mut receiver).await {
                Ok(done) => done,
                Err(_) if waits.cancel() => return Err(NotRun::NoThread),
                Err(_) => receiver.await,
            },
        };
        done.unwrap_or(Err(NotRun::ShuttingDown))
    }

    /// As [`Self::run`], if the job can begin now. Returns none if all threads are busy or the
    /// tenant has its share of them.
    pub(crate) fn run_if_idle<T: Send + 'static>(
        &self,
        tenant: &TenantName,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<impl Future<Output = Result<T, NotRun>> + Send> {
        let (job, receiver) = wrapped(job);
        let waits = self.0.push_if_idle(tenant, job)?;
        Some(async move {
            let _waits = waits;
            receiver.await.unwrap_or(Err(NotRun::ShuttingDown))
        })
    }
}

/// A job, and what comes of it.
fn wrapped<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> (Task, oneshot::Receiver<Result<T, NotRun>>) {
    let (sender, receiver) = oneshot::channel();
    let job = move || {
        let result = catch_unwind(AssertUnwindSafe(job));
        // Nobody may be waiting for it any more.
        let _ = sender.send(result.map_err(|_| NotRun::Panicked));
    };
    (Box::new(job), receiver)
}

/// A task that waits for a thread. Dropping this drops the task, unless it has begun.
struct QueuedTask<'a> {
    jobs: &'a TaskQueue,
    tenant: TenantName,
    number: u64,
}

impl QueuedTask<'_> {
    /// Drops the job unless it has begun. Returns true if it has not.
    fn cancel(&self) -> bool {
        let job = self.jobs.waiting().jobs.remove(&self.tenant, |(number, _)| *number == self.number);
        // What it holds may take long to drop: not under the lock.
        job.is_some()
    }
}

impl Drop for QueuedTask<'_> {
    fn drop(&mut self) {
        self.cancel();
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

fn work(jobs: &TaskQueue) {
    let all = || {
        while let Some((job, _running)) = jobs.next() {
            job();
        }
    };
    // A job catches its own panics; but what it leaves behind may panic when it is dropped, and
    // jobs would wait for no thread.
    while catch_unwind(AssertUnwindSafe(all)).is_err() {}
}

/// A job that runs, until it is dropped.
struct RunningTask<'a> {
    jobs: &'a TaskQueue,
    tenant: TenantName,
}

impl Drop for RunningTask<'_> {
    fn drop(&mut self) {
        let mut waiting = self.jobs.waiting();
        if let Some(running) = waiting.running.get_mut(&self.tenant) {
            *running -= 1;
            if *running == 0 {
                waiting.running.remove(&self.tenant);
            }
        }
    }
}

impl TaskQueueState {
    fn has_share(&self, tenant: &TenantName, per_tenant: usize) -> bool {
        self.running.get(tenant).is_some_and(|running| *running >= per_tenant)
    }

    fn push(&mut self, tenant: &TenantName, job: Task) -> u64 {
        self.next += 1;
        self.jobs.push(Arc::clone(tenant), (self.next, job));
        self.next
    }
}

impl TaskQueue {
    fn push(&self, tenant: &TenantName, job: Task) -> QueuedTask<'_> {
        let mut waiting = self.waiting();
        let number = waiting.push(tenant, job);
        // Whoever ends a job of the tenant takes its next one along.
        let wanted = waiting.idle > 0 && !waiting.has_share(tenant, self.per_tenant);
        drop(waiting);
        if wanted {
            self.changed.notify_one();
        }
        QueuedTask { jobs: self, tenant: Arc::clone(tenant), number }
    }

    /// Returns none if it would have to wait; it is dropped then.
    fn push_if_idle(&self, tenant: &TenantName, job: Task) -> Option<QueuedTask<'_>> {
        let mut waiting = self.waiting();
        let idle =
            waiting.idle > 0 && !waiting.has_share(tenant, self.per_tenant) && !waiting.jobs.contains(tenant);
        if !idle {
            drop(waiting);
            return None;
        }
        let number = waiting.push(tenant, job);
        drop(waiting);
        self.changed.notify_one();
        Some(QueuedTask { jobs: self, tenant: Arc::clone(tenant), number })
    }

    /// Waits for a task. None when the pool is gone and nothing is left.
    fn next(&self) -> Option<(Task, RunningTask<'_>)> {
        let mut waiting = self.waiting();
        loop {
            let TaskQueueState { jobs, running, .. } = &mut *waiting;
            let may =
                |tenant: &TenantName| running.get(tenant).is_none_or(|running| *running < self.per_tenant);
            if let Some((tenant, (_, job))) = jobs.pop_if(may) {
                *running.entry(Arc::clone(&tenant)).or_default() += 1;
                return Some((job, RunningTask { jobs: self, tenant }));
            }
            if waiting.over {
                return None;
            }
            waiting.idle += 1;
            self.changed.wait(&mut waiting);
            waiting.idle -= 1;
        }
    }

    /// Nothing panics while it is locked.
    fn waiting(&self) -> MutexGuard<'_, TaskQueueState> {
        self.waiting.lock()
    }
}

impl Drop for PluginThreads {
    fn drop(&mut self) {
        self.0.waiting().over = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
