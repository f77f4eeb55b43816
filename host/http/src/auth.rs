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

impl FromRequestParts<HttpState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
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
        let digest: [u8; 32] = Sha256::digest(key.1.trim().as_bytes()).into();
        match state.settings.get().tenants.by_api_key.get(&digest) {
            Some(found) => Ok(Self { tenant: found.tenant.clone() }),
            None => {
                Err(ApiError::new(StatusCode::FORBIDDEN, "invalid_api_key", "this API key is not known here"))
            }
        }
    }
}
