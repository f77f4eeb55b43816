//! What shaping keeps across a restart, and what it reports: suspensions and counts of warm-up.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use relevo_delivery::DeliveryHandle;
use relevo_delivery::shaping::{
    Shaping, ShapingChange, Suspended, SuspendedBy, Suspension, WarmupCount, WarmupKey,
};
use relevo_mailkit::event::{Event, ShapingSuspension};
use relevo_queue::{EventLog, Millis, NewEvent};
use relevo_store::{ControlStoreError, ShapingStore, SuspensionRecord, WarmupRecord};
use tracing::{error, info, warn};

use crate::clock::{Clock, timestamp};

/// Time between two looks for counts of warm-up that the store has to know.
const WRITE: Duration = Duration::from_millis(500);
/// Time until something that could not be stored is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Tries to change a count that other nodes change, before the next look.
const CLAIMS: usize = 8;

/// Reads what an earlier run has stored.
///
/// # Errors
/// The store's.
pub async fn restore(store: &dyn ShapingStore, now: Millis) -> Result<Shaping, ControlStoreError> {
    let suspensions = store.suspensions(now).await?;
    let suspensions = suspensions.into_iter().filter_map(|record| match suspension(&record) {
        Some(suspension) => Some(suspension),
        None => {
            warn!(subject = record.subject, "a suspension in the store cannot be read");
            None
        }
    });
    let suspensions = suspensions.collect();
    let early_ends = store.early_ends(now).await?;
    let warmups = store.warmups().await?.iter().filter_map(warmup).collect();
    Ok(Shaping::restored(suspensions, early_ends, warmups))
}

fn suspension(record: &SuspensionRecord) -> Option<Suspension> {
    let by = if record.made_by == "operator" { SuspendedBy::Operator } else { SuspendedBy::Rule };
    Some(Suspension {
        subject: record.subject.parse().ok()?,
        provider: record.provider.clone(),
        since: record.since,
        until: record.until,
        by,
        author: record.author.clone(),
        reason: record.reason.clone(),
    })
}

fn record(suspension: &Suspension) -> SuspensionRecord {
    SuspensionRecord {
        subject: suspension.subject.to_string(),
        provider: suspension.provider.clone(),
        since: suspension.since,
        until: suspension.until,
        made_by: made_by(suspension.by).to_owned(),
        author: suspension.author.clone(),
        reason: suspension.reason.clone(),
    }
}

fn made_by(by: SuspendedBy) -> &'static str {
    match by {
        SuspendedBy::Rule => "rule",
        SuspendedBy::Operator => "operator",
    }
}

fn warmup(record: &WarmupRecord) -> Option<(WarmupKey, WarmupCount)> {
    let count = |n: i64| u32::try_from(n.max(0)).unwrap_or(u32::MAX);
    let key = WarmupKey { address: record.address.parse().ok()?, provider: record.provider.clone() };
    let counts = WarmupCount {
        day: record.day,
        step: count(record.step),
        used: count(record.used),
        accepted: count(record.accepted),
        deferred: count(record.deferred),
        complaints: count(record.complaints),
        hour: record.hour,
        in_hour: count(record.in_hour),
        note: record.note.clone(),
    };
    Some((key, counts))
}

fn warmup_record(key: &WarmupKey, count: &WarmupCount) -> WarmupRecord {
    WarmupRecord {
        address: key.address.to_string(),
        provider: key.provider.clone(),
        day: count.day,
        step: count.step.into(),
        used: count.used.into(),
        accepted: count.accepted.into(),
        deferred: count.deferred.into(),
        complaints: count.complaints.into(),
        hour: count.hour,
        in_hour: count.in_hour.into(),
        note: count.note.clone(),
    }
}

/// Stores and reports what changes.
pub struct ShapingKeeper {
    delivery: DeliveryHandle,
    store: Arc<dyn ShapingStore>,
    events: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    /// Changes that are not stored yet, in their order.
    unstored: Mutex<Vec<ShapingChange>>,
}

impl ShapingKeeper {
    /// For this delivery.
    #[must_use]
    pub fn new(
        delivery: DeliveryHandle,
        store: Arc<dyn ShapingStore>,
        events: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { delivery, store, events, clock, unstored: Mutex::default() }
    }

