//! `/c/{token}` and `/o/{token}`. An unknown or altered token is a 404: never a redirect to where a
//! stranger wants.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use relevo_pages::{ReaderAnswer, tracking as pages};
use relevo_relay::tracking::{Client, TokenAnswer, TrackingEndpoint};

use crate::authority::Authority;
use crate::error::RequestError;
use crate::observe::ClientAddress;

/// For a client that sends too many unknown tokens.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(pages::RETRY_AFTER as u64);

pub(crate) fn routes() -> Router<Arc<TrackingEndpoint>> {
    Router::new().route("/c/{token}", get(click)).route("/o/{token}", get(open))
}

/// A click: writes `email.clicked`, redirects to the destination in the token. HEAD writes nothing:
/// scanners use it.
async fn click(
    State(tracking): State<Arc<TrackingEndpoint>>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    method: Method,
    headers: HeaderMap,
    Extension(authority): Extension<Authority>,
    Path(token): Path<String>,
) -> Result<Response, RequestError> {
    let url = if method == Method::HEAD {
        tracking.click_target(&authority.0, &token).ok_or_else(unknown)?
    } else {
        genuine(tracking.click(&authority.0, &token, client(address, &headers)).await)?
    };
    Ok(response(pages::redirect(&url)))
}

/// An open: writes `email.opened`, answers with the pixel. HEAD writes nothing.
async fn open(
    State(tracking): State<Arc<TrackingEndpoint>>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    method: Method,
    headers: HeaderMap,
    Extension(authority): Extension<Authority>,
    Path(token): Path<String>,
) -> Result<Response, RequestError> {
    if method == Method::HEAD {
        tracking.is_open(&authority.0, &token).then_some(()).ok_or_else(unknown)?;
    } else {
        genuine(tracking.open(&authority.0, &token, client(address, &headers)).await)?;
    }
    Ok(response(pages::pixel()))
}

fn client(address: IpAddr, headers: &HeaderMap) -> Client<'_> {
    let user_agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Client { address, user_agent }
}

fn genuine<T>(answer: TokenAnswer<T>) -> Result<T, RequestError> {
    match answer {
        TokenAnswer::Genuine(found) => Ok(found),
        TokenAnswer::Unknown => Err(unknown()),
        TokenAnswer::TooMany => Err(RequestError::TooMany { retry_after: RETRY_AFTER }),
    }
}

fn unknown() -> RequestError {
    RequestError::NotFound("not found".to_owned())
}

/// One line for people who followed a broken link.
pub(crate) fn words(error: &RequestError, _: &str) -> Response {
    let status = error.status();
    response(pages::words(status.as_u16(), status.canonical_reason().unwrap_or("error")))
}

/// The answer as the framework has it.
pub(crate) fn response(answer: ReaderAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in answer.fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}
