//! The caller of the API.

use axum::http::request::Parts;

use super::ApiServices;
use crate::bearer::{self, Role};
use crate::error::RequestError;

/// The tenant whose API key was sent.
pub(crate) struct Caller {
    pub(crate) tenant: String,
    /// The name of the key.
    pub(crate) key: String,
}

impl Role<ApiServices> for Caller {
    fn of(request: &Parts, services: &ApiServices) -> Result<Self, RequestError> {
        let digest = bearer::digest(request)?;
        let settings = services.settings.get();
        let key = settings.directory.api_key(&digest);
        key.map(|key| Self { tenant: key.tenant.clone(), key: key.name.clone() })
            .ok_or_else(|| RequestError::InvalidKey("this API key is not known here".to_owned()))
    }
}
