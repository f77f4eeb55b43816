//! The API: what tenants ask for with their key.

mod auth;
mod domains;
mod events;
mod follow;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use relevo_queue::EventLog;
use relevo_relay::settings::SettingsHandle;
use serde::Serialize;

use crate::error::RequestError;
use follow::Waits;

/// What the API serves.
#[derive(Clone)]
pub struct ApiServices {
    settings: SettingsHandle,
    events: Arc<dyn EventLog>,
    waits: Arc<Waits>,
}

impl ApiServices {
    /// `settings` has keys and domains.
    #[must_use]
    pub fn new(settings: SettingsHandle, events: Arc<dyn EventLog>) -> Self {
        Self { settings, events, waits: Arc::default() }
    }
}

pub(crate) fn routes() -> Router<ApiServices> {
    Router::new()
        .route("/events", get(events::events))
        .route("/domains/{name}/records", get(domains::records))
}

/// `{"statusCode":422,"name":"validation_error","message":"...","param":"after","request_id":"..."}`.
#[derive(Debug, Serialize)]
struct ErrorBody<'a> {
    /// The HTTP status again, for clients that log bodies.
    #[serde(rename = "statusCode")]
    status_code: u16,
    name: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    /// Also in the `X-Request-Id` field and in the log.
    request_id: &'a str,
}

pub(crate) fn words(error: &RequestError, request_id: &str) -> Response {
    let status: StatusCode = error.status();
    let param = match error {
        RequestError::Invalid { param, .. } => *param,
        _ => None,
    };
    let name = match error {
        RequestError::Gone(_) => "cursor_pruned",
        error => error.name(),
    };
    let body =
        ErrorBody { status_code: status.as_u16(), name, message: error.to_string(), param, request_id };
    (status, Json(body)).into_response()
}
