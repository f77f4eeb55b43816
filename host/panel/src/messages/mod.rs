//! Messages: the list with its search, and one message.

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
}
