//! `/c/{token}` and `/o/{token}`. An unknown or altered token is a 404: never a redirect to where a
//! stranger wants.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use relevo_relay::tracking::{Client, TokenAnswer, TrackingEndpoint};

use crate::authority::Authority;
use crate::error::RequestError;
use crate::observe::ClientAddress;

/// For a client that sends too many unknown tokens.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(10);

pub(crate) fn routes() -> Router<Arc<TrackingEndpoint>> {
    Router::new().route("/c/{token}", get(click)).route("/o/{token}", get(open))
}

/// A transparent GIF of one pixel, 43 octets.
const PIXEL: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

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
    Ok((StatusCode::FOUND, no_store(), [(header::LOCATION, String::from(url))]).into_response())
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
    Ok((no_store(), [(header::CONTENT_TYPE, "image/gif")], PIXEL.as_slice()).into_response())
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
    let reason = status.canonical_reason().unwrap_or("error").to_ascii_lowercase();
    (status, no_store(), format!("{reason}\n")).into_response()
}

pub(crate) fn no_store() -> [(header::HeaderName, &'static str); 3] {
    [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("x-robots-tag"), "noindex"),
    ]
}
