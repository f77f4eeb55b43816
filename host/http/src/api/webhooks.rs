//! `/webhooks`: endpoints that are told of events.

pub(super) mod deliveries;
mod views;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use relevo_webhooks::{ALIASES, NewWebhook, StoredTag, WebhookChange, WebhookError, Webhooks, event_names};
use serde::{Deserialize, Serialize};

use self::views::{TestView, WebhookStateName, WebhookView};
use super::ApiServices;
use super::admission::Subject;
use super::auth::Caller;
use super::body;
use super::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// Time for which secrets overlap, unless a request says another.
const OVERLAP: u64 = 24 * 3_600;
/// The longest time for which secrets overlap.
const MAX_OVERLAP: u64 = 7 * 24 * 3_600;

/// The body of `POST /webhooks`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookFields {
    /// The URL that events are posted to.
    endpoint: String,
    /// Event types; absent or empty: all.
    #[serde(default)]
    events: Option<Vec<String>>,
    /// `enabled` unless given.
    #[serde(default)]
    status: Option<WebhookStateName>,
    /// For people.
    #[serde(default)]
    description: Option<String>,
    /// Only events about messages with one of these tags.
    #[serde(default)]
    tags: Option<Vec<TagFields>>,
    /// Only events about messages of these streams.
    #[serde(default)]
    streams: Option<Vec<String>>,
    /// Further fields of every request, by name.
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
}

/// The body of `PATCH /webhooks/{id}`. A field that is absent stays as it is.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WebhookUpdate {
    /// The URL that events are posted to.
    endpoint: Option<String>,
    /// Event types; empty: all.
    events: Option<Vec<String>>,
    /// `enabled` or `disabled`.
    status: Option<WebhookStateName>,
    /// For people.
    description: Option<String>,
    /// Tags; empty: no condition.
    tags: Option<Vec<TagFields>>,
    /// Streams; empty: all.
    streams: Option<Vec<String>>,
    /// Further fields of every request: all of them are replaced.
    headers: Option<BTreeMap<String, String>>,
}

/// A condition on tags.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TagFields {
    /// Name of the tag.
    name: String,
    /// Value of the tag; absent: any.
    #[serde(default)]
    value: Option<String>,
}

/// The body of `POST /webhooks/{id}/rotate-secret`; it may be empty.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RotateSecretFields {
    /// Seconds for which the secrets of before sign, too: a day unless given, a week at most.
    overlap_seconds: Option<u64>,
}

impl From<WebhookError> for RequestError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Field { param, message } => Self::invalid(param, message),
            WebhookError::NotFound(message) => Self::NotFound(message.to_owned()),
            WebhookError::Conflict(message) => Self::Conflict(message),
            WebhookError::Busy => Self::TooMany { retry_after: Duration::from_secs(1) },
            WebhookError::Unavailable => Self::unavailable(),
        }
    }
}

impl From<TagFields> for StoredTag {
    fn from(TagFields { name, value }: TagFields) -> Self {
        Self { name, value }
    }
}

fn tags(tags: Vec<TagFields>) -> Vec<StoredTag> {
    tags.into_iter().map(Into::into).collect()
}

/// Makes an endpoint. The answer has its secret.
#[utoipa::path(
    post,
    path = "/webhooks",
    tag = "webhooks",
    request_body = WebhookFields,
    responses((status = 201, description = "The webhook with its secret.", body = WebhookView)),
)]
pub(super) async fn create(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<(StatusCode, Extension<Subject>, Json<WebhookView>), RequestError> {
    let fields: WebhookFields = body::read(&body)?;
    let new = NewWebhook {
        url: fields.endpoint,
        enabled: fields.status.unwrap_or(WebhookStateName::Enabled).is_enabled(),
        description: fields.description.unwrap_or_default(),
        types: fields.events.unwrap_or_default(),
        tags: tags(fields.tags.unwrap_or_default()),
        streams: fields.streams.unwrap_or_default(),
        headers: fields.headers.unwrap_or_default().into_iter().collect(),
    };
    let made = services.webhooks.create(&caller.tenant, new).await?;
    let subject = Extension(Subject(made.id.clone()));
    Ok((StatusCode::CREATED, subject, Json(WebhookView::with_secret(made))))
}

/// Lists endpoints by id.
#[utoipa::path(
    get,
    path = "/webhooks",
    tag = "webhooks",
    params(ListQuery),
    responses((status = 200, description = "A page.", body = Page<WebhookView>)),
)]
pub(super) async fn list(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page<WebhookView>>, RequestError> {
    let bounds = error::query(query)?.bounds()?;
    let found = services.webhooks.list(&caller.tenant, &bounds.after, bounds.with_one_more()).await?;
    Ok(Json(bounds.page(found, WebhookView::without_secret)))
}

/// A type of event that an endpoint may ask for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct EventTypeView {
    /// Such as `email.delivered`.
    name: &'static str,
    /// The type that it is another name of.
    #[serde(skip_serializing_if = "Option::is_none")]
    alias_of: Option<&'static str>,
}