    /// Stores changes as they come, until it is dropped.
    pub async fn run(&self) {
        loop {
            tokio::select! {
                () = self.delivery.shaping_changed() => {}
                () = tokio::time::sleep(WRITE) => {}
            }
            let stored = self.write_changes().await & self.write_warmups().await;
            if !stored {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Stores what is left after delivery was stopped, with counts of warm-up as they are.
    pub async fn finish(&self) {
        self.write_changes().await;
        match self.delivery.shares_warmups() {
            true => self.claim_warmups(true).await,
            false => self.put(&self.delivery.final_warmups()).await,
        };
    }

    /// Returns false if the store failed: these and later changes wait.
    async fn write_changes(&self) -> bool {
        let changes = self.delivery.take_shaping_changes();
        self.report(&changes).await;
        self.unstored.lock().extend(changes);
        loop {
            let Some(change) = self.unstored.lock().first().cloned() else { return true };
            if let Err(error) = self.store_change(&change).await {
                warn!(%error, "a suspension cannot be stored: it is in memory only");
                return false;
            }
            self.unstored.lock().remove(0);
        }
    }

    async fn store_change(&self, change: &ShapingChange) -> Result<(), ControlStoreError> {
        match change {
            ShapingChange::Suspended(suspension) => self.store.put_suspension(&record(suspension)).await,
            ShapingChange::Resumed(suspension, _) => {
                let subject = suspension.subject.to_string();
                self.store.delete_suspension(&subject, &suspension.provider, suspension.until).await
            }
            ShapingChange::EndsEarlier(end) => self.store.put_early_end(*end).await,
        }
    }

    async fn report(&self, changes: &[ShapingChange]) {
        if changes.is_empty() {
            return;
        }
        let now = self.clock.now();
        let events = changes.iter().filter_map(|change| event(change, now)).collect();
        if let Err(error) = self.events.append(events).await {
            error!(%error, "events of shaping are lost");
        }
    }

    async fn write_warmups(&self) -> bool {
        if self.delivery.shares_warmups() {
            return self.claim_warmups(false).await;
        }
        let counts = self.delivery.unstored_warmups();
        counts.is_empty() || self.put(&counts).await
    }

    /// Takes slices of warm-up from the store's counts, which are those of all nodes.
    async fn claim_warmups(&self, is_last: bool) -> bool {
        for key in self.delivery.warmup_claims(is_last) {
            if let Err(error) = self.claim_warmup(&key, is_last).await {
                warn!(%error, "counts of warm-up cannot be stored: mail from new addresses waits");
                return false;
            }
        }
        true
    }

    async fn claim_warmup(&self, key: &WarmupKey, is_last: bool) -> Result<(), ControlStoreError> {
        let address = key.address.to_string();
        for _ in 0..CLAIMS {
            let before = self.store.warmup(&address, &key.provider).await?;
            let row = before.as_ref().and_then(warmup).map(|(_, count)| count);
            let Some(claim) = self.delivery.claim_warmup(key, row.as_ref(), is_last) else { return Ok(()) };
            let after = warmup_record(key, &claim.after);
            let is_made = self.store.exchange_warmup(before.as_ref(), &after).await?;
            self.delivery.claimed_warmup(key, &claim, is_made);
            if is_made {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn put(&self, counts: &[(WarmupKey, WarmupCount)]) -> bool {
        let records: Vec<_> = counts.iter().map(|(key, count)| warmup_record(key, count)).collect();
        match self.store.put_warmups(&records).await {
            Ok(()) => {
                self.delivery.stored_warmups(counts);
                true
            }
            Err(error) => {
                warn!(%error, "counts of warm-up cannot be stored: mail from new addresses waits");
                false
            }
        }
    }
}

/// The event, in the log of the tenant whose mail it is; of no tenant otherwise.
/// None: there is another change that tells it.
fn event(change: &ShapingChange, now: Millis) -> Option<NewEvent> {
    let (suspension, resumed_by) = match change {
        ShapingChange::EndsEarlier(_) => return None,
        ShapingChange::Suspended(suspension) => (suspension, None),
        ShapingChange::Resumed(suspension, by) => (suspension, by.clone()),
    };
    let id = suspension.id();
    let data = ShapingSuspension {
        suspension: id.clone(),
        provider: suspension.provider.clone(),
        until: timestamp(suspension.until),
        made_by: made_by(suspension.by).to_owned(),
        author: suspension.author.clone(),
        reason: suspension.reason.clone(),
        resumed_by,
    };
    let tenant = match &suspension.subject {
        Suspended::Tenant(tenant) => tenant.clone(),
        Suspended::Source(_) | Suspended::Pool(_) => String::new(),
    };
    let event = match change {
        ShapingChange::Suspended(_) => Event::ShapingSuspended(data),
        _ => Event::ShapingResumed(data),
    };
    info!(target: "relevo::shaping", suspension = id, until = timestamp(suspension.until), "{}", event.name());
    Some(NewEvent { tenant, at: now, item: None, labels: Default::default(), event })
}
