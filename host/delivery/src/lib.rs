//! Delivery: from what is due in the queue to an outcome for every recipient.
//!
//! One task ([`dispatch`]) learns from the queue which domains have something due, looks up their
//! sites, and starts workers. A worker is one connection: it leases deliveries of its site and
//! attempts them. What it finds goes to one task that settles in groups. All scheduling state is in
//! one table; everything that matters is in the queue.

mod attempt;
mod bounce;
mod classify;
pub mod clock;
mod copy;
mod dial;
mod dispatch;
mod egress_policy;
mod failure;
mod fit;
mod guard;
mod hosts;
mod limits;
mod listener;
mod metrics;
mod network;
mod operate;
mod outcome;
mod places;
mod relay_report;
mod round_robin;
mod route;
mod schedule;
pub mod settings;
mod settle;
mod shaper;
pub mod shaping;
mod shared;
mod site;
mod site_id;
mod table;
mod task;
mod text;
mod tls;
mod why;
mod worker;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use relevo_queue::{ItemId, ItemView, Millis, Queue, QueueKey, Settlement, StoreError};
use relevo_resolve::Resolve;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use classify::{Classify, Unclassified};
pub use copy::{Copy, CopyError, HopAbilities, MakeCopy, blame};
pub use dial::{Dial, Hop, HopOffer};
pub use guard::{RecipientGuard, Unguarded};
pub use limits::{LimitShares, LimitUse, SharedLimit};
pub use listener::{OutcomeEvent, OutcomeListener};
pub use metrics::{DeliveryCounters, DeliveryGauges};
pub use network::NetworkDial;
pub use operate::DomainShaping;
pub use outcome::Disposition;
pub use places::KeyPlace;
pub use relevo_submission::{Links, Recipe, RecipeError, Signing};
pub use text::remote_text;
pub use tls::{HostTls, NoTlsPolicies, REPORT_SOURCE, TlsPlan, TlsPolicies, TlsQuestion, TlsSession};
pub use why::{Last, RecipientWait};

use clock::{Clock, IdSource};
use settings::ConfigSource;
use shaping::Shaping;
use shared::DeliveryContext;

/// How long writing outcomes may take at the end of a stop.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Is told what happens, for metrics. Called from any task; must not block.
pub trait DeliveryObserver: Send + Sync {
    /// A recipient's outcome of an attempt.
    fn concluded(&self, _fate: Disposition) {}

    /// A first attempt begins, so long after it was due.
    fn first_attempt(&self, _waited: Duration) {}
}

/// Hears nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Unobserved;

impl DeliveryObserver for Unobserved {}

/// What delivery is made of.
pub struct DeliveryParts {
    /// What is to be delivered.
    pub queue: Arc<dyn Queue>,
    /// Where.
    pub resolve: Arc<dyn Resolve>,
    /// Over what: the network ([`NetworkDial`]), or a capture.
    pub dial: Arc<dyn Dial>,
    /// What TLS recipient domains need.
    pub tls: Arc<dyn TlsPolicies>,
    /// What each recipient gets.
    pub copies: Arc<dyn MakeCopy>,
    /// Who must get nothing any more.
    pub guard: Arc<dyn RecipientGuard>,
    /// What a receiver's words mean.
    pub classify: Arc<dyn Classify>,
    /// How.
    pub settings: Arc<dyn ConfigSource>,
    /// For metrics.
    pub observe: Arc<dyn DeliveryObserver>,
    /// Plugins that want to hear of outcomes.
    pub listener: Option<Arc<dyn OutcomeListener>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids of bounces.
    pub ids: Arc<dyn IdSource>,
    /// For jitter; any number that differs between hosts.
    pub seed: u64,
    /// Suspensions and counts of warm-up of an earlier run.
    pub shaping: Shaping,
}

impl DeliveryParts {
    /// Starts the tasks of delivery on the current runtime. They run until
    /// [`DeliveryHandle::stop`].
    #[must_use]
    pub fn start(self) -> DeliveryHandle {
        self.prepare().start()
    }

    /// Makes the handle that others need, and attempts nothing until [`PreparedDelivery::start`].
    #[must_use]
    pub fn prepare(self) -> PreparedDelivery {
        let (shared, conclusions) = DeliveryContext::new(self);
        let (loops, settled, ended) =
            (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        PreparedDelivery { handle: DeliveryHandle { shared, loops, settled, ended }, conclusions }
    }
}

/// Delivery before its start. Dropping it is safe: nothing was attempted.
pub struct PreparedDelivery {
    handle: DeliveryHandle,
    conclusions: mpsc::Receiver<Arc<Settlement>>,
}

impl PreparedDelivery {
    /// Has caps divided among nodes by `shares`.
    #[must_use]
    pub fn sharing(self, shares: Arc<dyn LimitShares>) -> Self {
        self.handle.shared.table().share_limits(shares);
        self
    }

    /// The handle of the delivery that will run.
    #[must_use]
    pub fn handle(&self) -> DeliveryHandle {
        self.handle.clone()
    }

