//! `/healthz`, `/readyz`, `/metrics`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::OperationsServices;
use super::auth::MetricsReader;
use crate::bearer::Proven;
use crate::error::RequestError;

/// The process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// New mail would be accepted.
pub(super) async fn readyz(State(services): State<OperationsServices>) -> Response {
    match (services.ready)() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

/// Prometheus text exposition (OpenMetrics 1.0).
pub(super) async fn metrics(
    State(services): State<OperationsServices>,
    _: Proven<MetricsReader>,
) -> Result<Response, RequestError> {
    match (services.encode_metrics)() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
        }
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            Err(RequestError::unavailable())
        }
    }
}
