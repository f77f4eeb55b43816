//! Webhooks: endpoints that are told what happens, and what was sent to them.

mod deliveries;
mod delivery;
mod edit;
mod list;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;

use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/webhooks", get(list::page).post(edit::create))
        .route("/webhooks/new", get(edit::new))
        .route("/webhooks/{id}", get(show::page))
        .route("/webhooks/{id}/edit", get(edit::page).post(edit::change))
        .route("/webhooks/{id}/enable", post(show::enable))
        .route("/webhooks/{id}/disable", post(show::disable))
        .route("/webhooks/{id}/test", post(show::test))
        .route("/webhooks/{id}/rotate", post(show::rotate))
        .route("/webhooks/{id}/delete", post(show::delete))
        .route("/webhooks/{id}/replay", post(deliveries::replay_span))
        .route("/webhooks/{id}/deliveries", get(deliveries::page))
        .route("/webhooks/{id}/deliveries/{delivery}", get(delivery::page))
        .route("/webhooks/{id}/deliveries/{delivery}/replay", post(delivery::replay))
}

#[derive(Debug, Deserialize)]
struct Webhook {
    id: String,
    created_at: String,
    status: String,
    disabled_reason: Option<String>,
    failing_since: Option<String>,
    endpoint: String,
    /// None: all.
    events: Option<Vec<String>>,
    description: String,
    tags: Vec<TagCondition>,
    streams: Vec<String>,
    headers: BTreeMap<String, String>,
    /// Lists have none.
    #[serde(default)]
    signing_secret: Option<String>,
}

#[derive(Debug, Deserialize)]
struct TagCondition {
    name: String,
    value: Option<String>,
}

impl TagCondition {
    /// As a form has it: `name`, or `name:value`.
    fn line(&self) -> String {
        match &self.value {
            Some(value) => format!("{}:{value}", self.name),
            None => self.name.clone(),
        }
    }
}

impl Webhook {
    fn is_enabled(&self) -> bool {
        self.status == "enabled"
    }

    /// The state for people: one that only fails is told apart.
    fn state(&self) -> &str {
        if self.is_enabled() && self.failing_since.is_some() { "failing" } else { &self.status }
    }
}

/// A delivery, in a list or alone.
#[derive(Debug, Deserialize)]
struct Delivery {
    id: String,
    r#type: String,
    created_at: String,
    status: String,
    next_attempt_at: Option<String>,
    attempts: u64,
    message_id: Option<String>,
}
