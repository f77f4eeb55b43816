//! `Authorization: Bearer KEY`. Keys are looked up by their SHA-256, so no comparison runs over a secret.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::state::HttpState;

/// The tenant whose API key was sent.
pub(crate) struct Caller {
    pub(crate) tenant: String,
}

/// Somebody who may change plugins of any tenant.
pub(crate) struct Admin {
    /// For the log.
    pub(crate) name: String,
}

impl FromRequestParts<HttpState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let digest = sent(parts)?;
        match state.settings.get().tenants.by_api_key.get(&digest) {
            Some(found) => Ok(Self { tenant: found.tenant.clone() }),
            None => Err(unknown()),
        }
    }
}

impl FromRequestParts<HttpState> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let digest = sent(parts)?;
        let settings = state.settings.get();
        let found = settings.plugins.admin_keys.iter().find(|(_, known)| *known == digest);
        found.map(|(name, _)| Self { name: name.clone() }).ok_or_else(|| {
            let message = "this is no admin key: `admin_keys` of [plugins] has those";
            ApiError::new(StatusCode::FORBIDDEN, "invalid_api_key", message)
        })
    }
}

/// The SHA-256 of the key that was sent.
fn sent(parts: &Parts) -> Result<[u8; 32], ApiError> {
    let sent = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let Some(key) =
        sent.and_then(|v| v.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
    else {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "missing_api_key",
            "send your API key as `Authorization: Bearer KEY`",
        ));
    };
    Ok(Sha256::digest(key.1.trim().as_bytes()).into())
}

fn unknown() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "invalid_api_key", "this API key is not known here")
}
