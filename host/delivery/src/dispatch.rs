//! The scheduler: finds what is due, learns where it goes, starts workers.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use relevo_queue::{Lease, Millis, QueueKey};
use relevo_smtp::client::Failure;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};

use super::classify::fill;
use super::egress_policy::resolve_egress;
use super::failure;
use super::outcome::{all_failed, conclude, expire, is_expired};
use super::route;
use super::schedule::millis;
use super::shared::{DeliveryContext, LEASE};
use super::site::WorkerId;
use super::site_id::SiteId;
use super::table::{Plan, PutOff, Start};
use super::task::{End, contained};
use super::worker::Worker;
use crate::settings::DeliveryConfig;

/// Domains that the queue is asked for at once, and how often in a row.
const PAGE: usize = 64;
const PAGES: usize = 64;
/// Lookups at the same time.
const LOOKUPS: usize = 64;
/// Deliveries that are put off or given up at once.
const BULK: usize = 64;
/// Between two looks at the queue.
const GAP: Duration = Duration::from_millis(1);
/// The longest time without a look at the queue, whatever it promised.
const LOOK: Duration = Duration::from_secs(30);
/// Between two rounds of forgetting.
const SWEEP: Duration = Duration::from_secs(60);

/// Until delivery stops.
pub(crate) async fn run(shared: Arc<DeliveryContext>) {
    let lookups = Arc::new(Semaphore::new(LOOKUPS));
    let queue = shared.queue.clone();
    let mut changed = queue.changed();
    let mut swept = Instant::now();
    let early_ends = shared.table().shaping_mut().take_early_ends();
    for end in early_ends {
        shared.queue.hasten(&HashSet::new(), end, shared.now()).await;
    }
    while !shared.stop.is_cancelled() {
        let next = look(&shared, &lookups).await;
        let looked = Instant::now();
        if looked.duration_since(swept) >= SWEEP {
            swept = looked;
            shared.table().sweep(shared.steady());
        }
        loop {
            start(&shared);
            let wake = next_wake(&shared);
            // Always in this order, so that simulated time gives the same each time. Workers are
            // started at each turn, and what waits by shaping goes on with each look: none starves.
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => return,
                // What became due of keys that were thought to be exhausted.
                () = shared.look.notified() => break,
                () = &mut changed => {
                    changed = queue.changed();
                    break;
                }
                () = sleep_until(looked + next) => break,
                // Only workers are to be started: the queue has nothing new.
                () = shared.work.notified() => {}
                () = sleep(wake) => shared.with_table(|t| t.wake(shared.steady(), shared.now())),
            }
        }
        if looked.elapsed() < GAP {
            sleep(GAP).await;
        }
    }
}

/// The time until something that waits by shaping goes on.
fn next_wake(shared: &DeliveryContext) -> Duration {
    let next = shared.table().next_wake();
    let left = next.map(|at| u64::try_from(at.saturating_sub(shared.steady())).unwrap_or(0));
    left.map_or(LOOK, |left| Duration::from_millis(left).clamp(GAP, LOOK))
}

/// Takes in what has become due. Returns when to look again at the latest.
async fn look(shared: &Arc<DeliveryContext>, lookups: &Arc<Semaphore>) -> Duration {
    let (generation, _) = shared.settings();
    let now = shared.now();
    shared.with_table(|t| t.wake(shared.steady(), now));
    let mut seen = HashSet::new();
    for _ in 0..PAGES {
        let known = |key: &QueueKey| seen.contains(key) || shared.table().is_attended(key);
        let due = match shared.queue.due(now, &known, PAGE).await {
            Ok(due) => due,
            Err(error) => {
                shared.counters.store_errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(target: "relevo::delivery", %error, "the queue could not be read");
                return Duration::from_secs(1);
            }
        };
        if due.is_empty() {
            break;
        }
        for due in due {
            let plan = shared.table().due(&due.key, due.ready, due.tenants, shared.steady());
            match plan {
                Plan::Wait => {}
                Plan::Route => look_up(shared, lookups, due.key.clone(), generation),
                Plan::Conclude(failure) => give_up(shared, due.key.clone(), failure),
            }
            seen.insert(due.key);
        }
        start(shared);
    }
    match shared.queue.next_due(now).await {
        Some(next) => {
            Duration::from_millis(u64::try_from(next.saturating_sub(now)).unwrap_or(0)).clamp(GAP, LOOK)
        }
        None => LOOK,
    }
}

/// Starts what may be started.
fn start(shared: &Arc<DeliveryContext>) {
    loop {
        let (next, deferral) = {
            let mut table = shared.table();
            let next = table.next_start(shared.steady());
            table.evict();
            (next, table.next_deferral())
        };
        if let Some(site) = &deferral {
            put_off(shared, site.clone());
        }
        match next {
            Some(start) if !start.woken => spawn_worker(shared, start),
            Some(_) => {}
            None if deferral.is_none() => return,
            None => {}
        }
    }
}

fn next_worker(shared: &DeliveryContext) -> WorkerId {
    shared.counters.workers.fetch_add(1, Ordering::Relaxed)
}

fn spawn_worker(shared: &Arc<DeliveryContext>, start: Start) {
    let shared = shared.clone();
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let Start { site, generation, .. } = start;
        let id = next_worker(&shared);
        let worker = Worker::new(shared.clone(), site.clone(), id, generation);
        let in_hand = worker.in_hand();
        if contained(&shared, "worker", worker.run()).await == End::Died
            && let Some(lease) = in_hand.take()
        {
            recover(&shared, lease).await;
        }
        shared.with_table(|t| t.exited(&site, id, shared.steady()));
    });
}

