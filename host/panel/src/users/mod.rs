//! Users of a tenant: who may sign in, and what they may do.

mod list;
mod show;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;

use crate::state::PanelState;
use crate::texts::Language;
use crate::visitor::UserRole;

pub(crate) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/users", get(list::page).post(list::invite))
        .route("/users/{id}", get(show::page).post(show::change))
        .route("/users/{id}/link", post(show::link))
        .route("/users/{id}/delete", post(show::delete))
        .route("/users/{id}/sessions/{session}/end", post(show::end_session))
}

/// A user.
#[derive(Debug, Deserialize)]
struct UserRow {
    id: String,
    email: String,
    name: String,
    role: String,
    has_password: bool,
    has_authenticator: bool,
    has_identity_provider: bool,
    disabled: bool,
    #[serde(default)]
    last_signed_in_at: Option<String>,
}

impl UserRow {
    /// The state, as a key of the group `user_state`.
    fn state(&self) -> &'static str {
        match (self.disabled, self.has_password || self.has_identity_provider) {
            (true, _) => "disabled",
            (false, false) => "invited",
            (false, true) => "active",
        }
    }
}

/// A link that counts once, which is shown this once.
#[derive(Debug, Deserialize)]
struct UserLink {
    url: String,
    expires_at: String,
}

/// Roles to choose from, with what they may do.
fn roles(l: &Language) -> Vec<(&'static str, String)> {
    let of_tenant = UserRole::ALL.into_iter().filter(|role| role.is_of_tenant());
    let text = |role: UserRole| {
        format!("{}: {}", l.term("role", role.name()), l.find("role_hint", role.name()).unwrap_or_default())
    };
    of_tenant.map(|role| (role.name(), text(role))).collect()
}
