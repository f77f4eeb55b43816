//! The style sheet and the script.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The style sheet of the pages, and the colours of charts.
static STYLE: LazyLock<String> =
    LazyLock::new(|| relevo_charts::stylesheet() + include_str!("../assets/panel.css"));
const SCRIPT: &str = include_str!("../assets/panel.js");

static STYLE_PATH: LazyLock<String> = LazyLock::new(|| named("panel", &STYLE, "css"));
static SCRIPT_PATH: LazyLock<String> = LazyLock::new(|| named("panel", SCRIPT, "js"));

/// The address of the style sheet: it changes with the content.
pub(crate) fn style_path() -> &'static str {
    &STYLE_PATH
}

/// The address of the script.
pub(crate) fn script_path() -> &'static str {
    &SCRIPT_PATH
}

/// A name with the FNV-1a hash of the content: it tells versions apart, nobody trusts it.
fn named(name: &str, content: &str, extension: &str) -> String {
    let hash = content.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("/panel/assets/{name}-{hash:016x}.{extension}")
}

/// Answers an asset. Everybody may read them.
pub(crate) async fn asset(Path(name): Path<String>, fields: HeaderMap) -> Response {
    let path = format!("/panel/assets/{name}");
    let (media_type, content) = match path {
        path if path == *STYLE_PATH => ("text/css; charset=utf-8", STYLE.as_str()),
        path if path == *SCRIPT_PATH => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let tag = format!("\"{name}\"");
    let known = fields.get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    if known == Some(&tag) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let fields = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
        (header::ETAG, tag),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (fields, content).into_response()
}
