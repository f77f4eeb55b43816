//! Signing in and out, and who sends a request.

mod carried;
mod cookie;
mod identify;
mod link;
mod oidc;
mod password;

use axum::Router;
use axum::routing::{get, post};

use crate::state::PanelState;

pub(crate) use identify::{CurrentSession, identify};

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/panel/sign-in", get(password::page).post(password::sign_in))
        .route("/panel/sign-out", post(password::sign_out))
        .route("/panel/link/{token}", get(link::page).post(link::accept))
        .route("/panel/oidc", get(oidc::begin))
        .route("/panel/oidc/back", get(oidc::finish))
}