/// Lists the types of events that `events` may name.
#[utoipa::path(
    get,
    path = "/webhooks/event-types",
    tag = "webhooks",
    responses((status = 200, description = "All of them.", body = Page<EventTypeView>)),
)]
pub(super) async fn event_types(Proven(_): Proven<Caller>) -> Json<Page<EventTypeView>> {
    let alias_of = |name| ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, of)| *of);
    let view = |name| EventTypeView { name, alias_of: alias_of(name) };
    Json(Page::whole(event_names().map(view).collect()))
}

/// Shows an endpoint with its secret.
#[utoipa::path(
    get,
    path = "/webhooks/{id}",
    tag = "webhooks",
    params(("id" = String, Path, description = "The id of the webhook.")),
    responses((status = 200, description = "The webhook with its secret.", body = WebhookView)),
)]
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
) -> Result<Json<WebhookView>, RequestError> {
    Ok(Json(WebhookView::with_secret(services.webhooks.get(&caller.tenant, &id).await?)))
}

/// Changes the fields that are given, all or none.
#[utoipa::path(
    patch,
    path = "/webhooks/{id}",
    tag = "webhooks",
    params(("id" = String, Path, description = "The id of the webhook.")),
    request_body = WebhookUpdate,
    responses((status = 200, description = "The webhook as it is now.", body = WebhookView)),
)]
pub(super) async fn update(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<WebhookView>, RequestError> {
    let fields: WebhookUpdate = body::read(&body)?;
    let change = WebhookChange {
        url: fields.endpoint,
        enabled: fields.status.map(WebhookStateName::is_enabled),
        description: fields.description,
        types: fields.events,
        tags: fields.tags.map(tags),
        streams: fields.streams,
        headers: fields.headers.map(|headers| headers.into_iter().collect()),
    };
    let changed = services.webhooks.change(&caller.tenant, &id, change).await?;
    Ok(Json(WebhookView::without_secret(changed)))
}

/// Deletes an endpoint with its deliveries.
#[utoipa::path(
    delete,
    path = "/webhooks/{id}",
    tag = "webhooks",
    params(("id" = String, Path, description = "The id of the webhook.")),
    responses((status = 200, description = "It is gone.", body = body::Deleted)),
)]
pub(super) async fn delete(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
) -> Result<Json<body::Deleted>, RequestError> {
    services.webhooks.delete(&caller.tenant, &id).await?;
    Ok(Json(body::Deleted::new("webhook", id)))
}

/// Gives an endpoint another secret. The secrets of before sign, too, for a time.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/rotate-secret",
    tag = "webhooks",
    params(("id" = String, Path, description = "The id of the webhook.")),
    request_body = Option<RotateSecretFields>,
    responses((status = 200, description = "The webhook with its new secret.", body = WebhookView)),
)]
pub(super) async fn rotate(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<WebhookView>, RequestError> {
    let fields: RotateSecretFields = body::read_or_default(&body)?;
    let overlap = fields.overlap_seconds.unwrap_or(OVERLAP);
    if overlap > MAX_OVERLAP {
        return Err(RequestError::invalid("overlap_seconds", format!("must be at most {MAX_OVERLAP}")));
    }
    let webhooks: &Webhooks = &services.webhooks;
    let rotated = webhooks.rotate(&caller.tenant, &id, Duration::from_secs(overlap)).await?;
    Ok(Json(WebhookView::with_secret(rotated)))
}

/// Posts a test to an endpoint, and shows what came of it.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/test",
    tag = "webhooks",
    params(("id" = String, Path, description = "The id of the webhook.")),
    responses((status = 200, description = "What the endpoint answered, also where it failed.", body = TestView)),
)]
pub(super) async fn test(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
) -> Result<Json<TestView>, RequestError> {
    Ok(Json(services.webhooks.test(&caller.tenant, &id).await?.into()))
}
