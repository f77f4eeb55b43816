//! `/plugins`: what `relevo plugin` does, over HTTP, for holders of an admin key
//! (`[plugins] admin_keys`).

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

use super::auth::Admin;
use super::{OperationsServices, PluginRequest, PluginVerb};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

type JsonResult = Result<Json<Value>, RequestError>;
type Services = State<OperationsServices>;
/// Tenant and plugin.
type PluginPath = Path<(String, String)>;
type Given<T> = Result<Query<T>, QueryRejection>;

pub(super) fn routes() -> Router<OperationsServices> {
    Router::new()
        .route("/plugins", get(list))
        .route("/plugins/{tenant}/{plugin}", put(add).delete(forget))
        .route("/plugins/{tenant}/{plugin}/shadow", put(shadow).delete(end_shadow))
        .route("/plugins/{tenant}/{plugin}/enable", post(enable))
        .route("/plugins/{tenant}/{plugin}/disable", post(disable))
        .route("/plugins/{tenant}/{plugin}/rollback", post(rollback))
        .route("/plugins/{tenant}/{plugin}/replay", post(replay))
        .route("/plugins/{tenant}/{plugin}/kv", put(import))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    tenant: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackQuery {
    digest: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayQuery {
    digest: Option<String>,
    last: Option<usize>,
}

async fn list(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    query: Given<ListQuery>,
) -> JsonResult {
    let query = error::query(query)?;
    run(&services, &admin, PluginRequest::List { tenant: query.tenant }, Bytes::new()).await
}

async fn add(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    names: PluginPath,
    body: Request,
) -> JsonResult {
    run_with(&services, &admin, command(names, PluginVerb::Add), body).await
}

async fn shadow(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    names: PluginPath,
    body: Request,
) -> JsonResult {
    run_with(&services, &admin, command(names, PluginVerb::Shadow), body).await
}

async fn end_shadow(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    names: PluginPath,
) -> JsonResult {
    run(&services, &admin, command(names, PluginVerb::EndShadow), Bytes::new()).await
}

async fn forget(State(services): Services, Proven(admin): Proven<Admin>, names: PluginPath) -> JsonResult {
    run(&services, &admin, command(names, PluginVerb::Forget), Bytes::new()).await
}

async fn enable(State(services): Services, Proven(admin): Proven<Admin>, names: PluginPath) -> JsonResult {
    run(&services, &admin, command(names, PluginVerb::Enable), Bytes::new()).await
}

async fn disable(State(services): Services, Proven(admin): Proven<Admin>, names: PluginPath) -> JsonResult {
    run(&services, &admin, command(names, PluginVerb::Disable), Bytes::new()).await
}

async fn rollback(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    names: PluginPath,
    query: Given<RollbackQuery>,
) -> JsonResult {
    let RollbackQuery { digest } = error::query(query)?;
    run(&services, &admin, command(names, PluginVerb::Rollback { digest }), Bytes::new()).await
}

/// With a body: by that component, which is not added.
async fn replay(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    names: PluginPath,
    query: Given<ReplayQuery>,
    body: Request,
) -> JsonResult {
    let ReplayQuery { digest, last } = error::query(query)?;
    run_with(&services, &admin, command(names, PluginVerb::Replay { digest, last }), body).await
}

async fn import(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    names: PluginPath,
    body: Request,
) -> JsonResult {
    run_with(&services, &admin, command(names, PluginVerb::ImportKv), body).await
}

fn command(Path((tenant, plugin)): PluginPath, verb: PluginVerb) -> PluginRequest {
    PluginRequest::Act { tenant, plugin, verb }
}

/// Runs a command with the body as its content.
async fn run_with(
    services: &OperationsServices,
    admin: &Admin,
    command: PluginRequest,
    mut request: Request,
) -> JsonResult {
    let limit = services.plugins.body_limit(&command)?;
    DefaultBodyLimit::max(limit.octets).apply(&mut request);
    let content = Bytes::from_request(request, services).await.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => RequestError::TooLarge(limit.exceeded),
        _ => RequestError::invalid("body", error.body_text()),
    })?;
    run(services, admin, command, content).await
}

/// Runs a command to its end, also when the client is gone.
async fn run(
    services: &OperationsServices,
    admin: &Admin,
    command: PluginRequest,
    content: Bytes,
) -> JsonResult {
    // Pages read the list every few seconds.
    if !matches!(command, PluginRequest::List { .. }) {
        tracing::info!(admin = admin.name, ?command, "plugins over http");
    }
    match tokio::spawn(services.plugins.run(&admin.actor, command, content.into())).await {
        Ok(answer) => answer.map(Json),
        Err(error) => {
            tracing::error!(%error, "plugins over http");
            Err(RequestError::unavailable())
        }
    }
}
