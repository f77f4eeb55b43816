//! `POST /relay/events` and `POST /relay/unsubscribe`: what readers did at a tracking host that the
//! edge gateway answers.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use relevo_api::tracking;
use relevo_api::unsubscribe::{SubscriberAnswer, UnsubscribeAction, UnsubscribeMethod, UnsubscribeRequest};
use relevo_mailkit::hex;
use relevo_relay::sending::{Begun, RequestKey};
use relevo_relay::suppressions::SuppressionError;
use relevo_relay::tracking::TokenAnswer;
use relevo_relay::unsubscribe::{Change, LinkVisit, Method};
use sha2::{Digest, Sha256};

use super::ApiServices;
use super::auth::Caller;
use super::body;
use super::emails::send::{answered, request_key};
use crate::bearer::Proven;
use crate::error::RequestError;
use crate::tracking::RETRY_AFTER;
use crate::unsubscribe::view;

/// Counts clicks and opens that were answered elsewhere. Each token is verified here. The answer
/// means that the events are on disk; one that repeats another within a minute is added to it at
/// the end of the minute. The same report within 24 hours counts once.
#[utoipa::path(
    post,
    path = "/relay/events",
    tag = "emails",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 256, pattern = "^[ -~]+$", description = "At most 256 characters. Absent: a report with the same octets is the same.")),
    request_body = tracking::TrackingReport,
    responses((status = 202, description = "What counts is on disk.", body = tracking::ReportAnswer)),
)]
pub(crate) async fn events(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Response, RequestError> {
    let key = match request_key(&headers, "/relay/events", &content)? {
        Some(key) => key,
        None => key_of(&content),
    };
    let key = match services.sending.begin(&caller.tenant, Some(key.clone())).await? {
        Begun::Before(answer) => return Ok(answered(answer)),
        Begun::Now(key) => key.ok_or_else(RequestError::unavailable)?,
    };
    let events = tracking::read(&content)?;
    drop(content);
    Ok(answered(services.tracking.report(&caller.tenant, events, key).await?))
}

/// The key of a report that has none: its own digest. Times and clients are in it.
fn key_of(content: &[u8]) -> RequestKey {
    let digest: [u8; 32] = Sha256::digest(content).into();
    RequestKey { key: format!("/relay/events {}", hex::encode(&digest)), digest }
}

/// Shows what a recipient gets, or changes it, for an unsubscribe page that is answered elsewhere.
/// The token is verified here. A change is on disk when it is answered.
#[utoipa::path(
    post,
    path = "/relay/unsubscribe",
    tag = "emails",
    request_body = UnsubscribeRequest,
    responses((status = 200, description = "What the page is made of.", body = SubscriberAnswer)),
)]
pub(crate) async fn unsubscribe(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    content: Bytes,
) -> Result<Json<SubscriberAnswer>, RequestError> {
    let asked: UnsubscribeRequest = body::read(&content)?;
    let visit = LinkVisit {
        host: &asked.host,
        token: &asked.token,
        client: asked.address,
        tenant: Some(&caller.tenant),
    };
    let method = match asked.method {
        UnsubscribeMethod::Page => Method::Page,
        UnsubscribeMethod::OneClick => Method::OneClick,
    };
    let change = match asked.action {
        UnsubscribeAction::Show => {
            let shown = services.unsubscribe.show(&visit).await;
            return Ok(Json(view::subscriber(&genuine(shown)?)));
        }
        UnsubscribeAction::Leave => Change::Leave,
        UnsubscribeAction::Return => Change::ComeBack,
    };
    let changed = services.unsubscribe.change(&visit, (change, method), asked.list.as_deref()).await;
    Ok(Json(view::changed(&genuine(changed)?)))
}

/// A token that is not known is a wrong value. 404 is for those who ask at a wrong address.
fn genuine<T>(found: Result<TokenAnswer<T>, SuppressionError>) -> Result<T, RequestError> {
    match found {
        Ok(TokenAnswer::Genuine(found)) => Ok(found),
        Ok(TokenAnswer::Unknown) => {
            let message = "not known for this tenant and host, or its page does not show the list";
            Err(RequestError::invalid("token", message))
        }
        Ok(TokenAnswer::TooMany) => Err(RequestError::TooMany { retry_after: RETRY_AFTER }),
        Err(_) => Err(RequestError::unavailable()),
    }
}
