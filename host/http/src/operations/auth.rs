//! Who operates the relay.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::OperationsServices;
use crate::bearer;
use crate::error::RequestError;

/// An operator who may change the plugins of any tenant.
pub(super) struct Admin {
    /// For the log.
    pub(super) name: String,
}

impl FromRequestParts<OperationsServices> for Admin {
    type Rejection = RequestError;

    async fn from_request_parts(
        parts: &mut Parts,
        services: &OperationsServices,
    ) -> Result<Self, RequestError> {
        let digest = bearer::digest(parts)?;
        let settings = services.settings.get();
        let name = bearer::named(&settings.plugins.admin_keys, &digest);
        name.map(|name| Self { name: name.to_owned() }).ok_or_else(|| {
            RequestError::InvalidKey("this is no admin key: `admin_keys` of [plugins] has those".to_owned())
        })
    }
}

/// Somebody who may read the metrics.
pub(super) struct MetricsReader;

impl FromRequestParts<OperationsServices> for MetricsReader {
    type Rejection = RequestError;

    async fn from_request_parts(
        parts: &mut Parts,
        services: &OperationsServices,
    ) -> Result<Self, RequestError> {
        if services.metrics_keys.is_empty() {
            return Ok(Self);
        }
        let digest = bearer::digest(parts)?;
        let settings = services.settings.get();
        let known = bearer::named(&services.metrics_keys, &digest)
            .or_else(|| bearer::named(&settings.plugins.admin_keys, &digest));
        known.map(|_| Self).ok_or_else(|| {
            RequestError::InvalidKey(
                "this key may not read metrics: `metrics_keys` of [http] has those".to_owned(),
            )
        })
    }
}
