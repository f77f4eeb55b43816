//! `/u/{token}`: the unsubscribe page, and one-click unsubscribing (RFC 8058).
//!
//! GET changes nothing: scanners and proxies follow links. POST to the URL itself is what mail
//! programs send, without cookies and without being redirected; the buttons of the page have paths
//! of their own.

mod page;
mod texts;

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use relevo_relay::suppressions::{MailingList, SuppressionError};
use relevo_relay::tracking::TokenAnswer;
use relevo_relay::unsubscribe::{Change, Changed, Method, Subscriber, UnsubscribeEndpoint};

use self::page::{CONTENT_SECURITY_POLICY, SubscriberPage, notice};
use self::texts::Language;
use crate::authority::Authority;
use crate::error::{RequestError, worded};
use crate::observe::ClientAddress;
use crate::tracking::{RETRY_AFTER, no_store};

/// Octets of a body that are read. What it says does not matter to RFC 8058.
const MAX_BODY: usize = 64 << 10;
/// Octets of a form.
const MAX_FORM: usize = 1 << 10;

pub(crate) fn routes() -> Router<Arc<UnsubscribeEndpoint>> {
    Router::new()
        .route("/u/{token}", get(show).post(one_click))
        .route("/u/{token}/leave", post(leave))
        .route("/u/{token}/return", post(come_back))
}

/// Where a request comes from and what its pages are like.
struct PageRequest {
    client: IpAddr,
    host: String,
    language: Language,
}

impl<S: Send + Sync> FromRequestParts<S> for PageRequest {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RequestError> {
        let missing = |_| RequestError::unavailable();
        let Extension(ClientAddress(client)) =
            Extension::from_request_parts(parts, state).await.map_err(missing)?;
        let Extension(Authority(host)) =
            Extension::from_request_parts(parts, state).await.map_err(missing)?;
        let field = parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Ok(Self { client, host, language: texts::wanted(field.unwrap_or_default()) })
    }
}

/// The page. Nothing is changed, and nothing is written.
async fn show(
    State(unsubscribe): State<Arc<UnsubscribeEndpoint>>,
    request: PageRequest,
    Path(token): Path<String>,
) -> Response {
    match unsubscribe.show(&request.host, &token, request.client).await {
        Ok(TokenAnswer::Genuine(subscriber)) => request.page(&token, &subscriber, None),
        other => request.refused(other.map(|answer| matches!(answer, TokenAnswer::TooMany))),
    }
}

/// RFC 8058 section 3.2: the recipient's mail program asks. Whatever the body says, it is read and
/// dropped.
async fn one_click(
    State(unsubscribe): State<Arc<UnsubscribeEndpoint>>,
    request: PageRequest,
    Path(token): Path<String>,
    body: Body,
) -> Result<Response, RequestError> {
    let _ = to_bytes(body, MAX_BODY).await;
    let asked = (Change::Leave, Method::OneClick);
    match unsubscribe.change(&request.host, &token, request.client, asked, None).await {
        Ok(TokenAnswer::Genuine(_)) => Ok((no_store(), "unsubscribed\n").into_response()),
        Ok(TokenAnswer::Unknown) => Err(RequestError::NotFound("not found".to_owned())),
        Ok(TokenAnswer::TooMany) => Err(RequestError::TooMany { retry_after: RETRY_AFTER }),
        Err(_) => Err(RequestError::unavailable()),
    }
}

/// The button that leaves.
async fn leave(
    State(unsubscribe): State<Arc<UnsubscribeEndpoint>>,
    request: PageRequest,
    Path(token): Path<String>,
    body: Body,
) -> Response {
    changed(&unsubscribe, &request, &token, Change::Leave, body).await
}

/// The button that undoes it.
async fn come_back(
    State(unsubscribe): State<Arc<UnsubscribeEndpoint>>,
    request: PageRequest,
    Path(token): Path<String>,
    body: Body,
) -> Response {
    changed(&unsubscribe, &request, &token, Change::ComeBack, body).await
}

async fn changed(
    unsubscribe: &UnsubscribeEndpoint,
    request: &PageRequest,
    token: &str,
    change: Change,
    body: Body,
) -> Response {
    let form = to_bytes(body, MAX_FORM).await.unwrap_or_default();
    let list = list_field(&form);
    let asked = (change, Method::Page);
    match unsubscribe.change(&request.host, token, request.client, asked, list.as_deref()).await {
        Ok(TokenAnswer::Genuine(Changed { subscriber, list })) => {
            request.page(token, &subscriber, Some((change, &list)))
        }
        other => request.refused(other.map(|answer| matches!(answer, TokenAnswer::TooMany))),
    }
}

/// The value of `list` in a form; ids need no decoding.
fn list_field(form: &Bytes) -> Option<String> {
    let form = std::str::from_utf8(form).ok()?;
    form.split('&').find_map(|pair| pair.strip_prefix("list=")).map(str::to_owned)
}

impl PageRequest {
    fn page(&self, token: &str, subscriber: &Subscriber, done: Option<(Change, &MailingList)>) -> Response {
        let path = format!("/u/{token}");
        let page =
            SubscriberPage { language: self.language, path: &path, host: &self.host, subscriber, done };
        self.html(StatusCode::OK, page.html())
    }

    /// `Ok(true)`: too many requests; `Ok(false)`: no such token; an error: the store failed.
    fn refused(&self, why: Result<bool, SuppressionError>) -> Response {
        let texts = self.language.texts;
        let retry = [(header::RETRY_AFTER, RETRY_AFTER.as_secs().to_string())];
        let busy = || notice(self.language, &texts.busy_title, &texts.busy);
        worded(match why {
            Ok(false) => {
                let page = notice(self.language, &texts.unknown_title, &texts.unknown);
                self.html(StatusCode::NOT_FOUND, page)
            }
            Ok(true) => (retry, self.html(StatusCode::TOO_MANY_REQUESTS, busy())).into_response(),
            Err(_) => (retry, self.html(StatusCode::SERVICE_UNAVAILABLE, busy())).into_response(),
        })
    }

    fn html(&self, status: StatusCode, page: String) -> Response {
        let fields = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_LANGUAGE, self.language.tag),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY.as_str()),
            (header::VARY, "accept-language"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ];
        (status, no_store(), fields, page).into_response()
    }
}
