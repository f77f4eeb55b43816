//! Tenants and their quotas.

use axum::Router;

use crate::state::PanelState;

pub(super) fn routes() -> Router<PanelState> {
    Router::new()
}
