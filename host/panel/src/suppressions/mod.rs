//! Suppressed addresses: the list, changes of it, and what can be said of an address.

mod check;
mod import;
mod list;
mod model;
#[cfg(test)]
mod tests;
mod undo;

use axum::Router;
use axum::routing::{get, post};

use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/suppressions", get(list::page).post(list::add))
        .route("/suppressions/import", get(import::page).post(import::import))
        .route("/suppressions/export", get(import::export))
        .route("/suppressions/undo", get(undo::page).post(undo::undo))
        .route("/suppressions/check", get(check::page).post(check::check))
        .route("/suppressions/{id}/remove", post(list::remove))
}
