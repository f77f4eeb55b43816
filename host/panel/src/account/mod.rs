//! The own account: name, language, password, authenticator, sessions.

mod page;
mod qr;
mod totp;

use axum::Router;
use axum::routing::{get, post};

use crate::state::PanelState;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/panel/account", get(page::page).post(page::change))
        .route("/panel/account/password", post(page::change_password))
        .route("/panel/account/totp", post(totp::begin))
        .route("/panel/account/totp/confirm", post(totp::confirm))
        .route("/panel/account/totp/remove", post(totp::remove))
        .route("/panel/account/sessions/{id}/revoke", post(page::revoke))
        .route("/panel/account/sessions/revoke", post(page::revoke_others))
}
