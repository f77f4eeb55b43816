//! Calls into the sandbox: a permit from a fair scheduler, then the call.
//!
//! A stage computes on the worker that serves the message. So there are as many permits as
//! processors, and the asynchronous runtime has one worker more ([`worker_threads`]): one is always
//! left for sockets. A body that lies in a file is read on a thread of the blocking pool. No permit
//! is held while waiting for a peer or for DNS.

use std::panic::resume_unwind;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use relevo_mailkit::source::Source;
use relevo_runtime::{FairQueue, Stages};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

/// Permits that delivery gets for each one that accepting gets while both wait. Accepting must not
/// run ahead of delivery: what is accepted and not delivered fills the disk.
const DELIVER_WEIGHT: u32 = 3;

/// Calls of stages that run at the same time: one for each processor.
#[must_use]
pub fn permits() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).max(2)
}

/// Workers that the asynchronous runtime needs: one more than calls of stages can block.
#[must_use]
pub fn worker_threads() -> usize {
    permits() + 1
}

/// What a call of the sandbox is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkClass {
    /// A client waits for its reply.
    Accept,
    /// A copy is made for the next hop.
    Deliver,
}

/// The first-party stages behind the scheduler. Cheap to clone; clones share both.
#[derive(Clone)]
pub struct Sandbox {
    stages: Arc<dyn Stages>,
    scheduler: SandboxScheduler,
}

impl Sandbox {
    /// With [`permits`] permits.
    #[must_use]
    pub fn new(stages: Arc<dyn Stages>) -> Self {
        Self { stages, scheduler: SandboxScheduler::new(permits()) }
    }

    /// Runs `call` with the stages and `message` as soon as the tenant has a permit. The call runs
    /// in place, or on a thread of the blocking pool if the message does not lie in memory. A call
    /// that has begun runs to its end.
    pub async fn run<T: Send + 'static>(
        &self,
        class: WorkClass,
        tenant: &str,
        message: &Arc<dyn Source>,
        call: impl FnOnce(&dyn Stages, &dyn Source) -> T + Send + 'static,
    ) -> T {
        let permit = self.scheduler.acquire(class, tenant).await;
        let (stages, message) = (Arc::clone(&self.stages), Arc::clone(message));
        in_place_or_blocking(message.is_in_memory(), move || {
            let _permit = permit;
            call(&*stages, &*message)
        })
        .await
    }
}

/// Runs `work` on this worker, or on a thread of the blocking pool.
pub(crate) async fn in_place_or_blocking<T: Send + 'static>(
    in_place: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if in_place {
        return work();
    }
    match spawn_blocking(work).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => resume_unwind(panic),
        // The process is shutting down: nobody waits for the result.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Gives permits for the sandbox. Classes share by weight while both wait, and tenants take turns
/// within a class.
#[derive(Debug, Clone)]
pub struct SandboxScheduler(Arc<Mutex<SchedulerState>>);

#[derive(Debug)]
struct SchedulerState {
    free: usize,
    accept: FairQueue<String, oneshot::Sender<SandboxPermit>>,
    deliver: FairQueue<String, oneshot::Sender<SandboxPermit>>,
    /// Permits that delivery got since accepting got one.
    delivered: u32,
}

/// A permit. Dropping it gives it to the next one that waits.
#[derive(Debug)]
pub struct SandboxPermit(Option<SandboxScheduler>);

impl SandboxScheduler {
    /// With `permits` permits, at least one.
    #[must_use]
    pub fn new(permits: usize) -> Self {
        let state = SchedulerState {
            free: permits.max(1),
            accept: FairQueue::default(),
            deliver: FairQueue::default(),
            delivered: 0,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Waits for a permit. A dropped future gives up its place.
    pub async fn acquire(&self, class: WorkClass, tenant: &str) -> SandboxPermit {
        let granted = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return SandboxPermit(Some(self.clone()));
            }
            let (sender, granted) = oneshot::channel();
            state.queue(class).push(tenant.to_owned(), sender);
            granted
        };
        // A sender is dropped only with its permit sent, and permits are passed on until nobody
        // waits.
        granted.await.unwrap_or(SandboxPermit(None))
    }

