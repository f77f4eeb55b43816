//! Messages: the list with its search, and one message.

pub(crate) mod content;
mod list;
mod show;

use axum::Router;
use axum::routing::{get, post};

use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/messages", get(list::page))
        .route("/messages/{id}", get(show::page))
        .route("/messages/{id}/cancel", post(show::cancel))
        .route("/messages/{id}/resend", post(show::resend))
        .route("/messages/{id}/content", get(content::page))
        .route("/messages/{id}/html", get(content::html))
        .route("/messages/{id}/changes", get(content::changes))
        .route("/messages/{id}/source", get(content::source))
        .route("/messages/{id}/source.eml", get(content::download))
        .route("/messages/{id}/attachments/{number}", get(content::attachment))
}
