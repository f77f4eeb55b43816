//! Webhooks: events of a tenant, posted to its endpoints by the Standard Webhooks specification.
//!
//! * The reader follows the event log. It writes deliveries and its position in one transaction.
//! * The sender posts what is due, fair among tenants and with bounds for each endpoint.
//! * [`Webhooks`] is what the API changes and shows.
//!
//! A delivery is sent at least once. Its `webhook-id` is the same in every attempt.

mod admin;
mod body;
mod endpoints;
mod error;
mod filter;
mod maintenance;
mod metrics;
mod post;
mod reader;
mod replay;
mod retry;
mod sender;
mod shared;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use relevo_fetch::Fetcher;
use relevo_queue::{EventLog, Millis};
use relevo_store::{WebhookDeliveryStore, WebhookEndpointStore};

pub use admin::{DeliveryView, NewWebhook, TestResult, WebhookChange, Webhooks};
pub use body::timestamp;
pub use error::WebhookError;
pub use filter::{ALIASES, event_names};
pub use metrics::WebhookMetrics;
pub use relevo_store::{StoredTag, WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookStatus};
pub use replay::ReplaySpan;
pub use shared::{attempt_id, delivery_id};

use shared::Shared;

/// What webhooks are made of.
pub struct WebhookParts {
    /// The endpoints.
    pub endpoints: Arc<dyn WebhookEndpointStore>,
    /// Their deliveries.
    pub deliveries: Arc<dyn WebhookDeliveryStore>,
    /// What is told.
    pub events: Arc<dyn EventLog>,
    /// Names the event log: letters and digits. Another log has another name.
    pub node: String,
    /// The client.
    pub fetcher: Fetcher,
    /// Milliseconds since 1970.
    pub now: Arc<dyn Fn() -> Millis + Send + Sync>,
    /// For operators.
    pub metrics: WebhookMetrics,
    /// Limits.
    pub config: WebhookConfig,
}

/// Limits of webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// URLs may be `http`.
    pub allow_http: bool,
    /// Endpoints of a tenant.
    pub max_endpoints: u32,
    /// Deliveries that wait for one endpoint; with more it is disabled.
    pub max_pending: u64,
    /// Requests at the same time: in all, of one tenant and to one endpoint.
    pub connections: ConnectionBounds,
    /// Time of one request.
    pub timeout: Duration,
    /// Delays before the second, third, ... attempt. After the last one a delivery is given up.
    pub retry: Vec<Duration>,
    /// An endpoint that has failed for so long is disabled.
    pub disable_after: Duration,
    /// Time that deliveries are kept.
    pub retention: Duration,
}

/// Requests at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionBounds {
    /// In all.
    pub total: usize,
    /// Of one tenant.
    pub per_tenant: usize,
    /// To one endpoint. To one that fails there is one.
    pub per_endpoint: usize,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 3_600;
        const DAY: u64 = 24 * HOUR;
        let retry = [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, DAY];
        Self {
            allow_http: false,
            max_endpoints: 20,
            max_pending: 1_000_000,
            connections: ConnectionBounds { total: 256, per_tenant: 64, per_endpoint: 8 },
            timeout: Duration::from_secs(20),
            retry: retry.map(Duration::from_secs).into(),
            disable_after: Duration::from_secs(5 * DAY),
            retention: Duration::from_secs(14 * DAY),
        }
    }
}

impl Webhooks {
    /// Makes the handle, and reads nothing before [`Self::run`].
    #[must_use]
    pub fn new(parts: WebhookParts) -> Self {
        Self::with(Arc::new(Shared::new(parts)))
    }

    /// Reads events, sends deliveries and removes old ones, for ever. Dropping the future ends
    /// requests under way; they are made again after the next start.
    pub async fn run(&self) {
        let shared = self.shared();
        endpoints::load(shared).await;
        tokio::join!(reader::run(shared), sender::run(shared), maintenance::run(shared));
    }
}
