//! Sending domains, what to publish for them, and how they stand.

mod health;
mod list;
mod reputation;
mod show;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;

use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/domains", get(list::page).post(list::add))
        .route("/domains/{name}", get(show::page))
        .route("/domains/{name}/verify", post(show::verify))
        .route("/domains/{name}/settings", post(show::change))
        .route("/domains/{name}/remove", post(show::remove))
        .route("/domains/{name}/health", get(health::page))
        .route("/reputation", get(reputation::page))
}

/// One check of a domain.
#[derive(Debug, Deserialize)]
struct Check {
    check: String,
    #[serde(default)]
    about: Option<String>,
    status: String,
    message: String,
    #[serde(default)]
    record: Option<RecordToPublish>,
    source: String,
}

/// The record that makes a check pass.
#[derive(Debug, Deserialize)]
struct RecordToPublish {
    r#type: String,
    name: String,
    value: String,
    #[serde(default)]
    replaces: Vec<String>,
}

impl Check {
    /// Returns true if somebody should do something.
    fn is_open(&self) -> bool {
        ["fail", "warn"].contains(&self.status.as_str())
    }
}
