//! `/healthz`, `/readyz`, `/metrics`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::state::HttpState;

/// The process answers.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// New mail would be accepted.
pub(crate) async fn readyz(State(state): State<HttpState>) -> Response {
    match (state.ready)() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

/// Prometheus text exposition (OpenMetrics 1.0).
pub(crate) async fn metrics(State(state): State<HttpState>) -> Response {
    match (state.encode_metrics)() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            ApiError::unavailable().into_response()
        }
    }
}
