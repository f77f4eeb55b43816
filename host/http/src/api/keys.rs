//! `/api-keys`.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use relevo_relay::api_keys::{ApiKeyRecord, IssuedKey, KeyRefusal, NewApiKey, OVERLAP};
use relevo_relay::clock::timestamp;
use relevo_relay::directory::{Scope, Scopes};
use serde::{Deserialize, Serialize};

use super::ApiServices;
use super::admission::Subject;
use super::auth::Caller;
use super::body::{self, Deleted, Object};
use super::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// The body of `POST /api-keys`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewKeyFields {
    /// For people and logs; unique among the keys of the tenant.
    name: Option<String>,
    /// Names of scopes. Without them and without `permission`: all.
    scopes: Option<Vec<String>>,
    /// `full_access` or `sending_access`, in place of `scopes`.
    permission: Option<String>,
    /// The only domain that the key sends from.
    domain: Option<String>,
    /// The same by the id of the domain, which is its name.
    domain_id: Option<String>,
    /// The end of the key, a time of RFC 3339 or a span such as `in 30 days`.
    expires_at: Option<String>,
}

/// The body of `POST /api-keys/{id}/rotate`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RotateFields {
    /// Seconds for which the token before counts. Without it: a day. 0: no longer.
    overlap_seconds: Option<u64>,
}

/// The body of `PATCH /api-keys/{id}`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RenameFields {
    /// The name.
    name: String,
}

/// A key with its token, which is shown this once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct IssuedView {
    object: &'static str,
    id: String,
    /// The key itself, for `Authorization: Bearer`.
    token: String,
}

/// A key in a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct KeyView {
    object: &'static str,
    id: String,
    name: String,
    /// The first characters of the token.
    prefix: String,
    scopes: Vec<String>,
    /// The only domain that it sends from.
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    created_at: String,
    /// The last request, up to some minutes late.
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// The token before the last rotation counts until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_token_until: Option<String>,
}

impl From<KeyRefusal> for RequestError {
    fn from(refusal: KeyRefusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            KeyRefusal::NotFound => Self::NotFound(text),
            KeyRefusal::Conflict(text) => Self::Conflict(text),
            KeyRefusal::Invalid { param, message } => Self::invalid(param, message),
            KeyRefusal::Unavailable => Self::Unavailable(text),
        }
    }
}

/// Makes a key.
#[utoipa::path(
    post,
    path = "/api-keys",
    tag = "keys",
    request_body = NewKeyFields,
    responses((status = 201, description = "The key; its token is shown this once.", body = IssuedView)),
)]
pub(super) async fn create(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<(StatusCode, Extension<Subject>, Json<IssuedView>), RequestError> {
    let fields: NewKeyFields = body::read(&body)?;
    let scopes = scopes(&fields)?;
    grantable(&caller, scopes)?;
    let domain = domain(&services, &caller, &fields)?;
    let now = services.admin.clock.now();
    let expires_at = fields.expires_at.map(|text| moment("expires_at", &text, now)).transpose()?;
    let name = fields.name.ok_or_else(|| RequestError::invalid("name", "is missing"))?;
    let new = NewApiKey { name, scopes, domain, expires_at };
    let issued = services.admin.keys.create(&caller.tenant, new).await?;
    Ok((StatusCode::CREATED, Extension(Subject(issued.id.clone())), Json(shown(issued))))
}

/// Lists the caller's keys by id.
#[utoipa::path(
    get,
    path = "/api-keys",
    tag = "keys",
    params(ListQuery),
    responses((status = 200, description = "A page.", body = Page<KeyView>)),
)]
pub(super) async fn list(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page<KeyView>>, RequestError> {
    let query = error::query(query)?.bounds()?;
    let found = services.admin.keys.list(&caller.tenant, &query.after, query.with_one_more()).await?;
    let now = services.admin.clock.now();
    Ok(Json(query.page(found, |record| view(record, now))))
}

/// Shows a key.
#[utoipa::path(
    get,
    path = "/api-keys/{id}",
    tag = "keys",
    params(("id" = String, Path, description = "The id.")),
    responses((status = 200, description = "The key.", body = KeyView)),
)]
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, RequestError> {
    let found = services.admin.keys.get(&caller.tenant, &id).await?;
    Ok(Json(view(found, services.admin.clock.now())))
}

