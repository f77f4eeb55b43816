//! `Authorization: Bearer KEY`. Keys are known by their SHA-256.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::RequestError;

/// A role that the key of a request proves; `S` is what the router serves.
pub(crate) trait Role<S>: Sized {
    /// The role of the sender of a request.
    ///
    /// # Errors
    /// The request has no key, or one that does not have this role.
    fn of(request: &Parts, services: &S) -> Result<Self, RequestError>;
}

/// Extracts the role of a request, or refuses the request.
pub(crate) struct Proven<R>(pub(crate) R);

impl<S: Sync, R: Role<S>> FromRequestParts<S> for Proven<R> {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, services: &S) -> Result<Self, RequestError> {
        R::of(parts, services).map(Self)
    }
}

/// The SHA-256 of the key that was sent.
pub(crate) fn digest(parts: &Parts) -> Result<[u8; 32], RequestError> {
    Ok(Sha256::digest(token(parts)?.as_bytes()).into())
}

/// The key that was sent.
pub(crate) fn token(parts: &Parts) -> Result<&str, RequestError> {
    let sent = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let key =
        sent.and_then(|v| v.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    key.map(|(_, key)| key.trim()).ok_or(RequestError::MissingKey)
}

/// The name of a key among keys by name.
pub(crate) fn named<'a>(keys: &'a [(String, [u8; 32])], digest: &[u8; 32]) -> Option<&'a str> {
    keys.iter().find(|(_, known)| known.ct_eq(digest).into()).map(|(name, _)| name.as_str())
}
