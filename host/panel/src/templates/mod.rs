//! Templates: the editor with its preview, versions, and a test message.

mod acts;
mod diff;
mod draft;
mod edit;
mod excerpt;
mod list;
mod model;
mod preview;
#[cfg(test)]
mod tests;
mod versions;

use axum::Router;
use axum::routing::{get, post};

use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/templates", get(list::page))
        .route("/templates/new", get(edit::fresh).post(edit::create))
        .route("/templates/preview", post(preview::preview))
        .route("/templates/test", post(acts::test))
        .route("/templates/{name}", get(edit::page).post(edit::save))
        .route("/templates/{name}/publish", post(acts::publish))
        .route("/templates/{name}/duplicate", post(acts::duplicate))
        .route("/templates/{name}/delete", post(acts::delete))
        .route("/templates/{name}/versions", get(versions::list))
        .route("/templates/{name}/versions/{version}", get(versions::show))
        .route("/templates/{name}/versions/{version}/preview", get(preview::stored))
        .route("/templates/{name}/diff", get(versions::compare))
}
