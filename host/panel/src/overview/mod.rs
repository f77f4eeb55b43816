//! The first page of a tenant: what needs attention, and today beside last week.

mod attention;
mod page;
mod start;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::routing::get;

use crate::state::PanelState;

pub(crate) use page::page;

/// The router of a tenant adds the path with a slash at its end: a nested one has it without.
pub(crate) fn routes() -> Router<PanelState> {
    Router::new().route("/", get(page))
}
