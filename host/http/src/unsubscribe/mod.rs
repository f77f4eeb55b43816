//! `/u/{token}`: the unsubscribe page, and one-click unsubscribing (RFC 8058).
//!
//! GET changes nothing: scanners and proxies follow links. POST to the URL itself is what mail
//! programs send, without cookies and without being redirected; the buttons of the page have paths
//! of their own.

pub(crate) mod view;

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use relevo_api::unsubscribe::{SubscriberAnswer, UnsubscribeAction};
use relevo_pages::unsubscribe::{self as pages, PageRequest};
use relevo_relay::suppressions::SuppressionError;
use relevo_relay::tracking::TokenAnswer;
use relevo_relay::unsubscribe::{Change, LinkVisit, Method, UnsubscribeEndpoint};

use crate::authority::Authority;
use crate::error::{RequestError, worded};
use crate::observe::ClientAddress;
use crate::tracking::{RETRY_AFTER, response};

/// Octets of a body that are read. What it says does not matter to RFC 8058.
const MAX_BODY: usize = 64 << 10;

pub(crate) fn routes() -> Router<Arc<UnsubscribeEndpoint>> {
    Router::new()
        .route("/u/{token}", get(show).post(one_click))
        .route("/u/{token}/leave", post(leave))
        .route("/u/{token}/return", post(come_back))
}

/// Where a request comes from and the languages that it wants.
struct Reader {
    client: IpAddr,
    host: String,
    languages: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RequestError> {
        let missing = |_| RequestError::unavailable();
        let Extension(ClientAddress(client)) =
            Extension::from_request_parts(parts, state).await.map_err(missing)?;
        let Extension(Authority(host)) =
            Extension::from_request_parts(parts, state).await.map_err(missing)?;
        let field = parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Ok(Self { client, host, languages: field.unwrap_or_default().to_owned() })
    }
}

/// The page. Nothing is changed, and nothing is written.
async fn show(
    State(unsubscribe): State<Arc<UnsubscribeEndpoint>>,
    reader: Reader,
    Path(token): Path<String>,
) -> Response {
    let shown = unsubscribe.show(&reader.visit(&token)).await;
    reader.answer(&token, UnsubscribeAction::Show, shown, view::subscriber)
}

/// RFC 8058 section 3.2: the recipient's mail program asks. Whatever the body says, it is read and
/// dropped.
async fn one_click(
    State(unsubscribe): State<Arc<UnsubscribeEndpoint>>,
    reader: Reader,
    Path(token): Path<String>,
    body: Body,
) -> Result<Response, RequestError> {
    let _ = to_bytes(body, MAX_BODY).await;
    let asked = (Change::Leave, Method::OneClick);
    match unsubscribe.change(&reader.visit(&token), asked, None).await {
        Ok(TokenAnswer::Genuine(_)) => Ok(response(pages::one_click_done())),
        Ok(TokenAnswer::Unknown) => Err(RequestError::NotFound("not found".to_owned())),
        Ok(TokenAnswer::TooMany) => Err(RequestError::TooMany { retry_after: RETRY_AFTER }),
        Err(_) => Err(RequestError::unavailable()),
    }
}

/// The button that leaves.
async fn leave(
    State(unsubscribe): State<Arc<UnsubscribeEndpoint>>,
    reader: Reader,
    Path(token): Path<String>,
    body: Body,
) -> Response {
    let list = list(body).await;
    let asked = (Change::Leave, Method::Page);
    let changed = unsubscribe.change(&reader.visit(&token), asked, list.as_deref()).await;
    reader.answer(&token, UnsubscribeAction::Leave, changed, view::changed)
}

/// The button that undoes it.
async fn come_back(
    State(unsubscribe): State<Arc<UnsubscribeEndpoint>>,
    reader: Reader,
    Path(token): Path<String>,
    body: Body,
) -> Response {
    let list = list(body).await;
    let asked = (Change::ComeBack, Method::Page);
    let changed = unsubscribe.change(&reader.visit(&token), asked, list.as_deref()).await;
    reader.answer(&token, UnsubscribeAction::Return, changed, view::changed)
}

/// The list that a form names.
async fn list(form: Body) -> Option<String> {
    pages::list_field(&to_bytes(form, pages::MAX_FORM).await.unwrap_or_default())
}

impl Reader {
    fn visit<'a>(&'a self, token: &'a str) -> LinkVisit<'a> {
        LinkVisit { host: &self.host, token, client: Some(self.client), tenant: None }
    }

    fn answer<T>(
        &self,
        token: &str,
        action: UnsubscribeAction,
        found: Result<TokenAnswer<T>, SuppressionError>,
        view: impl FnOnce(&T) -> SubscriberAnswer,
    ) -> Response {
        let page = PageRequest::new(&self.host, &self.languages);
        worded(response(match found {
            Ok(TokenAnswer::Genuine(found)) => page.subscriber(token, action, &view(&found)),
            Ok(TokenAnswer::Unknown) => page.unknown(),
            Ok(TokenAnswer::TooMany) => page.too_many(),
            Err(_) => page.unavailable(),
        }))
    }
}
