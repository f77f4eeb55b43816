//! Replay of a span of time: what was sent is sent again, and what was never sent is sent now.

use relevo_queue::{EventError, Millis, StoredEvent};
use relevo_store::{WebhookDelivery, WebhookEndpoint, WebhookSpan, WebhookStatus};

use crate::Webhooks;
use crate::error::WebhookError;
use crate::filter::wanted_as;
use crate::reader::delivery;

/// Events that are read at once.
const PAGE: usize = 1_000;
/// Events of a span that are looked at.
const MAX_EVENTS: usize = 200_000;
/// Deliveries that a replay may add.
const MAX_ADDED: usize = 20_000;
/// Events are in the order of their commits: their times may differ from it by so much.
const SLACK: Millis = 60_000;

/// Events to be sent again, by their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplaySpan {
    /// The earliest time, milliseconds since 1970.
    pub since: Millis,
    /// The latest time.
    pub until: Millis,
    /// Deliveries that ended so. None: these, and events that the webhook was never told of, such as
    /// those while it was disabled.
    pub status: Option<WebhookStatus>,
}

impl Webhooks {
    /// Sends the events of a span that the filters of an endpoint let pass. Returns how many.
    ///
    /// # Errors
    /// There is no such endpoint, it is disabled, or the span has too many events: nothing is sent.
    pub async fn replay_span(&self, tenant: &str, id: &str, span: ReplaySpan) -> Result<u64, WebhookError> {
        let endpoint = self.get_enabled(tenant, id).await?;
        if span.since > span.until {
            return Err(WebhookError::field("until", "must not be before `since`"));
        }
        let shared = self.shared();
        let Ok(_permit) = shared.replays.try_acquire() else { return Err(WebhookError::Busy) };
        let missing = match span.status {
            None => self.in_span(&endpoint, span).await?,
            Some(_) => Vec::new(),
        };
        let stored = WebhookSpan {
            endpoint: id.to_owned(),
            since: span.since,
            until: span.until,
            status: span.status,
        };
        let replayed = shared.deliveries.replay_webhooks(&stored, shared.now()).await?;
        // Those that are there already are left as they are.
        let added = match missing.is_empty() {
            true => 0,
            false => shared.deliveries.add_missing_webhooks(&missing).await?,
        };
        shared.due.add([id.to_owned()]);
        Ok(replayed + added)
    }

    /// A delivery for each event of the span.
    async fn in_span(
        &self,
        endpoint: &WebhookEndpoint,
        span: ReplaySpan,
    ) -> Result<Vec<WebhookDelivery>, WebhookError> {
        let too_many = || WebhookError::field("until", "the span has too many events: choose a shorter one");
        let (mut found, mut seen) = (Vec::new(), 0);
        let mut after = self.position(&endpoint.tenant, span.since.saturating_sub(SLACK)).await?;
        loop {
            let events = match self.read(&endpoint.tenant, after, PAGE).await? {
                Ok(events) => events,
                Err(oldest) => {
                    after = oldest;
                    continue;
                }
            };
            let Some(last) = events.last() else { return Ok(found) };
            let is_behind = last.event.at > span.until.saturating_add(SLACK);
            (after, seen) = (last.cursor, seen + events.len());
            for event in &events {
                if !(span.since..=span.until).contains(&event.event.at) {
                    continue;
                }
                if let Some(event_type) = wanted_as(&endpoint.settings, &event.event) {
                    found.push(delivery(self.shared(), &endpoint.id, event, event_type));
                }
            }
            if is_behind {
                return Ok(found);
            }
            if seen > MAX_EVENTS || found.len() > MAX_ADDED {
                return Err(too_many());
            }
        }
    }

    /// A position before the first event of a time or later.
    async fn position(&self, tenant: &str, time: Millis) -> Result<u64, WebhookError> {
        let newest = self.shared().events.events_before(tenant, u64::MAX, 1).await;
        let newest = newest.map_err(|error| unreadable(&error.into()))?;
        let (mut low, mut high) = (0, newest.first().map_or(0, |event| event.cursor));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.read(tenant, middle, 1).await? {
                Ok(events) if events.first().is_some_and(|event| event.event.at < time) => low = middle,
                Ok(_) => high = middle,
                Err(oldest) => low = oldest.clamp(middle, high),
            }
        }
        Ok(low)
    }

    /// Events of a tenant, or the oldest position that can be read after.
    async fn read(
        &self,
        tenant: &str,
        after: u64,
        max: usize,
    ) -> Result<Result<Vec<StoredEvent>, u64>, WebhookError> {
        match self.shared().events.events(Some(tenant), after, max).await {
            Ok(events) => Ok(Ok(events)),
            Err(EventError::Pruned { oldest }) => Ok(Err(oldest)),
            Err(error) => Err(unreadable(&error)),
        }
    }
}

fn unreadable(error: &EventError) -> WebhookError {
    tracing::error!(%error, "events cannot be read for a replay");
    WebhookError::Unavailable
}
