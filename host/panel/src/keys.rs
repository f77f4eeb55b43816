//! API keys.

use axum::Router;

use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
}
