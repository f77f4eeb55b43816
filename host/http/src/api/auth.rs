//! Who calls the API.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::ApiServices;
use crate::bearer;
use crate::error::RequestError;

/// The tenant whose API key was sent.
pub(crate) struct Caller {
    pub(crate) tenant: String,
}

impl FromRequestParts<ApiServices> for Caller {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, services: &ApiServices) -> Result<Self, RequestError> {
        let digest = bearer::digest(parts)?;
        let settings = services.settings.get();
        let key = settings.directory.api_key(&digest);
        key.map(|key| Self { tenant: key.tenant.clone() })
            .ok_or_else(|| RequestError::InvalidKey("this API key is not known here".to_owned()))
    }
}
