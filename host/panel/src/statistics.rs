//! What became of the mail, with charts.

use axum::Router;

use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
}
