//! A worker: the life of one connection to a site, and what goes over it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use relevo_mailkit::event::ConversationLine;
use relevo_queue::{Lease, Millis, QueueKey};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::attempt::{Attempt, Live, bounded, hang_up};
use super::hosts::{Egress, NextHopPath};
use super::outcome::{AttemptResult, RecipientResult, all_failed, conclude, expire, handed_back, pending};
use super::schedule::{millis, spread};
use super::shaper::TransactionSummary;
use super::shared::{DeliveryContext, LEASE};
use super::site::WorkerId;
use super::site_id::SiteId;
use super::table::{Turn, WorkerState};
use crate::settings::DeliverySettings;
use crate::shaping::{ChosenSources, Outcome, Refusal};

/// How long a connection is kept for mail that may come.
const KEEP: Duration = Duration::from_secs(2);

/// What a worker is attempting, for whoever finds that it died.
#[derive(Debug, Clone, Default)]
pub(crate) struct InHand(Arc<Mutex<Option<Arc<Lease>>>>);

impl InHand {
    fn put(&self, lease: Arc<Lease>) {
        *self.0.lock() = Some(lease);
    }

    /// Empties the hand.
    pub(crate) fn take(&self) -> Option<Arc<Lease>> {
        self.0.lock().take()
    }
}

/// What the last address said, which it was, and the whole conversation.
type Refused = (relevo_smtp::client::Failure, Option<Arc<super::outcome::Via>>, Vec<ConversationLine>);

/// One of the workers of a site.
pub(crate) struct Worker {
    shared: Arc<DeliveryContext>,
    site: SiteId,
    id: WorkerId,
    generation: u64,
    in_hand: InHand,
    live: Option<Live>,
    is_connected: bool,
    /// Messages over the connection, and deliveries of this worker.
    messages: usize,
    served: usize,
    fresh: bool,
    /// Where the connection leaves from.
    live_source: Option<Egress>,
}

/// How a message goes: over which path, from where, to how many recipients.
struct Way<'a> {
    path: &'a NextHopPath,
    source: Egress,
    chosen: ChosenSources,
    /// Recipients that were set aside in the caps of warm-up, and the day.
    reserved: (u32, i64),
}

impl Worker {
    /// For a site.
    pub(crate) fn new(shared: Arc<DeliveryContext>, site: SiteId, id: WorkerId, generation: u64) -> Self {
        Self {
            shared,
            site,
            id,
            generation,
            in_hand: InHand::default(),
            live: None,
            is_connected: false,
            messages: 0,
            served: 0,
            fresh: true,
            live_source: None,
        }
    }

    /// What it is attempting.
    pub(crate) fn in_hand(&self) -> InHand {
        self.in_hand.clone()
    }

    /// Hands over what came of the delivery in hand. From here on no fault of the worker can undo
    /// it.
    async fn conclude(&mut self, result: AttemptResult) {
        self.in_hand.take();
        self.shared.conclude(result).await;
    }

    /// Until nothing is left to do, the site is down, or the place is wanted.
    pub(crate) async fn run(mut self) {
        while !self.shared.stop.is_cancelled() {
            let state = WorkerState {
                id: self.id,
                generation: self.generation,
                served: self.served,
                connected: self.live.is_some(),
                fresh: std::mem::take(&mut self.fresh),
            };
            let turn = self.shared.table().turn(&self.site, &state, self.shared.steady());
            let goes_on = match turn {
                Turn::Lease(keys, path, chosen) => self.serve(&keys, &path, chosen).await,
                Turn::Pause(left) => self.pause(left).await,
                Turn::Idle(notify) => {
                    self.fresh = true;
                    self.idle(&notify).await
                }
                Turn::Leave => false,
            };
            if !goes_on {
                break;
            }
        }
        self.hang_up().await;
    }

