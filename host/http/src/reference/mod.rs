//! `/openapi.json` and `/docs`: the reference of the API, made from the code.
//!
//! Both are public, as they have no data of a tenant. The page is plain HTML made from the
//! document: no script, nothing from elsewhere.

pub(crate) mod errors;
mod examples;
mod page;
mod schema;

use std::sync::LazyLock;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use relevo_mailkit::event::Event;
use serde_json::Value;

use crate::api::openapi;

/// The page has one style sheet of its own, and runs nothing.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("style.css");

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| finished(serde_json::to_value(openapi::document()).unwrap_or_default()));
static JSON: LazyLock<Bytes> = LazyLock::new(|| DOCUMENT.to_string().into());
static PAGE: LazyLock<Bytes> = LazyLock::new(|| page::render(&DOCUMENT).into());

/// The document of the API as it is served.
#[must_use]
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// Puts right what the macros cannot know: each operation has an id of its own, events have the
/// names that a macro of ours gives them, and requests have examples.
fn finished(mut document: Value) -> Value {
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
            let id = std::iter::once(method.as_str()).chain(words).collect::<Vec<_>>().join("_");
            operation["operationId"] = id.into();
        }
    }
    let events = document["components"]["schemas"]["Event"]["oneOf"].as_array_mut();
    for (event, name) in events.into_iter().flatten().zip(Event::NAMES) {
        for part in event["allOf"].as_array_mut().into_iter().flatten() {
            if let Some(kind) = part.pointer_mut("/properties/type/enum/0") {
                *kind = (*name).into();
            }
        }
    }
    examples::add(&mut document);
    document
}

pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/openapi.json", get(async || answer("application/json", JSON.clone())))
        .route("/docs", get(async || answer("text/html; charset=utf-8", PAGE.clone())))
        .route(
            "/docs/style.css",
            get(async || answer("text/css; charset=utf-8", Bytes::from_static(STYLE.as_bytes()))),
        )
}

fn answer(content_type: &'static str, body: Bytes) -> Response {
    let fields = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "max-age=300"),
    ];
    (fields, body).into_response()
}
