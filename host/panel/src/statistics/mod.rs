//! What became of the mail, with charts.

mod charts;
mod compare;
mod csv;
mod files;
mod page;
mod query;
pub(crate) mod report;
mod shown;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::routing::get;

use crate::state::PanelState;

pub(crate) use charts::{interval_label, lines};
pub(crate) use compare::{Change, change};
pub(crate) use shown::ShownChart;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/statistics", get(page::page))
        .route("/statistics/chart.svg", get(files::chart))
        .route("/statistics/table.csv", get(files::table))
}
