//! Errors as clients see them:
//! `{"statusCode":422,"name":"validation_error","message":"...","param":"after","request_id":"..."}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An answer that is not a success. `message` says what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiError {
    /// The HTTP status again, for clients that log bodies.
    #[serde(rename = "statusCode")]
    pub status: u16,
    /// Machine-readable.
    pub name: &'static str,
    /// For people.
    pub message: String,
    /// The parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// Also in the `X-Request-Id` header and in the log.
    pub request_id: String,
}

impl ApiError {
    /// `request_id` is filled in when the answer leaves.
    #[must_use]
    pub fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            name,
            message: message.into(),
            param: None,
            request_id: String::new(),
        }
    }

    /// 422 about a parameter.
    #[must_use]
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", message);
        Self { param: Some(param.to_owned()), ..error }
    }

    /// 404.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 503, or 500 when it is our fault for good; details go to the log only.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "try again later")
    }
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        self.request_id = crate::serve::request_id();
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let id = self.request_id.clone();
        let mut response = (status, Json(self)).into_response();
        if let Ok(value) = id.parse() {
            response.headers_mut().insert("x-request-id", value);
        }
        response
    }
}
