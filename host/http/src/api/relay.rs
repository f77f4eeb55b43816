//! `POST /relay`: messages that are finished, from the edge gateway or from programs that write
//! their own MIME.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use relevo_api::{Limits, relay};
use relevo_relay::sending::Begun;

use super::emails::send::{answered, now, request_key, sender};
use crate::api::ApiServices;
use crate::api::auth::Caller;
use crate::bearer::Proven;
use crate::error::RequestError;
use crate::observe::ClientAddress;

/// The field with the digest of what an idempotency key stands for: a caller that makes the messages anew
/// for each try, as the edge gateway does, sends the digest of what it makes them from.
const DIGEST: &str = "x-relevo-digest";

/// Takes finished messages with their envelopes, all or none. The answer means that they are on
/// disk. Who may send as whom, suppressions, plugins and quotas are asked as for any other message.
#[utoipa::path(
    post,
    path = "/relay",
    tag = "emails",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 256, pattern = "^[ -~]+$", description = "At most 256 characters; a repetition within 24 hours gets the same answer."), ("X-Relevo-Digest" = Option<String>, Header, description = "What the idempotency key stands for, such as a SHA-256, where the body differs from one try to the next. Absent: the body.")),
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
    let key = match headers.get(DIGEST) {
        Some(digest) => request_key(&headers, "/relay digest", digest.as_bytes())?,
        None => request_key(&headers, "/relay", &content)?,
    };
    let key = match services.sending.begin(&caller.tenant, key).await? {
        Begun::Before(answer) => return Ok(answered(answer)),
        Begun::Now(key) => key,
    };
    let emails = relay::read(&content, &Limits::default(), now(&services))?;
    drop(content);
    let answer = services.sending.relay(&sender(&services, caller, client), emails, key).await?;
    Ok(answered(answer))
}
