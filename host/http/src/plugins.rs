//! `/plugins`: what `relevo plugin` does, over HTTP, for holders of an admin key (`[plugins] admin_keys`).

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use relevo_policy::{Action, ActionError};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::Admin;
use crate::error::ApiError;
use crate::state::HttpState;

type Answer = Result<Json<Value>, ApiError>;

pub(crate) fn routes() -> Router<HttpState> {
    Router::new()
        .route("/plugins", get(list))
        .route("/plugins/{tenant}/{plugin}", put(add))
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

type Place = Path<(String, String)>;

/// In the shape of our errors.
type Given<T> = Result<Query<T>, QueryRejection>;

fn given<T>(query: Given<T>) -> Result<T, ApiError> {
    query.map(|Query(query)| query).map_err(|e| ApiError::invalid("query", e.body_text()))
}

/// Does it with the body as its content: at most as much as the action takes with the settings of now.
async fn act_with(state: &HttpState, admin: &Admin, action: Action, mut request: Request) -> Answer {
    let room = action.room(&state.plugins).map_err(refusal)?;
    DefaultBodyLimit::max(room.octets).apply(&mut request);
    let content = Bytes::from_request(request, state).await.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", room.to_string())
        }
        _ => ApiError::invalid("body", error.body_text()),
    })?;
    act(state, admin, action, content).await
}

async fn list(State(state): State<HttpState>, admin: Admin, query: Given<ListQuery>) -> Answer {
    let query = given(query)?;
    act(&state, &admin, Action::List { tenant: query.tenant }, Bytes::new()).await
}

async fn add(
    State(state): State<HttpState>,
    admin: Admin,
    Path((tenant, plugin)): Place,
    body: Request,
) -> Answer {
    act_with(&state, &admin, Action::Add { tenant, plugin }, body).await
}

async fn shadow(
    State(state): State<HttpState>,
    admin: Admin,
    Path((tenant, plugin)): Place,
    body: Request,
) -> Answer {
    act_with(&state, &admin, Action::Shadow { tenant, plugin }, body).await
}

async fn end_shadow(State(state): State<HttpState>, admin: Admin, Path((tenant, plugin)): Place) -> Answer {
    act(&state, &admin, Action::EndShadow { tenant, plugin }, Bytes::new()).await
}

async fn enable(State(state): State<HttpState>, admin: Admin, Path((tenant, plugin)): Place) -> Answer {
    act(&state, &admin, Action::Enable { tenant, plugin }, Bytes::new()).await
}

async fn disable(State(state): State<HttpState>, admin: Admin, Path((tenant, plugin)): Place) -> Answer {
    act(&state, &admin, Action::Disable { tenant, plugin }, Bytes::new()).await
}

async fn rollback(
    State(state): State<HttpState>,
    admin: Admin,
    Path((tenant, plugin)): Place,
    query: Given<RollbackQuery>,
) -> Answer {
    let query = given(query)?;
    act(&state, &admin, Action::Rollback { tenant, plugin, digest: query.digest }, Bytes::new()).await
}

/// With a body: against that component, which is not added.
async fn replay(
    State(state): State<HttpState>,
    admin: Admin,
    Path((tenant, plugin)): Place,
    query: Given<ReplayQuery>,
    body: Request,
) -> Answer {
    let ReplayQuery { digest, last } = given(query)?;
    act_with(&state, &admin, Action::Replay { tenant, plugin, digest, last }, body).await
}

async fn import(
    State(state): State<HttpState>,
    admin: Admin,
    Path((tenant, plugin)): Place,
    body: Request,
) -> Answer {
    act_with(&state, &admin, Action::KvImport { tenant, plugin }, body).await
}

/// Goes on when the client is gone: what was begun is finished, and the answer is the same when it is asked again.
async fn act(state: &HttpState, admin: &Admin, action: Action, content: Bytes) -> Answer {
    tracing::info!(admin = admin.name, ?action, "plugins over http");
    let plugins = state.plugins.clone();
    let done = tokio::spawn(async move { plugins.act(action, content.into()).await }).await;
    match done {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(error)) => Err(refusal(error)),
        Err(error) => {
            tracing::error!(%error, "plugins over http");
            Err(ApiError::unavailable())
        }
    }
}

fn refusal(error: ActionError) -> ApiError {
    match error {
        ActionError::NotFound(message) => ApiError::not_found(message),
        ActionError::Refused(message) => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", message)
        }
        ActionError::Busy(message) => ApiError::new(StatusCode::CONFLICT, "conflict", message),
        ActionError::Failed(error) => {
            tracing::error!(error, "plugins over http");
            // An operator asks, who can do something about it.
            ApiError { message: error, ..ApiError::unavailable() }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn each_refusal_has_a_status() {
        type Refusal = fn(String) -> ActionError;
        let all: [(Refusal, u16); 4] = [
            (ActionError::NotFound, 404),
            (ActionError::Refused, 422),
            (ActionError::Busy, 409),
            (ActionError::Failed, 503),
        ];
        for (error, status) in all {
            assert_eq!(refusal(error("why".to_owned())).into_response().status().as_u16(), status);
        }
    }
}
