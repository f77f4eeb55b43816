//! Topics, and what contacts chose of them.

mod contact;
mod edit;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;

use crate::state::PanelState;

/// A topic.
#[derive(Debug, Clone, Deserialize)]
struct Topic {
    id: String,
    name: String,
    #[serde(default)]
    description: String,
    default_subscription: String,
    visibility: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TopicsQuery {
    after: String,
    email: String,
    done: Option<String>,
}

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/topics", get(edit::list))
        .route("/topics/new", get(edit::fresh).post(edit::create))
        .route("/topics/contact", get(contact::page).post(contact::choose))
        .route("/topics/{id}", get(edit::page).post(edit::save))
        .route("/topics/{id}/delete", post(edit::delete))
}
