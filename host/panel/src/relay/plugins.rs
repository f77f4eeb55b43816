//! Plugins with their versions, faults and shadow reports.

use axum::Router;

use crate::state::PanelState;

pub(super) fn routes() -> Router<PanelState> {
    Router::new()
}
