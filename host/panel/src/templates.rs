//! Templates: the editor with its preview, versions, and a test message.

use axum::Router;

use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
}