/// What a worker that died had in hand is tried again by the schedule: at once would repeat the
/// death. At the end of a stop it is handed back.
async fn recover(shared: &DeliveryContext, lease: Arc<Lease>) {
    if shared.abandon.is_cancelled() {
        shared.hand_back(lease, None).await;
        return;
    }
    let (_, settings) = shared.settings();
    let broke = failure::ours(failure::INTERNAL, "the attempt broke; see the log");
    fail(shared, lease, &broke, 0, &*settings).await;
}

/// Concludes a lease without an attempt.
async fn fail(
    shared: &DeliveryContext,
    lease: Arc<Lease>,
    failure: &Failure,
    not_before: Millis,
    settings: &dyn DeliveryConfig,
) {
    let now = shared.now();
    let conclusion = if is_expired(&lease, now) && !failure.permanent {
        expire(lease, Some(failure), &*shared.classify, now)
    } else {
        let mut results = all_failed(&lease, failure, None);
        fill(&*shared.classify, &mut results, &[]);
        conclude(lease, results, &shared.rules(settings.delivery(), not_before), now)
    };
    shared.conclude(conclusion).await;
}

fn look_up(shared: &Arc<DeliveryContext>, lookups: &Arc<Semaphore>, domain: QueueKey, generation: u64) {
    let (shared, lookups) = (shared.clone(), lookups.clone());
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let permit = lookups.acquire_owned().await;
        let (inner, name) = (shared.clone(), domain.clone());
        let task = async move {
            let (_, settings) = inner.settings();
            tell_instead(&inner, &*settings, &name);
            let found = route::find(&*inner.resolve, &*settings, &name).await;
            let now = inner.steady();
            match found {
                Ok(found) => inner.with_table(|t| t.routed(&name, generation, found, now)),
                Err(failure) => {
                    let failure = inner.table().unroutable(&name, failure, now);
                    give_up(&inner, name, failure);
                }
            }
        };
        let end = contained(&shared, "lookup", task).await;
        drop(permit);
        if end == End::Died {
            sleep(Duration::from_secs(1)).await;
            shared.table().forget(&domain);
        }
    });
}

/// One line when mail cannot leave as it was accepted, for each tenant and reason and as long as
/// the settings are the same.
fn tell_instead(shared: &DeliveryContext, settings: &dyn DeliveryConfig, key: &QueueKey) {
    if let Some(instead) = resolve_egress(settings, key).instead
        && shared.table().is_news(format!("{} {instead}", key.tenant))
    {
        tracing::warn!(target: "relevo::delivery", tenant = %key.tenant, "{instead}");
    }
}

/// Concludes everything that a domain without a way has due.
fn give_up(shared: &Arc<DeliveryContext>, domain: QueueKey, failure: Arc<Failure>) {
    let shared = shared.clone();
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let (inner, name) = (shared.clone(), domain.clone());
        let not_before = shared.table().broken(&domain).map_or(0, |(_, until)| shared.time_of_day(until));
        let task = async move {
            let put_off = BulkEnd::Fail(failure, not_before);
            bulk(&inner, std::slice::from_ref(&name), &put_off).await;
        };
        contained(&shared, "give up", task).await;
        shared.table().concluded(&domain);
    });
}

/// Puts off what is due for a site that is down or held, without trying it: the next attempt is by
/// the schedule and not before the site's next probe, or when the hold ends. Expiry is looked at here as everywhere.
fn put_off(shared: &Arc<DeliveryContext>, site: SiteId) {
    let shared = shared.clone();
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let (inner, name) = (shared.clone(), site.clone());
        let task = async move {
            while !inner.stop.is_cancelled() {
                let next = inner.with_table(|t| t.deferral(&name, inner.steady()));
                let Some((keys, put_off)) = next else { return };
                let end = match put_off {
                    PutOff::Down(failure, until) => BulkEnd::Fail(failure, inner.time_of_day(until)),
                    PutOff::Held(until) => BulkEnd::HandBack(until),
                };
                bulk(&inner, &keys, &end).await;
                inner.exhausted(&name, &keys);
            }
        };
        if contained(&shared, "put off", task).await == End::Died {
            shared.table().deferral_died(&site);
        }
    });
}

/// What becomes of everything that is due of some keys.
enum BulkEnd {
    /// An attempt failed; there is no next one before this time.
    Fail(Arc<Failure>, Millis),
    /// There was no attempt; the next one is at this time.
    HandBack(Millis),
}

/// Leases everything due of these keys, in portions, and concludes it. What is leased when the task
/// dies is due again after the term of its lease.
async fn bulk(shared: &DeliveryContext, keys: &[QueueKey], end: &BulkEnd) {
    while !shared.stop.is_cancelled() {
        let now = shared.now();
        let leases = match shared.queue.lease(keys, now, now.saturating_add(millis(LEASE)), BULK).await {
            Ok(leases) => leases,
            Err(error) => {
                shared.counters.store_errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(target: "relevo::delivery", %error, "nothing could be leased");
                sleep(Duration::from_secs(1)).await;
                return;
            }
        };
        let (_, settings) = shared.settings();
        let count = leases.len();
        for lease in leases {
            let lease = Arc::new(lease);
            match end {
                BulkEnd::Fail(failure, not_before) => {
                    fail(shared, lease, failure, *not_before, &*settings).await;
                }
                BulkEnd::HandBack(_) if is_expired(&lease, now) => {
                    shared.conclude(expire(lease, None, &*shared.classify, now)).await;
                }
                BulkEnd::HandBack(until) => {
                    let next = (*until).min(lease.meta.expires_at);
                    shared.hand_back(lease, Some(next)).await;
                }
            }
        }
        if count < BULK {
            return;
        }
    }
}
