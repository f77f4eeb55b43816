//! Which page is where.

use axum::Router;
use axum::extract::{Extension, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;

use crate::api::Problem;
use crate::frame::see;
use crate::sign_in::identify;
use crate::state::PanelState;
use crate::visitor::Visitor;
use crate::{
    account, assets, audit, domains, errors, keys, live, messages, overview, relay, sign_in, statistics,
    suppressions, templates, topics, users, webhooks,
};

/// The routes of the panel. `others` are told the [`Visitor`], too: those of the inbox of
/// `relevo dev`.
pub fn routes(state: PanelState, others: Router) -> Router {
    let tenant = Router::new()
        .route("/live", get(live::tenant))
        .merge(overview::routes())
        .merge(messages::routes())
        .merge(statistics::routes())
        .merge(templates::routes())
        .merge(suppressions::routes())
        .merge(topics::routes())
        .merge(domains::routes())
        .merge(webhooks::routes())
        .merge(keys::routes())
        .merge(users::routes())
        .merge(audit::routes());
    let relay = relay::routes().route("/live", get(live::relay));
    Router::new()
        .route("/panel", get(first))
        .nest("/panel/t/{tenant}", tenant)
        .nest("/panel/relay", relay)
        .merge(others.with_state(()))
        .merge(account::routes())
        .merge(sign_in::routes())
        .layer(from_fn(errors::answer))
        .layer(from_fn_with_state(state.clone(), identify))
        .route("/panel/assets/{name}", get(assets::asset))
        .with_state(state)
}

/// The first page of a visitor.
async fn first(
    State(_): State<PanelState>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Problem> {
    match &visitor.tenant {
        Some(tenant) => Ok(see(&crate::api::path(&["panel", "t", tenant], &[]))),
        None => Ok(see("/panel/relay")),
    }
}
