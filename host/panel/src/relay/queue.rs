//! The queue by site, messages in it, and what may be done about them.

use axum::Router;

use crate::state::PanelState;

pub(super) fn routes() -> Router<PanelState> {
    Router::new()
}
