//! `/c/{token}` and `/o/{token}`. An unknown or altered token is a 404: never a redirect to where a stranger wants.

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::authority::Authority;
use crate::state::HttpState;

/// A transparent GIF of one pixel, 43 octets.
const PIXEL: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// A click: writes `email.clicked`, redirects to the destination in the token. HEAD writes nothing: scanners use it.
pub(crate) async fn click(
    State(state): State<HttpState>,
    method: Method,
    authority: Authority,
    Path(token): Path<String>,
) -> Response {
    let url = if method == Method::HEAD {
        state.tracking.click_target(&authority.0, &token)
    } else {
        state.tracking.click(&authority.0, &token).await
    };
    match url {
        Some(url) => (StatusCode::FOUND, no_store(), [(header::LOCATION, String::from(url))]).into_response(),
        None => not_found(),
    }
}

/// An open: writes `email.opened`, answers with the pixel. HEAD writes nothing.
pub(crate) async fn open(
    State(state): State<HttpState>,
    method: Method,
    authority: Authority,
    Path(token): Path<String>,
) -> Response {
    let genuine = if method == Method::HEAD {
        state.tracking.is_open(&authority.0, &token)
    } else {
        state.tracking.open(&authority.0, &token).await
    };
    if genuine {
        (no_store(), [(header::CONTENT_TYPE, "image/gif")], PIXEL.as_slice()).into_response()
    } else {
        not_found()
    }
}

/// What a tracking host answers to everything else.
pub(crate) fn not_found() -> Response {
    (StatusCode::NOT_FOUND, no_store(), "not found\n").into_response()
}

fn no_store() -> [(header::HeaderName, &'static str); 3] {
    [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("x-robots-tag"), "noindex"),
    ]
}
