//! `/webhooks/{id}/deliveries`: what was and will be sent to an endpoint. Resend's paths have
//! `events` in its place.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
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

/// Parameters of the lists of deliveries and attempts.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(in crate::api) struct StatusQuery {
    /// Entries of a page: 1 to 100; 20 without it.
    limit: Option<String>,
    /// The id of the last entry of the page before.
    after: Option<String>,
    /// `pending` (of deliveries only), `success` or `failed`.
    status: Option<String>,
}

/// The body of `POST /webhooks/{id}/replay`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ReplayFields {
    /// Events of this time and later: RFC 3339.
    since: String,
    /// Events of this time and earlier.
    until: String,
    /// `success` or `failed`; absent: these, and events that were never sent.
    #[serde(default)]
    status: Option<String>,
}

/// How many events are sent again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Replayed {
    object: &'static str,
    count: u64,
}

/// Lists deliveries, the newest event first.
#[utoipa::path(
    get,
    path = "/webhooks/{id}/deliveries",
    tag = "webhooks",
    params(("id" = String, Path, description = "The id of the webhook."), StatusQuery),
    responses((status = 200, description = "A page.", body = Page<DeliverySummary>)),
)]
pub(in crate::api) async fn list(
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
#[utoipa::path(
    get,
    path = "/webhooks/{id}/deliveries/{delivery}",
    tag = "webhooks",
    params(("id" = String, Path, description = "The id of the webhook."), ("delivery" = String, Path, description = "The `webhook-id` of the delivery.")),
    responses((status = 200, description = "The delivery.", body = DeliveryDetails)),
)]
pub(in crate::api) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path((id, delivery)): Path<(String, String)>,
) -> Result<Json<DeliveryDetails>, RequestError> {
    let found = services.webhooks.delivery(&caller.tenant, &id, &delivery).await?;
    let payload = services.webhooks.payload(&caller.tenant, &found.delivery).await?;
    Ok(Json(DeliveryDetails::of(found, payload)))
}

/// Lists the attempts for an endpoint, the newest first.
#[utoipa::path(
    get,
    path = "/webhooks/{id}/attempts",
    tag = "webhooks",
    params(("id" = String, Path, description = "The id of the webhook."), StatusQuery),
    responses((status = 200, description = "A page.", body = Page<AttemptView>)),
)]
pub(in crate::api) async fn attempts(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    query: Result<Query<StatusQuery>, QueryRejection>,
) -> Result<Json<Page<AttemptView>>, RequestError> {
    list_attempts(&services, &caller, &id, None, query).await
}

/// Lists the attempts of a delivery, the newest first.
#[utoipa::path(
    get,
    path = "/webhooks/{id}/deliveries/{delivery}/attempts",
    tag = "webhooks",
    params(("id" = String, Path, description = "The id of the webhook."), ("delivery" = String, Path, description = "The `webhook-id` of the delivery."), StatusQuery),
    responses((status = 200, description = "A page.", body = Page<AttemptView>)),
)]
pub(in crate::api) async fn attempts_of(
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
#[utoipa::path(
    post,
    path = "/webhooks/{id}/deliveries/{delivery}/replay",
    tag = "webhooks",
    params(("id" = String, Path, description = "The id of the webhook."), ("delivery" = String, Path, description = "The `webhook-id` of the delivery.")),
    responses((status = 200, description = "Its id.", body = body::Object)),
)]
pub(in crate::api) async fn replay(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path((id, delivery)): Path<(String, String)>,
) -> Result<Json<body::Object>, RequestError> {
    services.webhooks.replay(&caller.tenant, &id, &delivery).await?;
    Ok(Json(body::Object::new("webhook_event", delivery)))
}

/// Sends the events of a span of time again.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/replay",
    tag = "webhooks",
    params(("id" = String, Path, description = "The id of the webhook.")),
    request_body = ReplayFields,
    responses((status = 200, description = "How many events are sent again.", body = Replayed)),
)]
pub(in crate::api) async fn replay_span(
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
