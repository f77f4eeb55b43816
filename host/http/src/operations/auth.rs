//! Operators and readers of metrics, by their keys.

use axum::http::request::Parts;

use super::OperationsServices;
use crate::bearer::{self, Role};
use crate::error::RequestError;

/// An operator who may change the plugins of any tenant.
pub(super) struct Admin {
    /// For the log.
    pub(super) name: String,
}

impl Role<OperationsServices> for Admin {
    fn of(request: &Parts, services: &OperationsServices) -> Result<Self, RequestError> {
        let digest = bearer::digest(request)?;
        let settings = services.settings.get();
        let name = bearer::named(&settings.plugins.admin_keys, &digest);
        name.map(|name| Self { name: name.to_owned() }).ok_or_else(|| {
            RequestError::InvalidKey("this is no admin key: `admin_keys` of [plugins] has those".to_owned())
        })
    }
}

/// Somebody who may read the metrics.
pub(super) struct MetricsReader;

impl Role<OperationsServices> for MetricsReader {
    fn of(request: &Parts, services: &OperationsServices) -> Result<Self, RequestError> {
        if services.metrics_keys.is_empty() {
            return Ok(Self);
        }
        let digest = bearer::digest(request)?;
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
