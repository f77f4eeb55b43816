//! What the tasks of delivery share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use relevo_queue::{ItemMeta, Lease, Millis, NewEvent, Queue, QueueKey, Settlement};
use relevo_resolve::Resolve;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attempt::Tools;
use super::dial::Dial;
use super::hosts::{Egress, NextHopPath};
use super::outcome::{AttemptResult, RecipientResult, Rules, handed_back, is_expired};
use super::schedule::millis;
use super::site_id::SiteId;
use super::table::{SiteLimits, SiteTable};
use super::tls::{TlsMemory, TlsPolicies};
use super::{DeliveryObserver, DeliveryParts};
use crate::classify::{Classify, fill};
use crate::clock::{Clock, IdSource};
use crate::copy::MakeCopy;
use crate::guard::RecipientGuard;
use crate::listener::{OutcomeEvent, OutcomeListener};
use crate::settings::{ConfigSource, DeliveryConfig, DeliverySettings};

/// The term of a lease: a delivery whose attempt was lost is due again after it.
pub(crate) const LEASE: Duration = Duration::from_secs(120);

/// All of it.
pub(crate) struct DeliveryContext {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) resolve: Arc<dyn Resolve>,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) tls: Arc<dyn TlsPolicies>,
    pub(crate) copies: Arc<dyn MakeCopy>,
    pub(crate) guard: Arc<dyn RecipientGuard>,
    pub(crate) classify: Arc<dyn Classify>,
    pub(crate) settings: Arc<dyn ConfigSource>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) observe: Arc<dyn DeliveryObserver>,
    pub(crate) listener: Option<Arc<dyn OutcomeListener>>,
    pub(crate) seed: u64,
    /// When this run of delivery began.
    started: Millis,
    pub(crate) memory: TlsMemory,
    pub(crate) counters: FaultCounters,
    pub(crate) tasks: TaskTracker,
    /// Nothing new is begun.
    pub(crate) stop: CancellationToken,
    /// Whatever is under way is given up.
    pub(crate) abandon: CancellationToken,
    /// The scheduler may start or put off something.
    pub(crate) work: Notify,
    /// The scheduler is to look at the queue.
    pub(crate) look: Notify,
    /// Something happened to a recipient of which its sender is to be told.
    pub(crate) unreported: Notify,
    /// A suspension began or ended: it is to be stored and reported.
    pub(crate) shaping_changed: Notify,
    table: Mutex<SiteTable>,
    settler: mpsc::Sender<Arc<Settlement>>,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct FaultCounters {
    pub(crate) workers: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) leases_lost: AtomicU64,
    pub(crate) store_errors: AtomicU64,
}

