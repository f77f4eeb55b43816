//! Operators' pages.

mod glance;
mod plugins;
mod queue;
mod shaping;
mod tenants;

use axum::Router;

use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .merge(glance::routes())
        .merge(queue::routes())
        .merge(shaping::routes())
        .merge(tenants::routes())
        .merge(plugins::routes())
}
