//! `GET /operations/audit`: the acts of all tenants and of operators, for holders of an admin key.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::OperationsServices;
use super::auth::Admin;
use crate::api::audit::{self, ActView};
use crate::api::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

pub(super) fn routes() -> Router<OperationsServices> {
    Router::new().route("/operations/audit", get(list))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    limit: Option<String>,
    after: Option<String>,
    tenant: Option<String>,
}

/// An act, and whose things it was about.
#[derive(Debug, Serialize)]
struct TenantActView {
    #[serde(flatten)]
    act: ActView,
    /// Empty: of no tenant.
    tenant: String,
}

async fn list(
    State(services): State<OperationsServices>,
    Proven(_): Proven<Admin>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<Page<TenantActView>>, RequestError> {
    let AuditQuery { limit, after, tenant } = error::query(query)?;
    let bounds = ListQuery { limit, after }.bounds()?;
    let (after, max) = (bounds.after.as_str(), bounds.with_one_more());
    let found = match tenant.as_deref() {
        Some(tenant) => services.audit.list(tenant, after, max).await,
        None => {
            let id = (!after.is_empty()).then(|| after.parse()).transpose();
            let id = id.map_err(|_| RequestError::invalid("after", "is no id of an act"))?;
            services.audit.list_all(id, max).await
        }
    };
    let found = found.map_err(|error| {
        tracing::error!(%error, "the audit log cannot be read");
        RequestError::unavailable()
    })?;
    let view = |record: relevo_relay::audit::AuditRecord| TenantActView {
        tenant: record.tenant.clone(),
        act: audit::view(record),
    };
    Ok(Json(bounds.page(found, view)))
}
