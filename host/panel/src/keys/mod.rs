//! API keys. A token is shown once, in the answer that made it.

mod create;
mod list;
mod show;
#[cfg(test)]
mod tests;

use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use relevo_relay::directory::Scope;
use serde::Deserialize;

use crate::api::Problem;
use crate::frame::{self, Frame, Section};
use crate::state::{PanelState, TenantPage};

/// The names of all scopes.
fn scope_names() -> [&'static str; Scope::ALL.len()] {
    Scope::ALL.map(Scope::name)
}

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/keys", get(list::page).post(create::create))
        .route("/keys/new", get(create::page))
        .route("/keys/{id}", get(show::page))
        .route("/keys/{id}/name", post(show::rename))
        .route("/keys/{id}/rotate", post(show::rotate))
        .route("/keys/{id}/delete", post(show::delete))
}

#[derive(Debug, Deserialize)]
struct Key {
    id: String,
    name: String,
    prefix: String,
    scopes: Vec<String>,
    #[serde(default)]
    domain: Option<String>,
    created_at: String,
    last_used_at: Option<String>,
    #[serde(default)]
    expires_at: Option<String>,
    #[serde(default)]
    previous_token_until: Option<String>,
}

impl Key {
    fn has_every_scope(&self) -> bool {
        scope_names().iter().all(|scope| self.scopes.iter().any(|given| given == scope))
    }
}

#[derive(Debug, Deserialize)]
struct IssuedToken {
    id: String,
    token: String,
}

#[derive(Template)]
#[template(path = "keys/token.html")]
struct TokenPage {
    f: Frame,
    issued: IssuedToken,
    name: String,
    is_rotated: bool,
}

/// The page of a new token.
fn token_page(
    tenant: &TenantPage,
    issued: IssuedToken,
    name: String,
    is_rotated: bool,
) -> Result<Response, Problem> {
    let f = tenant.frame(Section::KEYS, tenant.l.say("keys.token_title"));
    frame::page(&TokenPage { f, issued, name, is_rotated })
}
