//! The API: what tenants ask for with their key.

mod auth;
mod domains;
mod events;
mod follow;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use relevo_queue::EventLog;
use relevo_relay::settings::SettingsHandle;

use crate::error::{self, RequestError};
use follow::LongPolls;

/// What the API serves.
#[derive(Clone)]
pub struct ApiServices {
    settings: SettingsHandle,
    events: Arc<dyn EventLog>,
    polls: Arc<LongPolls>,
}

impl ApiServices {
    /// `settings` has keys and domains.
    #[must_use]
    pub fn new(settings: SettingsHandle, events: Arc<dyn EventLog>) -> Self {
        Self { settings, events, polls: Arc::default() }
    }
}

pub(crate) fn routes() -> Router<ApiServices> {
    Router::new()
        .route("/events", get(events::events))
        .route("/domains/{name}/records", get(domains::records))
}

pub(crate) fn words(error: &RequestError, request_id: &str) -> Response {
    let name = match error {
        RequestError::Gone(_) => "cursor_pruned",
        error => error.name(),
    };
    error::json(error, name, request_id)
}
