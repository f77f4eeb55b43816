//! `GET /audit`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use relevo_relay::audit::AuditRecord;
use relevo_relay::clock::timestamp;
use serde::Serialize;

use super::ApiServices;
use super::auth::Caller;
use super::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// An administrative act.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ActView {
    object: &'static str,
    id: String,
    created_at: String,
    /// `key NAME`, or `cli uid N` for the command line.
    actor: String,
    /// Method and route, or the command.
    action: String,
    /// What it was about: an id, or the path of the request.
    subject: String,
    /// `done`, or the name of the error.
    result: String,
}

/// Lists the administrative acts of the caller's tenant, newest first.
#[utoipa::path(
    get,
    path = "/audit",
    tag = "keys",
    params(ListQuery),
    responses((status = 200, description = "A page.", body = Page<ActView>)),
)]
pub(super) async fn list(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page<ActView>>, RequestError> {
    let query = error::query(query)?.bounds()?;
    let found = services.admin.audit.list(&caller.tenant, &query.after, query.with_one_more()).await;
    let found = found.map_err(|error| {
        tracing::error!(%error, "the audit log cannot be read");
        RequestError::unavailable()
    })?;
    Ok(Json(query.page(found, view)))
}

pub(crate) fn view(act: AuditRecord) -> ActView {
    ActView {
        object: "audit",
        id: act.id,
        created_at: timestamp(act.at),
        actor: act.actor,
        action: act.action,
        subject: act.subject,
        result: act.result,
    }
}