impl DeliveryContext {
    /// With the receiving end for the task that settles.
    pub(crate) fn new(parts: DeliveryParts) -> (Arc<Self>, mpsc::Receiver<Arc<Settlement>>) {
        let (settler, conclusions) = mpsc::channel(1024);
        let (generation, settings) = parts.settings.snapshot();
        let delivery = settings.delivery();
        let table = SiteTable::new(generation, limits(delivery), delivery.retry.clone());
        let mut table = table.shaped(delivery.shaping.clone(), parts.shaping);
        table.wake(millis(parts.clock.monotonic()), parts.clock.now());
        let shared = Self {
            started: parts.clock.now(),
            queue: parts.queue,
            resolve: parts.resolve,
            dial: parts.dial,
            tls: parts.tls,
            copies: parts.copies,
            guard: parts.guard,
            classify: parts.classify,
            settings: parts.settings,
            clock: parts.clock,
            ids: parts.ids,
            observe: parts.observe,
            listener: parts.listener,
            seed: parts.seed,
            memory: TlsMemory::default(),
            counters: FaultCounters::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            abandon: CancellationToken::new(),
            work: Notify::new(),
            look: Notify::new(),
            unreported: Notify::new(),
            shaping_changed: Notify::new(),
            table: Mutex::new(table),
            settler,
        };
        (Arc::new(shared), conclusions)
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Time for everything that is kept in memory only: it never goes back. Only differences mean
    /// something.
    pub(crate) fn steady(&self) -> Millis {
        millis(self.clock.monotonic())
    }

    /// The moment of [`Self::steady`] time as time of day.
    pub(crate) fn time_of_day(&self, steady: Millis) -> Millis {
        self.now().saturating_add(steady.saturating_sub(self.steady()))
    }

    /// Returns true if the time of a delivery is over, so that it is given up without an attempt.
    /// What expired while delivery did not run has one more attempt, which ends it whatever it
    /// finds.
    pub(crate) fn is_given_up(&self, lease: &Lease, now: Millis) -> bool {
        let expired_while_away = lease.meta.expires_at <= self.started && !lease.delivery.held;
        is_expired(lease, now) && !expired_while_away
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, SiteTable> {
        self.table.lock()
    }

    /// A call of the table that may have made work for the scheduler.
    pub(crate) fn with_table<R>(&self, call: impl FnOnce(&mut SiteTable) -> R) -> R {
        let mut table = self.table();
        let result = call(&mut table);
        if table.shaping().has_changes() {
            self.shaping_changed.notify_one();
        }
        if table.take_timer_changed() | table.has_work() | table.is_short() {
            self.work.notify_one();
        }
        result
    }

    /// The queue had nothing due of these keys. What came since was not reported: the scheduler
    /// looks again.
    pub(crate) fn exhausted(&self, site: &SiteId, keys: &[QueueKey]) {
        self.table().exhausted(site, keys);
        self.look.notify_one();
    }

    /// The settings in force; limits follow them.
    pub(crate) fn settings(&self) -> (u64, Arc<dyn DeliveryConfig>) {
        let (generation, settings) = self.settings.snapshot();
        let delivery = settings.delivery();
        self.table().reconfigure(generation, limits(delivery), &delivery.retry, &delivery.shaping);
        (generation, settings)
    }

    pub(crate) fn rules(&self, settings: &DeliverySettings, not_before: Millis) -> Rules {
        Rules {
            retry: settings.retry.clone(),
            seed: self.seed,
            not_before,
            come_back: None,
            is_partial: false,
            blame: None,
            conversation: Vec::new(),
        }
    }

    /// The same for mail over a path, whose provider may have a schedule of its own.
    pub(crate) fn rules_of(
        &self,
        path: &NextHopPath,
        settings: &DeliverySettings,
        not_before: Millis,
    ) -> Rules {
        let retry = path.shaping.provider.limits.retry.as_ref().unwrap_or(&settings.retry).clone();
        Rules { retry, ..self.rules(settings, not_before) }
    }

    pub(crate) fn tools<'a>(&'a self, now: &'a (dyn Fn() -> Millis + Send + Sync)) -> Tools<'a> {
        Tools {
            dial: &*self.dial,
            copies: &*self.copies,
            guard: &*self.guard,
            tls: &*self.tls,
            memory: &self.memory,
            now,
        }
    }

    /// Fills in what each failure of an attempt means, which greeted and left like this.
    pub(crate) fn classify(&self, results: &mut [RecipientResult], source: &Egress) {
        fill(&*self.classify, results, &source.own_names());
    }

    /// Hands a conclusion to the task that settles. Waits when that is behind, so that what is
    /// attempted and not yet on disk stays bounded.
    pub(crate) async fn conclude(&self, conclusion: AttemptResult) {
        super::outcome::log(&conclusion, self.now());
        for record in &conclusion.records {
            self.observe.concluded(record.disposition);
        }
        // Closed only after an abandoned stop: the lease then lapses into due.
        let _ = self.settler.send(Arc::new(conclusion.settlement)).await;
    }

    /// Hands a lease back unattempted.
    pub(crate) async fn hand_back(&self, lease: Arc<Lease>, next_attempt: Option<Millis>) {
        self.conclude(handed_back(lease, next_attempt)).await;
    }

    /// Events of messages are on disk: plugins that want to hear of them do.
    pub(crate) fn tell_plugins<'a>(&self, events: impl IntoIterator<Item = (&'a ItemMeta, &'a [NewEvent])>) {
        let Some(listener) = &self.listener else { return };
        let heard = events.into_iter().filter(|(meta, _)| listener.listening(&meta.tenant));
        let outcomes: Vec<OutcomeEvent> = heard.flat_map(|(meta, events)| outcomes(meta, events)).collect();
        if !outcomes.is_empty() {
            listener.observe(outcomes);
        }
    }

    /// An outcome is on disk: the task that writes bounces looks for those whose sender is to be
    /// told.
    pub(crate) fn announce_reports(&self, settlement: &Settlement) {
        if settlement.recipients.iter().any(|(_, state)| state.is_unreported()) {
            self.unreported.notify_one();
        }
    }
}

fn outcomes(meta: &ItemMeta, events: &[NewEvent]) -> Vec<OutcomeEvent> {
    let outcome =
        |event: &NewEvent| OutcomeEvent { event: event.clone(), attributes: meta.attributes.clone() };
    events.iter().map(outcome).collect()
}

fn limits(settings: &DeliverySettings) -> SiteLimits {
    SiteLimits {
        per_site: settings.connections_per_site.max(1),
        total: settings.max_connections.max(1),
        usual: settings.into(),
    }
}
