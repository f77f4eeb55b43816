//! What answers about webhooks show.

use std::collections::BTreeMap;

use relevo_webhooks::{StoredTag, TestResult, WebhookAttempt, WebhookEndpoint, attempt_id, timestamp};
use serde::{Deserialize, Serialize};

/// `enabled` or `disabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum WebhookStateName {
    /// Events are sent.
    Enabled,
    /// No events are sent, and none are kept.
    Disabled,
}

impl WebhookStateName {
    pub(super) fn is_enabled(self) -> bool {
        self == Self::Enabled
    }
}

/// An endpoint in an answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct WebhookView {
    object: &'static str,
    id: String,
    created_at: String,
    status: WebhookStateName,
    /// Why it was disabled, if not by its owner.
    disabled_reason: Option<String>,
    /// Since when every attempt has failed.
    failing_since: Option<String>,
    /// The URL that events are posted to.
    endpoint: String,
    /// Event types; null: all.
    events: Option<Vec<String>>,
    description: String,
    tags: Vec<TagView>,
    streams: Vec<String>,
    /// Further fields of every request.
    headers: BTreeMap<String, String>,
    /// The newest secret: `whsec_` and base64. Lists and changes do not show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
}

/// A condition on tags.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct TagView {
    name: String,
    /// Null: any.
    value: Option<String>,
}

impl From<StoredTag> for TagView {
    fn from(StoredTag { name, value }: StoredTag) -> Self {
        Self { name, value }
    }
}

impl WebhookView {
    pub(super) fn with_secret(endpoint: WebhookEndpoint) -> Self {
        let secret = endpoint.settings.secrets.first().map(|stored| stored.secret.clone());
        Self { signing_secret: secret, ..Self::without_secret(endpoint) }
    }

    pub(super) fn without_secret(endpoint: WebhookEndpoint) -> Self {
        let settings = endpoint.settings;
        Self {
            object: "webhook",
            id: endpoint.id,
            created_at: timestamp(endpoint.created_at),
            status: if endpoint.enabled { WebhookStateName::Enabled } else { WebhookStateName::Disabled },
            disabled_reason: endpoint.disabled_reason,
            failing_since: endpoint.failing_since.map(timestamp),
            endpoint: endpoint.url,
            events: Some(settings.types).filter(|types| !types.is_empty()),
            description: settings.description,
            tags: settings.tags.into_iter().map(Into::into).collect(),
            streams: settings.streams,
            headers: settings.headers.into_iter().collect(),
            signing_secret: None,
        }
    }
}

/// What came of a test.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct TestView {
    object: &'static str,
    /// Its `webhook-id`.
    id: String,
    /// `success` or `failed`.
    status: &'static str,
    /// Status of the answer; null: there was no answer.
    http_status_code: Option<i64>,
    /// The beginning of the answer's body, or the error.
    response: String,
    duration_ms: u64,
}

impl From<TestResult> for TestView {
    fn from(result: TestResult) -> Self {
        Self {
            object: "webhook_test",
            id: result.id,
            status: name(result.succeeded),
            http_status_code: result.status,
            response: result.detail,
            duration_ms: u64::try_from(result.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn name(succeeded: bool) -> &'static str {
    if succeeded { "success" } else { "failed" }
}

/// A delivery in a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct DeliverySummary {
    /// Its `webhook-id`.
    pub(super) id: String,
    /// The event type.
    #[serde(rename = "type")]
    pub(super) event_type: String,
    /// Time of the event.
    pub(super) created_at: String,
    /// `pending`, `attempting`, `success` or `failed`.
    pub(super) status: &'static str,
    /// Null: it has ended.
    pub(super) next_attempt_at: Option<String>,
    /// Attempts so far.
    pub(super) attempts: i64,
    /// The message that the event is about.
    pub(super) message_id: Option<String>,
}

/// A delivery.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct DeliveryDetails {
    pub(super) object: &'static str,
    #[serde(flatten)]
    pub(super) summary: DeliverySummary,
    /// The body; null: the event is no longer kept.
    #[schema(value_type = Option<Object>)]
    pub(super) payload: Option<serde_json::Value>,
}

/// An attempt.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct AttemptView {
    id: String,
    /// The `webhook-id` of its delivery.
    delivery_id: String,
    /// From 1.
    number: i64,
    /// `success` or `failed`.
    status: &'static str,
    /// Status of the answer; null: there was no answer.
    http_status_code: Option<i64>,
    /// The beginning of the answer's body, or the error.
    response: String,
    sent_at: String,
    duration_ms: i64,
}

impl AttemptView {
    pub(super) fn of(attempt: WebhookAttempt) -> Self {
        Self {
            id: attempt_id(&attempt),
            delivery_id: format!("msg_{}_{}", attempt.node, attempt.event),
            number: attempt.number,
            status: name(attempt.status.is_some_and(|status| (200..300).contains(&status))),
            http_status_code: attempt.status,
            response: attempt.detail,
            sent_at: timestamp(attempt.started_at),
            duration_ms: attempt.took,
        }
    }
}
