//! The caller of the API.

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use relevo_relay::api_keys;
use relevo_relay::settings::ApiKey;

use super::{ApiServices, scopes};
use crate::bearer::{self, Role};
use crate::error::RequestError;

/// The tenant whose API key was sent. The key has the scope that the route needs.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: String,
    pub(crate) key: ApiKey,
}

impl Caller {
    /// Finds the key of a request. The second result refuses the request if the key has not the
    /// scope that the route needs.
    ///
    /// # Errors
    /// There is no key, or it counts no longer.
    pub(super) fn prove(
        parts: &Parts,
        services: &ApiServices,
    ) -> Result<(Self, Result<(), RequestError>), RequestError> {
        let token = bearer::token(parts)?;
        let settings = services.settings.get();
        let Some(key) = settings.directory.api_key(&api_keys::hash(token)) else {
            return Err(RequestError::InvalidKey(unknown(token).to_owned()));
        };
        if key.expires_at.is_some_and(|at| at <= services.admin.clock.now()) {
            let message = format!("the API key `{}` has expired, or was rotated", key.name);
            return Err(RequestError::InvalidKey(message));
        }
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let needed = scopes::of(&parts.method, route);
        let allowed = match needed.iter().any(|scope| key.scopes.allow(*scope)) {
            true => Ok(()),
            false => Err(RequestError::Restricted(format!(
                "the API key `{}` has not the scope {} that this request needs",
                key.name,
                needed.iter().map(|scope| format!("`{scope}`")).collect::<Vec<_>>().join(" or ")
            ))),
        };
        Ok((Self { tenant: key.tenant.clone(), key: key.clone() }, allowed))
    }
}

/// The words for a key that is not known.
fn unknown(token: &str) -> &'static str {
    if api_keys::is_well_formed(token) {
        "this API key is not known here: it was revoked, or belongs to another relay"
    } else if token.starts_with("rv_") {
        "this API key is not known here: a character of it is wrong or missing, or it was revoked"
    } else {
        "this API key is not known here"
    }
}

impl Role<ApiServices> for Caller {
    /// The caller whom [`super::admission::admit`] let in.
    fn of(request: &Parts, services: &ApiServices) -> Result<Self, RequestError> {
        if let Some(caller) = request.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let (caller, allowed) = Self::prove(request, services)?;
        allowed.map(|()| caller)
    }
}
