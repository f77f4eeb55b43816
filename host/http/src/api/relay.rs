//! `/relay`: messages that are finished, from the edge gateway or from programs that write their own
//! MIME, and the templates that the gateway makes messages from.

use std::ops::RangeInclusive;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use relevo_api::template::StoredTemplate;
use relevo_api::{Limits, relay};
use relevo_mailkit::hex;
use relevo_relay::sending::Begun;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::emails::send::{answered, is_permissive, now, request_key, sender};
use crate::api::ApiServices;
use crate::api::auth::Caller;
use crate::bearer::Proven;
use crate::error::{self, RequestError};
use crate::observe::ClientAddress;

/// The field with the digest of what an idempotency key stands for: a caller that makes the messages anew
/// for each try, as the edge gateway does, sends the digest of what it makes them from.
const DIGEST: &str = "x-relevo-digest";
/// Octets of a digest. A shorter one would stand for requests that differ.
const DIGEST_LENGTH: RangeInclusive<usize> = 16..=128;

/// Takes finished messages with their envelopes, all or none. With `x-batch-validation: permissive`
/// emails that are refused are left out. The answer means that the others are on disk. Who may send as whom, suppressions, plugins and quotas are asked as for any other message.
#[utoipa::path(
    post,
    path = "/relay",
    tag = "emails",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 256, pattern = "^[ -~]+$", description = "At most 256 characters; a repetition within 24 hours gets the same answer."), ("X-Relevo-Digest" = Option<String>, Header, min_length = 16, max_length = 128, description = "What the idempotency key stands for, such as a SHA-256, where the body differs from one try to the next. Absent: the body."), ("x-batch-validation" = Option<String>, Header, description = "`strict` (without it) or `permissive`: emails that are refused are left out.")),
    request_body = relevo_api::relay::RelayRequest,
    responses((status = 202, description = "All of them are on disk.", body = relevo_api::answer::BatchAnswer), (status = 200, description = "It was a trial: nothing is sent.", body = relevo_api::answer::BatchAnswer)),
)]
pub(crate) async fn relay(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Extension(client): Extension<ClientAddress>,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Response, RequestError> {
    let permissive = is_permissive(&headers)?;
    let key = match headers.get(DIGEST) {
        Some(digest) if !DIGEST_LENGTH.contains(&digest.len()) => {
            return Err(RequestError::invalid("x-relevo-digest", "must have 16 to 128 octets"));
        }
        Some(digest) if permissive => request_key(&headers, "/relay permissive digest", digest.as_bytes())?,
        Some(digest) => request_key(&headers, "/relay digest", digest.as_bytes())?,
        None if permissive => request_key(&headers, "/relay permissive", &content)?,
        None => request_key(&headers, "/relay", &content)?,
    };
    let key = match services.sending.begin(&caller.tenant, key).await? {
        Begun::Before(answer) => return Ok(answered(answer)),
        Begun::Now(key) => key,
    };
    let emails = relay::read(&content, &Limits::default(), now(&services))?;
    drop(content);
    let answer = services.sending.relay(&sender(&services, caller, client), emails, permissive, key).await?;
    Ok(answered(answer))
}

/// The query of `GET /relay/templates/{name}`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TemplateQuery {
    /// Absent: the published version.
    version: Option<i64>,
}

/// Shows a version of a template with the templates that it names, for a rendering elsewhere: the
/// published one, or the one that is asked for.
#[utoipa::path(
    get,
    path = "/relay/templates/{name}",
    tag = "emails",
    params(("name" = String, Path, description = "The id or alias of the template."), TemplateQuery, ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer.")),
    responses((status = 200, description = "The version. `ETag` is the digest of all of it.", body = StoredTemplate), (status = 304, description = "It is the one of `If-None-Match`.")),
)]
pub(crate) async fn template(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
    query: Result<Query<TemplateQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
    let query = error::query(query)?;
    let stored = services.templates.stored(&caller.tenant, &name, query.version).await?;
    let json = serde_json::to_vec(&stored).map_err(|error| {
        tracing::error!(%error, "a template cannot be encoded");
        RequestError::unavailable()
    })?;
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&json)));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let fields = [(header::CONTENT_TYPE, "application/json".to_owned()), (header::ETAG, tag)];
    Ok((fields, json).into_response())
}
