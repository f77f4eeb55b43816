//! The relay at a glance.

use axum::Router;

use crate::state::PanelState;

pub(super) fn routes() -> Router<PanelState> {
    Router::new()
}
