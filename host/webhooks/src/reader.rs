//! The reader: from the event log to deliveries.
//!
//! Deliveries and the position up to which events were read are written in one transaction. So a
//! crash neither loses nor doubles a delivery.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use relevo_queue::{EventError, StoredEvent};
use relevo_store::{ControlStoreError, WebhookDelivery, WebhookStatus};

use crate::filter::told_as;
use crate::shared::{Backoff, Shared};

/// Events that are read at once.
const PAGE: usize = 1_000;
/// A position with no delivery before it is written so often: what is read again concerns no
/// endpoint, and a write costs a sync.
const IDLE_WRITE: Duration = Duration::from_secs(60);

/// Reads events for ever.
pub(crate) async fn run(shared: &Shared) {
    let mut reader = Reader { shared, cursor: cursor(shared).await, written: Instant::now() };
    shared.metrics.position.set(reader.cursor);
    let mut backoff = Backoff::new();
    loop {
        let newest = shared.events.wait_after(reader.cursor).await;
        match reader.step(newest).await {
            Ok(()) => backoff = Backoff::new(),
            Err(error) => {
                tracing::error!(%error, "webhooks cannot read events, or cannot write deliveries");
                backoff.pause().await;
            }
        }
    }
}

async fn cursor(shared: &Shared) -> u64 {
    let mut backoff = Backoff::new();
    loop {
        match shared.deliveries.webhook_cursor(&shared.node).await {
            Ok(cursor) => return u64::try_from(cursor).unwrap_or(0),
            Err(error) => tracing::error!(%error, "the position of webhooks cannot be read"),
        }
        backoff.pause().await;
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Events(#[from] EventError),
    #[error(transparent)]
    Store(#[from] ControlStoreError),
}

struct Reader<'s> {
    shared: &'s Shared,
    cursor: u64,
    /// When the position was written.
    written: Instant,
}

impl Reader<'_> {
    /// Reads one page. `newest` was the newest position a moment ago.
    async fn step(&mut self, newest: u64) -> Result<(), ReadError> {
        // An endpoint that is made from now on is told of later events only.
        if self.shared.endpoints.is_empty() {
            return self.advance(&[], newest).await;
        }
        let events = match self.shared.events.events(None, self.cursor, PAGE).await {
            Ok(events) => events,
            Err(EventError::Pruned { oldest }) => {
                tracing::warn!(
                    position = self.cursor,
                    oldest,
                    "events were removed before webhooks had read them: no endpoint is told of these"
                );
                self.shared.metrics.lost_events();
                self.cursor = oldest;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        // Endpoints are looked at after the events: one that was made before an event is among them.
        let deliveries: Vec<_> = events.iter().flat_map(|event| deliveries(self.shared, event)).collect();
        let last = events.last().map_or(newest, |event| event.cursor);
        self.advance(&deliveries, last).await?;
        let told: HashSet<String> = deliveries.into_iter().map(|delivery| delivery.endpoint).collect();
        if !told.is_empty() {
            self.shared.due.add(told);
        }
        Ok(())
    }

    async fn advance(&mut self, deliveries: &[WebhookDelivery], cursor: u64) -> Result<(), ReadError> {
        if !deliveries.is_empty() || self.written.elapsed() >= IDLE_WRITE {
            let position = i64::try_from(cursor).unwrap_or(i64::MAX);
            self.shared.deliveries.add_webhook_deliveries(&self.shared.node, deliveries, position).await?;
            self.written = Instant::now();
        }
        self.cursor = cursor;
        self.shared.metrics.position.set(cursor);
        Ok(())
    }
}

/// The deliveries of an event.
fn deliveries(shared: &Shared, stored: &StoredEvent) -> Vec<WebhookDelivery> {
    let endpoints = shared.endpoints.of(&stored.event.tenant);
    let told = endpoints.iter().filter_map(|endpoint| Some((endpoint, told_as(endpoint, &stored.event)?)));
    told.map(|(endpoint, event_type)| delivery(shared, &endpoint.id, stored, event_type)).collect()
}

/// A new delivery of an event.
pub(crate) fn delivery(
    shared: &Shared,
    endpoint: &str,
    stored: &StoredEvent,
    event_type: &str,
) -> WebhookDelivery {
    WebhookDelivery {
        endpoint: endpoint.to_owned(),
        node: shared.node.clone(),
        event: i64::try_from(stored.cursor).unwrap_or(i64::MAX),
        event_type: event_type.to_owned(),
        message_id: stored.event.item.map(|id| id.to_string()),
        status: WebhookStatus::Pending,
        attempts: 0,
        tries: 0,
        next_at: shared.now(),
        created_at: stored.event.at,
    }
}
