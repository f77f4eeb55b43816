//! The first page of a tenant: what needs attention, and today beside last week.

use axum::Router;

use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
}
