//! Bodies of requests and the small answers that many of them get.

use axum::body::Bytes;
use relevo_api::InvalidRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::RequestError;

impl From<InvalidRequest> for RequestError {
    fn from(invalid: InvalidRequest) -> Self {
        match invalid {
            InvalidRequest::Json { .. } => Self::Malformed(invalid.to_string()),
            InvalidRequest::Fields(problems) => Self::InvalidFields(problems),
        }
    }
}

/// Reads the JSON object of a body.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, RequestError> {
    Ok(relevo_api::json::read(body)?)
}

/// Reads the JSON object of a body; an empty body is one without fields.
pub(super) fn read_or_default<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, RequestError> {
    if body.is_empty() { Ok(T::default()) } else { read(body) }
}

/// `{"object":"template","id":"..."}`: something was made or changed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Object {
    object: &'static str,
    id: String,
}

impl Object {
    pub(super) fn new(object: &'static str, id: String) -> Self {
        Self { object, id }
    }
}

/// `{"object":"template","id":"...","deleted":true}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Deleted {
    object: &'static str,
    id: String,
    deleted: bool,
}

impl Deleted {
    pub(super) fn new(object: &'static str, id: String) -> Self {
        Self { object, id, deleted: true }
    }
}