    /// Starts the tasks of delivery on the current runtime. They run until
    /// [`DeliveryHandle::stop`].
    #[must_use]
    pub fn start(self) -> DeliveryHandle {
        let Self { handle, conclusions } = self;
        let DeliveryHandle { shared, loops, settled, ended } = &handle;
        let supervise = |name, task: fn(Arc<DeliveryContext>) -> task::Boxed| {
            loops.spawn(task::supervised(shared.clone(), name, task));
        };
        supervise("dispatch", |s| Box::pin(dispatch::run(s)));
        supervise("bounce", |s| Box::pin(bounce::run(s)));
        let (settling, guard) =
            (settle::run(shared.clone(), conclusions, settled.clone()), ended.clone().drop_guard());
        loops.spawn(async move {
            let _guard = guard;
            settling.await;
        });
        loops.close();
        handle
    }
}

/// Delivery under way. Cheap to clone.
#[derive(Clone)]
pub struct DeliveryHandle {
    shared: Arc<DeliveryContext>,
    loops: TaskTracker,
    settled: CancellationToken,
    /// Cancelled when the task that settles outcomes has ended.
    ended: CancellationToken,
}

/// Counts and gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliveryStats {
    /// Workers: connections, open or being opened.
    pub active: usize,
    /// Of these, without mail at the moment.
    pub idle: usize,
    /// Deliveries that are attempted, or attempted and not yet settled on disk.
    pub in_flight: usize,
    /// Sites known.
    pub sites: usize,
    /// Sites that are down.
    pub sites_down: usize,
    /// Tasks that panicked.
    pub panics: u64,
    /// Leases that lapsed before they were settled.
    pub leases_lost: u64,
    /// Calls of the store that failed.
    pub store_errors: u64,
    /// For how long the oldest delivery has been due: much more than a minute means that something
    /// is stuck.
    pub oldest_due: Option<Duration>,
}

impl DeliveryHandle {
    /// Waits until outcomes are no longer settled: delivery was stopped, or its task panicked. The
    /// other tasks are started again.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ended.clone().cancelled_owned()
    }

    /// Begins nothing new, lets attempts finish until `deadline`, gives the others up, hands
    /// everything back. When it returns, every outcome is on disk that could be written.
    pub async fn stop(&self, deadline: Duration) {
        let shared = &self.shared;
        shared.stop.cancel();
        shared.tasks.close();
        if timeout(deadline, shared.tasks.wait()).await.is_err() {
            tracing::warn!(target: "relevo::delivery", in_flight = self.stats().in_flight, "attempts are given up");
        }
        shared.abandon.cancel();
        let last = async {
            shared.tasks.wait().await;
            self.settled.cancel();
            self.loops.wait().await;
        };
        if timeout(LAST_WRITES, last).await.is_err() {
            tracing::error!(target: "relevo::delivery", "outcomes could not be stored: their attempts will be repeated");
        }
    }

    /// A message was queued of which a recipient was refused: its sender is to be told soon.
    pub fn refused(&self) {
        self.shared.unreported.notify_one();
    }

    /// What every recipient of the item waits for. None when it is gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn why(&self, item: ItemId) -> Result<Option<Vec<RecipientWait>>, StoreError> {
        let item = self.shared.queue.item(item).await?;
        Ok(item.map(|item| self.why_of(&item)))
    }

    /// The same for an item that was read already.
    #[must_use]
    pub fn why_of(&self, item: &ItemView) -> Vec<RecipientWait> {
        let (_, settings) = self.shared.settings();
        why::why(
            item,
            &self.shared.table(),
            (&*settings, &*self.shared.classify),
            why::Times { now: self.shared.now(), steady: self.shared.steady() },
        )
    }

    /// An operator asked for an attempt (`queue retry`, `queue release`): sites and lookups of
    /// these queue keys that failed are tried again at once. Call it before [`Queue::act`].
    pub fn reset_backoff<'a>(&self, keys: impl IntoIterator<Item = &'a QueueKey>) {
        let mut table = self.shared.table();
        for key in keys {
            table.reset_backoff(key);
        }
    }

    /// Connections of each configured pool, open or being opened; sorted by name.
    #[must_use]
    pub fn pools(&self) -> Vec<(String, usize)> {
        let (_, settings) = self.shared.settings();
        let mut active = self.shared.table().active_by_pool();
        let names = settings.delivery().pools.keys();
        let mut pools: Vec<_> = names.map(|name| (name.clone(), active.remove(name).unwrap_or(0))).collect();
        pools.sort();
        pools
    }

    /// Counts and gauges.
    #[must_use]
    pub fn stats(&self) -> DeliveryStats {
        let shared = &self.shared;
        let (active, idle, sites, sites_down) = shared.table().counts();
        let queue = shared.queue.stats();
        let late =
            |due: Millis| Duration::from_millis(u64::try_from(shared.now().saturating_sub(due)).unwrap_or(0));
        DeliveryStats {
            active,
            idle,
            in_flight: usize::try_from(queue.leased).unwrap_or(usize::MAX),
            sites,
            sites_down,
            panics: shared.counters.panics.load(Ordering::Relaxed),
            leases_lost: shared.counters.leases_lost.load(Ordering::Relaxed),
            store_errors: shared.counters.store_errors.load(Ordering::Relaxed),
            oldest_due: queue.oldest_due.map(late),
        }
    }
}