    /// Keeps the connection for a while. True when there is something to do again.
    async fn idle(&mut self, notify: &Notify) -> bool {
        tokio::select! {
            biased;
            () = notify.notified() => return true,
            () = self.shared.stop.cancelled() => {}
            () = sleep(KEEP) => {}
        }
        // Woken in the same moment: then mail waits that nobody else was started for.
        !self.shared.table().stops_idling(&self.site, self.id)
    }

    /// Waits until the provider's rate lets the next message go.
    async fn pause(&mut self, left: Millis) -> bool {
        tokio::select! {
            biased;
            () = sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0))) => true,
            () = self.shared.stop.cancelled() => false,
        }
    }

    /// Leases and attempts. False: the worker is to leave.
    async fn serve(&mut self, keys: &[QueueKey], path: &NextHopPath, chosen: ChosenSources) -> bool {
        let now = self.shared.now();
        let leases = match self.shared.queue.lease(keys, now, now.saturating_add(millis(LEASE)), 1).await {
            Ok(leases) => leases,
            Err(error) => {
                self.shared.counters.store_errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(target: "relevo::delivery", %error, "nothing could be leased");
                sleep(Duration::from_secs(1)).await;
                return false;
            }
        };
        let Some(lease) = leases.into_iter().next().map(Arc::new) else {
            self.shared.table().refund(&self.site);
            self.shared.exhausted(&self.site, keys);
            return true;
        };
        self.in_hand.put(lease.clone());
        let steady = self.shared.steady();
        self.shared.with_table(|t| t.leased(&self.site, &lease.delivery.key, steady));
        let now = self.shared.now();
        if self.shared.is_given_up(&lease, now) {
            self.shared.table().refund(&self.site);
            self.conclude(expire(lease, None, &*self.shared.classify, now)).await;
            return true;
        }
        if self.shared.stop.is_cancelled() {
            self.conclude(handed_back(lease, None)).await;
            return true;
        }
        if let Some(until) = self.suspended_until(&lease, path) {
            let next = until.min(lease.meta.expires_at);
            self.conclude(handed_back(lease, Some(next))).await;
            return true;
        }
        let (_, settings) = self.shared.settings();
        let source = path.egress(settings.delivery(), chosen);
        let reserved = self.shared.table().reserve(path, &chosen, pending(&lease).count());
        if reserved.0 == 0 {
            // Another worker was faster: there is another address, or a reason to wait.
            self.shared.table().refund(&self.site);
            self.conclude(handed_back(lease, None)).await;
            return true;
        }
        let way = Way { path, source, chosen, reserved };
        self.attempt(lease, settings.delivery(), &way, now).await
    }

    /// Until when the mail of the tenant waits. What was leased is no message that goes.
    fn suspended_until(&self, lease: &Lease, path: &NextHopPath) -> Option<Millis> {
        let mut table = self.shared.table();
        let suspension = table.suspension_of_tenant(path, &lease.meta.tenant, self.shared.steady())?;
        let until = suspension.until;
        table.refund(&self.site);
        table.note_put_off(std::slice::from_ref(&lease.delivery.key), until);
        Some(until)
    }

    /// False: the site is down, or wants fewer connections.
    async fn attempt(
        &mut self,
        lease: Arc<Lease>,
        settings: &DeliverySettings,
        way: &Way<'_>,
        now: Millis,
    ) -> bool {
        let most = bounded(settings.messages_per_connection, way.path.limits().messages_per_connection);
        if self.messages >= most || self.live_source.as_ref().is_some_and(|source| *source != way.source) {
            self.hang_up().await;
        }
        self.live_source = Some(way.source.clone());
        if lease.delivery.attempts == 0 {
            let waited = now.saturating_sub(lease.delivery.due_at.max(lease.meta.accepted_at));
            self.shared.observe.first_attempt(Duration::from_millis(u64::try_from(waited).unwrap_or(0)));
        }
        let clock = self.shared.clock.clone();
        let ask = move || millis(clock.monotonic());
        let shared = self.shared.clone();
        let tools = shared.tools(&ask);
        let most = usize::try_from(way.reserved.0).unwrap_or(usize::MAX);
        let attempt = Attempt::new(&tools, settings, &lease, way.path, &way.source, (most, now)).await;
        let mut found = attempt.run(&mut self.live).await;
        let now = self.shared.now();
        self.served += 1;
        self.note_connection(found.connected);
        if let Some((failure, via)) = found.refused {
            let refused = (failure, via, found.conversation);
            self.refused(lease, refused, (settings, way), now).await;
            return false;
        }
        self.messages += 1;
        self.shared.classify(&mut found.results, &way.source);
        if self.is_connected {
            let result = TransactionSummary::of(&found.results);
            self.shared.with_table(|t| t.learned(&self.site, result, self.shared.steady()));
        }
        let mut rules = self.shared.rules_of(way.path, settings, 0);
        rules.come_back = self.learned(&lease, way, &found.results);
        rules.is_partial = pending(&lease).count() > most;
        rules.blame = found.blame;
        rules.conversation = found.conversation;
        self.conclude(conclude(lease, found.results, &rules, now)).await;
        true
    }

    /// Tells shaping what came of a message. Returns how long the next attempt waits at least.
    fn learned(&self, lease: &Lease, way: &Way<'_>, results: &[RecipientResult]) -> Option<Duration> {
        let source =
            results.iter().find_map(|r| r.via.as_ref()).and_then(|via| way.source.source_for(via.ip));
        let refusals = results.iter().filter_map(|r| {
            let reply = r.result.as_ref().err()?.reply.as_ref()?;
            Some(Refusal { classification: r.classification.as_deref()?, reply: &reply.text })
        });
        let accepted = results.iter().filter(|r| r.result.is_ok()).count();
        let sent = results.iter().filter(|r| r.may_be_there()).count();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let outcome = Outcome {
            source,
            tenant: &lease.meta.tenant,
            accepted: count(accepted),
            refusals: refusals.collect(),
        };
        self.shared.with_table(|t| {
            t.release(way.path, &way.chosen, way.reserved, (source, count(sent)));
            t.learned_refusals(&self.site, &outcome, self.shared.steady())
        })
    }

    /// Tells the table about connections made and lost.
    fn note_connection(&mut self, connected: bool) {
        if connected {
            self.messages = 0;
            self.is_connected = true;
            self.shared.with_table(|t| t.connected(&self.site, self.id, self.shared.steady()));
        }
        if self.is_connected && self.live.is_none() {
            self.is_connected = false;
            self.shared.table().disconnected(&self.site, self.id);
        }
    }

    /// No address answered: the site is down, or wants fewer connections.
    async fn refused(
        &mut self,
        lease: Arc<Lease>,
        (failure, via, conversation): Refused,
        (settings, way): (&DeliverySettings, &Way<'_>),
        now: Millis,
    ) {
        let mut results = all_failed(&lease, &failure, via.as_ref());
        self.shared.classify(&mut results, &way.source);
        let random = spread(self.shared.seed ^ now.unsigned_abs());
        let steady = self.shared.steady();
        let until = self.shared.with_table(|t| t.refused(&self.site, failure.clone(), random, steady));
        let Some(until) = until else {
            // Others stand: what was said is about this connection, and is learnt all the same.
            self.learned(&lease, way, &results);
            self.conclude(handed_back(lease, None)).await;
            return;
        };
        let mut rules = self.shared.rules_of(way.path, settings, self.shared.time_of_day(until));
        rules.come_back = self.learned(&lease, way, &results);
        rules.conversation = conversation;
        self.conclude(conclude(lease, results, &rules, now)).await;
    }

    async fn hang_up(&mut self) {
        self.messages = 0;
        if let Some(live) = self.live.take() {
            hang_up(live).await;
        }
        if self.is_connected {
            self.is_connected = false;
            self.shared.table().disconnected(&self.site, self.id);
        }
    }
}
