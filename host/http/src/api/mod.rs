//! The API: what tenants ask for with their key.

mod auth;
mod body;
mod domains;
mod emails;
mod events;
mod follow;
mod list;
mod stats;
mod suppressions;
mod templates;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::Response;
use axum::routing::{get, post};
use relevo_queue::EventLog;
use relevo_relay::emails::Emails;
use relevo_relay::sending::Sending;
use relevo_relay::settings::SettingsHandle;
use relevo_relay::suppressions::Suppressions;
use relevo_relay::templates::Templates;
use relevo_statistics::Statistics;

use crate::error::{self, RequestError};
use follow::LongPolls;

/// What the API serves.
#[derive(Clone)]
pub struct ApiServices {
    settings: SettingsHandle,
    events: Arc<dyn EventLog>,
    templates: Templates,
    suppressions: Arc<Suppressions>,
    sending: Sending,
    emails: Emails,
    statistics: Statistics,
    polls: Arc<LongPolls>,
}

impl ApiServices {
    /// `settings` has keys and domains.
    #[must_use]
    pub fn new(
        settings: SettingsHandle,
        events: Arc<dyn EventLog>,
        templates: Templates,
        suppressions: Arc<Suppressions>,
        sending: Sending,
        statistics: Statistics,
    ) -> Self {
        let emails = Emails::new(Arc::clone(&events));
        let polls = Arc::default();
        Self { settings, events, templates, suppressions, sending, emails, statistics, polls }
    }
}

/// Octets of a JSON body.
const MAX_JSON: usize = 8 << 20;

pub(crate) fn routes() -> Router<ApiServices> {
    Router::new()
        .route("/emails", get(emails::list).post(emails::send).layer(DefaultBodyLimit::max(emails::MAX_BODY)))
        .route("/emails/batch", post(emails::send_batch).layer(DefaultBodyLimit::max(emails::MAX_BODY)))
        .route("/emails/cancel", post(emails::cancel_all))
        .route("/emails/{id}", get(emails::show).patch(emails::reschedule))
        .route("/emails/{id}/cancel", post(emails::cancel))
        .route("/events", get(events::events))
        .route("/domains/{name}/records", get(domains::records))
        .route("/stats", get(stats::stats))
        .route("/stats/benchmark", get(stats::benchmark))
        .route("/templates", get(templates::list).post(templates::create))
        .route("/templates/{name}", get(templates::show).patch(templates::update).delete(templates::delete))
        .route("/templates/{name}/publish", post(templates::publish))
        .route("/templates/{name}/duplicate", post(templates::duplicate))
        .route("/templates/{name}/versions", get(templates::versions))
        .route("/templates/{name}/versions/{version}", get(templates::version))
        .route("/templates/{name}/render", post(templates::render))
        .route("/render", post(templates::render_source))
        .route("/suppressions", get(suppressions::list).post(suppressions::add))
        .route("/suppressions/{name}", get(suppressions::show).delete(suppressions::delete))
        .route("/suppressions/batch/add", post(suppressions::add_batch))
        .route("/suppressions/batch/remove", post(suppressions::remove_batch))
        .route("/suppressions/remove", post(suppressions::remove))
        .route("/suppressions/export", get(suppressions::export))
        .route("/suppressions/import", post(suppressions::import))
        .layer(DefaultBodyLimit::max(MAX_JSON))
}

pub(crate) fn words(error: &RequestError, request_id: &str) -> Response {
    let name = match error {
        RequestError::Gone(_) => "cursor_pruned",
        error => error.name(),
    };
    error::json(error, name, request_id)
}
