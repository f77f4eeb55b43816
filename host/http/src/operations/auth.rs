//! Operators and readers of metrics, by their keys.

use axum::http::request::Parts;

use super::OperationsServices;
use crate::bearer::{self, Role};
use crate::error::RequestError;

/// An operator: somebody who may see and change what belongs to any tenant.
///
/// By an admin key, or as an extension of a request that the panel makes for an operator who signed
/// in. No client can send one: extensions are set by this process alone.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    /// The name of the key, or the user.
    pub(crate) name: String,
    /// As the audit log has it: `admin key NAME` or `user EMAIL`.
    pub(crate) actor: String,
}

impl Admin {
    /// An operator who signed in to the panel.
    pub(crate) fn signed_in(user: &str) -> Self {
        Self { name: user.to_owned(), actor: format!("user {user}") }
    }
}

impl Role<OperationsServices> for Admin {
    fn of(request: &Parts, services: &OperationsServices) -> Result<Self, RequestError> {
        if let Some(admin) = request.extensions.get::<Self>() {
            return Ok(admin.clone());
        }
        let digest = bearer::digest(request)?;
        let settings = services.settings.get();
        let name = bearer::named(&settings.plugins.admin_keys, &digest);
        name.map(|name| Self { name: name.to_owned(), actor: format!("admin key {name}") }).ok_or_else(|| {
            RequestError::InvalidKey("this is no admin key: `admin_keys` of [plugins] has those".to_owned())
        })
    }
}

/// Somebody who may read the metrics.
pub(super) struct MetricsReader;

impl Role<OperationsServices> for MetricsReader {
    fn of(request: &Parts, services: &OperationsServices) -> Result<Self, RequestError> {
        if services.metrics_keys.is_empty() || request.extensions.get::<Admin>().is_some() {
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
