//! What reader, sender and API share.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use relevo_fetch::Fetcher;
use relevo_queue::{EventLog, Millis};
use relevo_store::{WebhookAttempt, WebhookDelivery, WebhookDeliveryStore, WebhookEndpointStore};
use tokio::sync::{Notify, Semaphore};

use crate::endpoints::Endpoints;
use crate::{WebhookConfig, WebhookMetrics, WebhookParts};

/// Replays of a span at the same time.
const REPLAYS: usize = 2;
/// The shortest and the longest pause before the store is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

pub(crate) struct Shared {
    pub(crate) endpoint_store: Arc<dyn WebhookEndpointStore>,
    pub(crate) deliveries: Arc<dyn WebhookDeliveryStore>,
    pub(crate) events: Arc<dyn EventLog>,
    pub(crate) node: String,
    pub(crate) fetcher: Fetcher,
    pub(crate) metrics: WebhookMetrics,
    pub(crate) config: WebhookConfig,
    pub(crate) endpoints: Endpoints,
    pub(crate) due: DueSignal,
    /// Tenants that test an endpoint now.
    pub(crate) testing: Mutex<HashSet<String>>,
    pub(crate) replays: Semaphore,
    /// Endpoint and event of deliveries that are being sent.
    attempting: Mutex<HashSet<(String, i64)>>,
    clock: Arc<dyn Fn() -> Millis + Send + Sync>,
}

impl Shared {
    pub(crate) fn new(parts: WebhookParts) -> Self {
        let WebhookParts { endpoints, deliveries, events, node, fetcher, now, metrics, config } = parts;
        Self {
            endpoint_store: endpoints,
            deliveries,
            events,
            node,
            fetcher,
            metrics,
            config,
            endpoints: Endpoints::default(),
            due: DueSignal::default(),
            testing: Mutex::default(),
            replays: Semaphore::new(REPLAYS),
            attempting: Mutex::default(),
            clock: now,
        }
    }

    pub(crate) fn now(&self) -> Millis {
        (self.clock)()
    }

    pub(crate) fn began(&self, delivery: &WebhookDelivery) {
        let count = {
            let mut attempting = self.attempting.lock();
            attempting.insert((delivery.endpoint.clone(), delivery.event));
            attempting.len()
        };
        self.metrics.in_flight(count);
    }

    pub(crate) fn ended(&self, endpoint: &str, event: i64) {
        let count = {
            let mut attempting = self.attempting.lock();
            attempting.remove(&(endpoint.to_owned(), event));
            attempting.len()
        };
        self.metrics.in_flight(count);
    }

    pub(crate) fn is_attempting(&self, delivery: &WebhookDelivery) -> bool {
        delivery.node == self.node
            && self.attempting.lock().contains(&(delivery.endpoint.clone(), delivery.event))
    }
}

/// Endpoints that may have something due.
#[derive(Debug, Default)]
pub(crate) struct DueSignal {
    endpoints: Mutex<HashSet<String>>,
    added: Notify,
}

impl DueSignal {
    pub(crate) fn add(&self, endpoints: impl IntoIterator<Item = String>) {
        self.endpoints.lock().extend(endpoints);
        self.added.notify_one();
    }

    pub(crate) fn take(&self) -> HashSet<String> {
        std::mem::take(&mut *self.endpoints.lock())
    }

    pub(crate) async fn wait(&self) {
        self.added.notified().await;
    }
}

/// Pauses between tries of a store that fails.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(PAUSES.0)
    }

    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSES.1);
    }
}

/// The id of a delivery: its `webhook-id`, the same in every attempt.
#[must_use]
pub fn delivery_id(delivery: &WebhookDelivery) -> String {
    format!("msg_{}_{}", delivery.node, delivery.event)
}

/// The id of an attempt.
#[must_use]
pub fn attempt_id(attempt: &WebhookAttempt) -> String {
    format!("atm_{}_{}_{}", attempt.node, attempt.event, attempt.number)
}

/// Node and event of the id of a delivery.
pub(crate) fn parse_delivery_id(id: &str) -> Option<(&str, i64)> {
    let (node, event) = id.strip_prefix("msg_")?.rsplit_once('_')?;
    Some((node, event.parse().ok()?))
}

/// Node, event and number of the id of an attempt.
pub(crate) fn parse_attempt_id(id: &str) -> Option<(&str, i64, i64)> {
    let (rest, number) = id.strip_prefix("atm_")?.rsplit_once('_')?;
    let (node, event) = rest.rsplit_once('_')?;
    Some((node, event.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use relevo_store::WebhookStatus;

    use super::*;

    #[test]
    fn ids_are_read_again() {
        let delivery = WebhookDelivery {
            endpoint: "w".into(),
            node: "4f1c".into(),
            event: 77,
            event_type: String::new(),
            message_id: None,
            status: WebhookStatus::Pending,
            attempts: 0,
            tries: 0,
            next_at: 0,
            created_at: 0,
        };
        let id = delivery_id(&delivery);
        assert!(!id.contains('.'), "the signature joins by full stops");
        assert_eq!(parse_delivery_id(&id), Some(("4f1c", 77)));
        let attempt = WebhookAttempt {
            node: "4f1c".into(),
            event: 77,
            number: 3,
            started_at: 0,
            took: 0,
            status: None,
            detail: String::new(),
        };
        assert_eq!(parse_attempt_id(&attempt_id(&attempt)), Some(("4f1c", 77, 3)));
        for wrong in ["", "msg_", "msg_4f1c", "msg_4f1c_x", "atm_4f1c_7", "4f1c_7"] {
            assert_eq!((parse_delivery_id(wrong), parse_attempt_id(wrong)), (None, None), "{wrong}");
        }
    }
}
