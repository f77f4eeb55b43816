//! Webhooks: endpoints of tenants, and what was and will be sent to them.

mod deliveries;
mod endpoints;

pub use deliveries::{
    PendingWebhooks, WebhookAttempt, WebhookAttemptFilter, WebhookAttemptPlace, WebhookDelivery,
    WebhookDeliveryFilter, WebhookDeliveryPlace, WebhookDeliveryStore, WebhookFailing, WebhookSettlement,
    WebhookSpan, WebhookStatus,
};
pub use endpoints::{StoredSecret, StoredTag, WebhookEndpoint, WebhookEndpointStore, WebhookSettings};