/// Renames a key.
#[utoipa::path(
    patch,
    path = "/api-keys/{id}",
    tag = "keys",
    params(("id" = String, Path, description = "The id.")),
    request_body = RenameFields,
    responses((status = 200, description = "It has the name.", body = Object)),
)]
pub(super) async fn rename(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Object>, RequestError> {
    let RenameFields { name } = body::read(&body)?;
    services.admin.keys.rename(&caller.tenant, &id, &name).await?;
    Ok(Json(Object::new("api_key", id)))
}

/// Gives a key another token.
#[utoipa::path(
    post,
    path = "/api-keys/{id}/rotate",
    tag = "keys",
    params(("id" = String, Path, description = "The id.")),
    request_body = Option<RotateFields>,
    responses((status = 200, description = "The new token, shown this once.", body = IssuedView)),
)]
pub(super) async fn rotate(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<IssuedView>, RequestError> {
    let RotateFields { overlap_seconds } = body::read_or_default(&body)?;
    let found = services.admin.keys.get(&caller.tenant, &id).await?;
    grantable(&caller, found.settings.scopes.iter().filter_map(|name| name.parse().ok()).collect())?;
    let overlap = overlap_seconds.map_or(OVERLAP, Duration::from_secs);
    let rotated = services.admin.keys.rotate(&caller.tenant, &id, overlap).await;
    let issued = rotated.map_err(|refusal| match refusal {
        KeyRefusal::Invalid { message, .. } => RequestError::invalid("overlap_seconds", message),
        other => other.into(),
    })?;
    Ok(Json(shown(issued)))
}

/// Revokes a key at once.
#[utoipa::path(
    delete,
    path = "/api-keys/{id}",
    tag = "keys",
    params(("id" = String, Path, description = "The id.")),
    responses((status = 200, description = "It counts no longer.", body = Deleted)),
)]
pub(super) async fn delete(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, RequestError> {
    services.admin.keys.revoke(&caller.tenant, &id).await?;
    Ok(Json(Deleted::new("api_key", id)))
}

/// Refuses to give a token to a caller who may do less with their own.
fn grantable(caller: &Caller, scopes: Scopes) -> Result<(), RequestError> {
    caller.may_grant(scopes, "the key that this request is about")
}

fn scopes(fields: &NewKeyFields) -> Result<Scopes, RequestError> {
    match (&fields.scopes, fields.permission.as_deref()) {
        (Some(_), Some(_)) => {
            Err(RequestError::invalid("permission", "give either `permission` or `scopes`"))
        }
        (Some(names), None) => {
            let each = names.iter().enumerate().map(|(index, name)| {
                name.parse::<Scope>()
                    .map_err(|message| RequestError::invalid(format!("scopes[{index}]"), message))
            });
            each.collect()
        }
        (None, Some("sending_access")) => Ok([Scope::Send].into_iter().collect()),
        (None, Some("full_access") | None) => Ok(Scopes::all()),
        (None, Some(_)) => Err(RequestError::invalid("permission", "must be full_access or sending_access")),
    }
}

/// The only domain of a key. It must be one that the tenant has.
fn domain(
    services: &ApiServices,
    caller: &Caller,
    fields: &NewKeyFields,
) -> Result<Option<String>, RequestError> {
    let (param, name) = match (&fields.domain, &fields.domain_id) {
        (Some(_), Some(_)) => {
            return Err(RequestError::invalid("domain_id", "give either `domain` or `domain_id`"));
        }
        (Some(name), None) => ("domain", name),
        (None, Some(name)) => ("domain_id", name),
        (None, None) => return Ok(None),
    };
    let name = relevo_mailkit::address::to_ascii(name)
        .map_err(|error| RequestError::invalid(param, error.to_string()))?;
    let settings = services.settings.get();
    let known = settings.directory.domain(&name).is_some_and(|domain| domain.tenant == caller.tenant);
    match known {
        true => Ok(Some(name)),
        false => Err(RequestError::invalid(param, "is not a verified domain of yours")),
    }
}

fn moment(param: &'static str, text: &str, now: i64) -> Result<i64, RequestError> {
    let now = u64::try_from(now).unwrap_or(0);
    let time = relevo_api::schedule::parse(text, now).map_err(|error| RequestError::invalid(param, error))?;
    i64::try_from(time).map_err(|_| RequestError::invalid(param, "is too far away"))
}

fn shown(issued: IssuedKey) -> IssuedView {
    IssuedView { object: "api_key", id: issued.id, token: issued.token.text }
}

fn view(record: ApiKeyRecord, now: i64) -> KeyView {
    KeyView {
        object: "api_key",
        id: record.id,
        name: record.name,
        prefix: record.settings.prefix,
        scopes: record.settings.scopes,
        domain: record.settings.domain,
        created_at: timestamp(record.created_at),
        last_used_at: record.used_at.map(timestamp),
        expires_at: record.settings.expires_at.map(timestamp),
        previous_token_until: record
            .previous
            .filter(|previous| previous.until > now)
            .map(|previous| timestamp(previous.until)),
    }
}
