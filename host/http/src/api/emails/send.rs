//! `POST /emails` and `POST /emails/batch`.

use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use relevo_api::answer::BatchError;
use relevo_api::{CheckedBatch, EmailRequest, Limits, Problem, batch, check};
use relevo_relay::sending::{Begun, JsonAnswer, RequestKey, SendRefusal, Sender};
use sha2::{Digest, Sha256};

use crate::api::ApiServices;
use crate::api::auth::Caller;
use crate::bearer::Proven;
use crate::error::RequestError;
use crate::observe::ClientAddress;

/// Characters of an idempotency key.
const MAX_KEY: usize = 256;

/// Sends an email. The answer means that it is on disk.
#[utoipa::path(
    post,
    path = "/emails",
    tag = "emails",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 256, pattern = "^[ -~]+$", description = "At most 256 characters; a repetition within 24 hours gets the same answer.")),
    request_body = relevo_api::EmailRequest,
    responses((status = 202, description = "It is on disk.", body = relevo_api::answer::EmailAnswer), (status = 200, description = "It was a trial: nothing is sent.", body = relevo_api::answer::EmailAnswer)),
)]
pub(crate) async fn send(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Extension(client): Extension<ClientAddress>,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Response, RequestError> {
    let key = request_key(&headers, "/emails", &content)?;
    let key = match services.sending.begin(&caller.tenant, key).await? {
        Begun::Before(answer) => return Ok(answered(answer)),
        Begun::Now(key) => key,
    };
    let request: EmailRequest = relevo_api::json::read(&content)?;
    drop(content);
    let checked = check::check(request, &Limits::default(), now(&services))?;
    let answer = services.sending.send(&sender(&services, caller, client), checked, key).await?;
    Ok(answered(answer))
}

/// Sends up to 1,000 emails, all or none. With `x-batch-validation: permissive` those that cannot
/// be sent are left out.
#[utoipa::path(
    post,
    path = "/emails/batch",
    tag = "emails",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 256, pattern = "^[ -~]+$", description = "At most 256 characters; a repetition within 24 hours gets the same answer."), ("x-batch-validation" = Option<String>, Header, description = "`strict` (without it) or `permissive`: those that cannot be sent are left out.")),
    request_body = Vec<relevo_api::EmailRequest>,
    responses((status = 202, description = "All of them are on disk.", body = relevo_api::answer::BatchAnswer), (status = 200, description = "It was a trial: nothing is sent.", body = relevo_api::answer::BatchAnswer)),
)]
pub(crate) async fn send_batch(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Extension(client): Extension<ClientAddress>,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Response, RequestError> {
    let permissive = is_permissive(&headers)?;
    let path = if permissive { "/emails/batch permissive" } else { "/emails/batch" };
    let key = request_key(&headers, path, &content)?;
    let key = match services.sending.begin(&caller.tenant, key).await? {
        Begun::Before(answer) => return Ok(answered(answer)),
        Begun::Now(key) => key,
    };
    let CheckedBatch { requests, problems } = batch::read(&content, &Limits::default(), now(&services))?;
    drop(content);
    if !problems.is_empty() && !permissive {
        return Err(RequestError::InvalidFields(problems.into_iter().map(|(_, problem)| problem).collect()));
    }
    let errors =
        problems.into_iter().map(|(index, Problem { param, message })| BatchError { index, param, message });
    let sender = sender(&services, caller, client);
    let sent = services.sending.send_batch(&sender, requests, errors.collect(), permissive, key).await;
    Ok(answered(sent?))
}

/// What `x-batch-validation` says.
pub(in crate::api) fn is_permissive(headers: &HeaderMap) -> Result<bool, RequestError> {
    match headers.get("x-batch-validation").map(HeaderValue::as_bytes) {
        None | Some(b"strict") => Ok(false),
        Some(b"permissive") => Ok(true),
        Some(_) => Err(RequestError::invalid("x-batch-validation", "must be `strict` or `permissive`")),
    }
}

/// The idempotency key, and the digest of what it stands for: content alone says not what is asked.
pub(in crate::api) fn request_key(
    headers: &HeaderMap,
    path: &str,
    content: &[u8],
) -> Result<Option<RequestKey>, RequestError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
    let key = key.ok_or_else(|| {
        let message = format!("the idempotency key must have 1 to {MAX_KEY} printable ASCII characters");
        RequestError::IdempotencyKey(message)
    })?;
    let digest = Sha256::new().chain_update(path).chain_update([0]).chain_update(content).finalize();
    Ok(Some(RequestKey { key: key.to_owned(), digest: digest.into() }))
}

pub(in crate::api) fn sender(services: &ApiServices, caller: Caller, client: ClientAddress) -> Sender {
    let ClientAddress(peer) = client;
    Sender {
        settings: services.settings.get(),
        name: caller.name().to_owned(),
        only_domain: caller.domain().map(str::to_owned),
        tenant: caller.tenant,
        peer: Some(peer),
    }
}

pub(in crate::api) fn now(services: &ApiServices) -> u64 {
    u64::try_from(services.sending.now()).unwrap_or(0)
}

/// 202: the messages are on disk. 200: nothing was kept.
pub(in crate::api) fn answered(answer: JsonAnswer) -> Response {
    let status = if answer.kept { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], answer.json).into_response();
    if answer.repeated {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

impl From<SendRefusal> for RequestError {
    fn from(refusal: SendRefusal) -> Self {
        match refusal {
            SendRefusal::Invalid(problems) => Self::InvalidFields(problems),
            SendRefusal::Refused { param, rule, message } => {
                Self::Invalid { param: Some(param.into()), message: format!("{message} ({rule})") }
            }
            SendRefusal::KeyInUse => Self::RequestUnderWay,
            SendRefusal::KeyOfAnother => Self::KeyOfAnotherRequest,
            SendRefusal::QuotaExceeded(exceeded) => exceeded.into(),
            SendRefusal::TryLater { message, .. } => Self::Unavailable(message),
            SendRefusal::NotFound(message) => Self::NotFound(message),
            SendRefusal::Conflict(message) => Self::Conflict(message),
            SendRefusal::Busy => Self::TooMany { retry_after: Duration::from_secs(1) },
            SendRefusal::Unavailable => Self::unavailable(),
        }
    }
}