    /// Hands a permit to the next one that waits.
    fn pass(&self) {
        loop {
            let mut state = self.state();
            let Some(next) = state.next() else {
                state.free += 1;
                return;
            };
            drop(state);
            match next.send(SandboxPermit(Some(self.clone()))) {
                Ok(()) => return,
                // The future was dropped. This permit must not pass itself on as well.
                Err(mut unwanted) => drop(unwanted.0.take()),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, SchedulerState> {
        self.0.lock()
    }
}

impl SchedulerState {
    fn queue(&mut self, class: WorkClass) -> &mut FairQueue<String, oneshot::Sender<SandboxPermit>> {
        match class {
            WorkClass::Accept => &mut self.accept,
            WorkClass::Deliver => &mut self.deliver,
        }
    }

    fn next(&mut self) -> Option<oneshot::Sender<SandboxPermit>> {
        if self.delivered < DELIVER_WEIGHT
            && let Some((_, next)) = self.deliver.pop()
        {
            self.delivered += 1;
            return Some(next);
        }
        self.delivered = 0;
        let next = self.accept.pop().or_else(|| self.deliver.pop());
        next.map(|(_, next)| next)
    }
}

impl Drop for SandboxPermit {
    fn drop(&mut self) {
        if let Some(scheduler) = self.0.take() {
            scheduler.pass();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiting = std::pin::Pin<Box<dyn Future<Output = SandboxPermit>>>;

    fn waiting(scheduler: &SandboxScheduler, class: WorkClass, tenant: &'static str) -> Waiting {
        let scheduler = scheduler.clone();
        let mut future: Waiting = Box::pin(async move { scheduler.acquire(class, tenant).await });
        assert!(ready(&mut future).is_none(), "no permit is free");
        future
    }

    fn ready(future: &mut Waiting) -> Option<SandboxPermit> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    /// The names in the order in which they get the one permit.
    fn order(mut permit: SandboxPermit, mut all: Vec<(&'static str, Waiting)>) -> Vec<&'static str> {
        let mut names = Vec::new();
        while !all.is_empty() {
            drop(permit);
            let next = all.iter_mut().enumerate().find_map(|(place, (_, w))| Some((place, ready(w)?)));
            let (place, granted) = next.expect("one gets it");
            names.push(all.remove(place).0);
            permit = granted;
        }
        names
    }

    #[tokio::test]
    async fn tenants_take_turns_within_a_class() {
        let scheduler = SandboxScheduler::new(1);
        let first = scheduler.acquire(WorkClass::Accept, "a").await;
        let wait = |tenant| waiting(&scheduler, WorkClass::Accept, tenant);
        let all = vec![("a1", wait("a")), ("a2", wait("a")), ("a3", wait("a")), ("b1", wait("b"))];
        assert_eq!(order(first, all), ["a1", "b1", "a2", "a3"]);
    }

    #[tokio::test]
    async fn delivery_weighs_more_and_accepting_is_not_starved() {
        let scheduler = SandboxScheduler::new(1);
        let first = scheduler.acquire(WorkClass::Accept, "a").await;
        let accept = || waiting(&scheduler, WorkClass::Accept, "a");
        let deliver = || waiting(&scheduler, WorkClass::Deliver, "a");
        let all = vec![
            ("new 1", accept()),
            ("new 2", accept()),
            ("copy 1", deliver()),
            ("copy 2", deliver()),
            ("copy 3", deliver()),
            ("copy 4", deliver()),
            ("copy 5", deliver()),
        ];
        let want = ["copy 1", "copy 2", "copy 3", "new 1", "copy 4", "copy 5", "new 2"];
        assert_eq!(order(first, all), want);
    }

    #[tokio::test]
    async fn a_place_that_is_given_up_is_passed_on() {
        let scheduler = SandboxScheduler::new(2);
        let one = scheduler.acquire(WorkClass::Accept, "a").await;
        let two = scheduler.acquire(WorkClass::Accept, "a").await;
        let gone = waiting(&scheduler, WorkClass::Accept, "a");
        let let_in = waiting(&scheduler, WorkClass::Accept, "b");
        let mut stays = waiting(&scheduler, WorkClass::Accept, "a");
        drop(gone);
        drop(one);
        // It has its permit already when it goes.
        drop(let_in);
        let three = ready(&mut stays).expect("a permit");
        drop((two, three));
        let mut state = scheduler.state();
        assert_eq!(state.free, 2);
        assert!(state.accept.pop().is_none() && state.deliver.pop().is_none());
    }

    /// A message in a file: it can be read only where blocking is allowed.
    struct InFile(std::thread::ThreadId);

    impl Source for InFile {
        fn size(&self) -> u64 {
            4
        }

        fn read_at(&self, _: u64, buf: &mut [u8]) -> std::io::Result<usize> {
            assert_ne!(std::thread::current().id(), self.0, "on the worker");
            buf.fill(b'x');
            Ok(buf.len().min(4))
        }
    }

    #[tokio::test]
    async fn memory_is_read_in_place_and_a_file_is_not() {
        let sandbox = Sandbox::new(Arc::new(crate::testing::ScriptedStages::default()));
        let here = std::thread::current().id();
        let in_memory: Arc<dyn Source> = Arc::new(b"mail".to_vec());
        let ran = sandbox.run(WorkClass::Accept, "a", &in_memory, |_, _| std::thread::current().id()).await;
        assert_eq!(ran, here);
        let in_file: Arc<dyn Source> = Arc::new(InFile(here));
        let read =
            sandbox.run(WorkClass::Accept, "a", &in_file, |_, message| message.read_at(0, &mut [0; 4]));
        assert_eq!(read.await.expect("readable"), 4);
        assert_eq!(sandbox.scheduler.state().free, permits(), "every permit came back");
    }
}
