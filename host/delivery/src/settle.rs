//! The task that settles: what was attempted while the last commit ran goes into the next one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use relevo_queue::{DeliveryId, Settlement, StoreError};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::shared::DeliveryContext;

/// Settlements in one call.
const GROUP: usize = 256;
/// How long the first of a group waits for others. Nobody waits for a settlement, and a commit
/// costs as much as a delivery; a crash in this time repeats what it costs anyway: the attempts of
/// the last moment.
const GATHER: Duration = Duration::from_millis(5);
/// Between attempts to write.
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// Until `close` is cancelled and everything that was sent is settled.
pub(crate) async fn run(
    shared: Arc<DeliveryContext>,
    mut conclusions: mpsc::Receiver<Arc<Settlement>>,
    close: CancellationToken,
) {
    let mut group = Vec::new();
    loop {
        let n = tokio::select! {
            biased;
            n = conclusions.recv_many(&mut group, GROUP) => n,
            () = close.cancelled(), if !conclusions.is_closed() => {
                conclusions.close();
                continue;
            }
        };
        if n == 0 {
            return;
        }
        if n < GROUP && !conclusions.is_closed() {
            sleep(GATHER).await;
            while group.len() < GROUP
                && let Ok(settlement) = conclusions.try_recv()
            {
                group.push(settlement);
            }
        }
        settle(&shared, std::mem::take(&mut group)).await;
    }
}

/// Tries until the group is on disk. What the store no longer holds for us is left out. A store
/// that fails keeps everything waiting, and the leases with it: nobody else attempts these
/// deliveries meanwhile.
async fn settle(shared: &DeliveryContext, mut group: Vec<Arc<Settlement>>) {
    let mut wait = RETRY[0];
    while !group.is_empty() {
        match shared.queue.settle(group.clone(), Vec::new()).await {
            Ok(()) => {
                shared.tell_plugins(group.iter().map(|s| (&*s.lease.meta, &s.events[..])));
                group.iter().for_each(|settlement| shared.announce_reports(settlement));
                hasten_released(shared, &group).await;
                return;
            }
            Err(StoreError::LeaseLost(id)) if group.iter().any(|s| is_of(s, id)) => {
                shared.counters.leases_lost.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(target: "relevo::delivery", ?id, "a lease lapsed before it was settled: it may be repeated");
                group.retain(|s| !is_of(s, id));
            }
            Err(error @ (StoreError::LeaseLost(_) | StoreError::Corrupt(_) | StoreError::KnownKey)) => {
                // One of them cannot be settled: find out which.
                if group.len() == 1 {
                    tracing::error!(target: "relevo::delivery", %error, "an outcome could not be stored");
                    return;
                }
                for settlement in group {
                    Box::pin(settle(shared, vec![settlement])).await;
                }
                return;
            }
            Err(
                error @ (StoreError::Full
                | StoreError::NoInodes
                | StoreError::Io(_)
                | StoreError::Unavailable(_)),
            ) => {
                shared.counters.store_errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(target: "relevo::delivery", %error, waiting = group.len(), "outcomes cannot be stored");
                tokio::select! {
                    () = sleep(wait) => wait = (wait * 2).min(RETRY[1]),
                    () = shared.abandon.cancelled() => {
                        tracing::error!(
                            target: "relevo::delivery", %error, outcomes = group.len(),
                            "stopping without having stored these outcomes: their attempts will be repeated"
                        );
                        return;
                    }
                }
            }
        }
    }
}

/// Makes due at once what was handed back for a hold that ended before that was on disk: whoever
/// ended the hold could not find it yet.
async fn hasten_released(shared: &DeliveryContext, settled: &[Arc<Settlement>]) {
    for settlement in settled.iter().filter(|settlement| settlement.recipients.is_empty()) {
        let Some(until) = settlement.next_attempt else { continue };
        let is_released = shared.table().is_released(&settlement.lease, until, shared.steady());
        if is_released {
            let keys = [settlement.lease.delivery.key.clone()].into();
            shared.queue.hasten(&keys, until, shared.now()).await;
        }
    }
}

fn is_of(settlement: &Settlement, id: DeliveryId) -> bool {
    settlement.lease.delivery.id == id
}
