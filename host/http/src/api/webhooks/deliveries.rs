//! `/webhooks/{id}/deliveries`: what was and will be sent to an endpoint. Resend's paths have
//! `events` in its place.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use relevo_webhooks::{ReplaySpan, WebhookStatus, delivery_id};
use serde::{Deserialize, Serialize};

use super::super::ApiServices;
use super::super::auth::Caller;
use super::super::body;
use super::super::list::{ListQuery, Page};
use super::super::suppressions::instant;
use super::views::{AttemptView, DeliveryDetails, DeliverySummary};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

pub(super) fn routes(name: &str) -> Router<ApiServices> {
    Router::new()
        .route(&format!("/webhooks/{{id}}/{name}"), get(list))
        .route(&format!("/webhooks/{{id}}/{name}/{{delivery}}"), get(show))
        .route(&format!("/webhooks/{{id}}/{name}/{{delivery}}/attempts"), get(attempts_of))
        .route(&format!("/webhooks/{{id}}/{name}/{{delivery}}/replay"), post(replay))
}

/// Parameters of the lists of deliveries and attempts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StatusQuery {
    limit: Option<String>,
    after: Option<String>,
    status: Option<String>,
}

/// The body of `POST /webhooks/{id}/replay`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayFields {
    /// Events of this time and later: RFC 3339.
    since: String,
    /// Events of this time and earlier.
    until: String,
    /// `success` or `failed`; absent: these, and events that were never sent.
    #[serde(default)]
    status: Option<String>,
}

/// How many events are sent again.
#[derive(Debug, Serialize)]
pub(super) struct Replayed {
    object: &'static str,
    count: u64,
}

/// Lists deliveries, the newest event first.
async fn list(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    query: Result<Query<StatusQuery>, QueryRejection>,
) -> Result<Json<Page<DeliverySummary>>, RequestError> {
    let StatusQuery { limit, after, status } = error::query(query)?;
    let bounds = ListQuery { limit, after }.bounds()?;
    let status = status.as_deref().map(delivery_status).transpose()?;
    let max = bounds.with_one_more();
    let found = services.webhooks.deliveries(&caller.tenant, &id, status, &bounds.after, max).await?;
    Ok(Json(bounds.page(found, DeliverySummary::of)))
}

/// Shows a delivery with its body.
async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path((id, delivery)): Path<(String, String)>,
) -> Result<Json<DeliveryDetails>, RequestError> {
    let found = services.webhooks.delivery(&caller.tenant, &id, &delivery).await?;
    let payload = services.webhooks.payload(&caller.tenant, &found.delivery).await?;
    Ok(Json(DeliveryDetails::of(found, payload)))
}

/// Lists the attempts for an endpoint, the newest first.
pub(super) async fn attempts(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    query: Result<Query<StatusQuery>, QueryRejection>,
) -> Result<Json<Page<AttemptView>>, RequestError> {
    list_attempts(&services, &caller, &id, None, query).await
}

/// Lists the attempts of a delivery, the newest first.
async fn attempts_of(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path((id, delivery)): Path<(String, String)>,
    query: Result<Query<StatusQuery>, QueryRejection>,
) -> Result<Json<Page<AttemptView>>, RequestError> {
    list_attempts(&services, &caller, &id, Some(&delivery), query).await
}

async fn list_attempts(
    services: &ApiServices,
    caller: &Caller,
    id: &str,
    delivery: Option<&str>,
    query: Result<Query<StatusQuery>, QueryRejection>,
) -> Result<Json<Page<AttemptView>>, RequestError> {
    let StatusQuery { limit, after, status } = error::query(query)?;
    let bounds = ListQuery { limit, after }.bounds()?;
    let succeeded = status.as_deref().map(ended_status).transpose()?;
    let succeeded = succeeded.map(|status| status == WebhookStatus::Success);
    let max = bounds.with_one_more();
    let webhooks = &services.webhooks;
    let found = webhooks.attempts(&caller.tenant, id, delivery, succeeded, &bounds.after, max).await?;
    Ok(Json(bounds.page(found, AttemptView::of)))
}

/// Sends an ended delivery again.
async fn replay(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path((id, delivery)): Path<(String, String)>,
) -> Result<Json<body::Object>, RequestError> {
    services.webhooks.replay(&caller.tenant, &id, &delivery).await?;
    Ok(Json(body::Object::new("webhook_event", delivery)))
}

/// Sends the events of a span of time again.
pub(super) async fn replay_span(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Replayed>, RequestError> {
    let fields: ReplayFields = body::read(&body)?;
    let span = ReplaySpan {
        since: instant("since", &fields.since)?,
        until: instant("until", &fields.until)?,
        status: fields.status.as_deref().map(ended_status).transpose()?,
    };
    let count = services.webhooks.replay_span(&caller.tenant, &id, span).await?;
    Ok(Json(Replayed { object: "webhook_replay", count }))
}

fn delivery_status(name: &str) -> Result<WebhookStatus, RequestError> {
    let message = "must be pending, success or failed";
    WebhookStatus::of_name(name).ok_or_else(|| RequestError::invalid("status", message))
}

fn ended_status(name: &str) -> Result<WebhookStatus, RequestError> {
    let status = WebhookStatus::of_name(name).filter(|status| *status != WebhookStatus::Pending);
    status.ok_or_else(|| RequestError::invalid("status", "must be success or failed"))
}

impl DeliverySummary {
    fn of(view: relevo_webhooks::DeliveryView) -> Self {
        let status = if view.is_attempting { "attempting" } else { view.delivery.status.name() };
        let is_pending = view.delivery.status == WebhookStatus::Pending;
        Self {
            id: delivery_id(&view.delivery),
            event_type: view.delivery.event_type,
            created_at: relevo_webhooks::timestamp(view.delivery.created_at),
            status,
            next_attempt_at: is_pending.then(|| relevo_webhooks::timestamp(view.delivery.next_at)),
            attempts: view.delivery.attempts,
            message_id: view.delivery.message_id,
        }
    }
}

impl DeliveryDetails {
    fn of(view: relevo_webhooks::DeliveryView, payload: Option<serde_json::Value>) -> Self {
        Self { object: "webhook_event", summary: DeliverySummary::of(view), payload }
    }
}
