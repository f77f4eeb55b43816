//! Why a request is refused, before any router has put it into its own words.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use relevo_api::Problem;
use serde::Serialize;
use tower_http::request_id::RequestId;

/// A refusal. The text says what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request breaks HTTP.
    #[error("{0}")]
    Malformed(String),
    /// No key was sent where one is needed.
    #[error("send your API key as `Authorization: Bearer KEY`")]
    MissingKey,
    /// The key may not do this.
    #[error("{0}")]
    InvalidKey(String),
    /// The key is good, and may not do this.
    #[error("{0}")]
    Restricted(String),
    /// There is no such thing, or it is somebody else's.
    #[error("{0}")]
    NotFound(String),
    /// The path exists, but not with this method.
    #[error("this path does not have this method: the Allow field names those that it has")]
    MethodNotAllowed,
    /// Something else must end first.
    #[error("{0}")]
    Conflict(String),
    /// It was there, and is kept no longer.
    #[error("{0}")]
    Gone(String),
    /// The content of a message is kept no longer.
    #[error("{0}")]
    ContentGone(String),
    /// The content is larger than it may be.
    #[error("{0}")]
    TooLarge(String),
    /// The request came to a name that is not served here.
    #[error("{0}")]
    Misdirected(String),
    /// A parameter or the content is wrong.
    #[error("{message}")]
    Invalid {
        /// The parameter, or the path of the value in the content, such as `to[0]`.
        param: Option<Cow<'static, str>>,
        /// What is wrong.
        message: String,
    },
    /// Several values of the content are wrong; at least one.
    #[error("{}", first(.0))]
    InvalidFields(Vec<Problem>),
    /// The `Idempotency-Key` field cannot be used.
    #[error("{0}")]
    IdempotencyKey(String),
    /// A request with the same idempotency key is under way.
    #[error("a request with this idempotency key is under way: try again when it is answered")]
    RequestUnderWay,
    /// The idempotency key was used for another request.
    #[error("this idempotency key was used for another request: take a new key")]
    KeyOfAnotherRequest,
    /// Too many requests of this client or tenant.
    #[error("too many requests: try again in {} s", retry_after.as_secs())]
    TooMany {
        /// When the next one may come.
        retry_after: Duration,
    },
    /// The tenant has sent as much as it may.
    #[error("{message}")]
    QuotaExceeded {
        /// `hourly_quota_exceeded`, `daily_quota_exceeded` or `monthly_quota_exceeded`.
        name: &'static str,
        /// What is used up, and until when.
        message: String,
        /// When more may be sent.
        retry_after: Duration,
    },
    /// Requests of all callers together are too large.
    #[error("the relay has too many requests at once, try again in a second")]
    Overloaded,
    /// A handler broke. The log has the details.
    #[error("the relay made a mistake, which is in its log under the id of this request")]
    Internal,
    /// The relay cannot do it now. The text is for the client; details go to the log.
    #[error("{0}")]
    Unavailable(String),
}

impl RequestError {
    /// 422 about a parameter.
    pub(crate) fn invalid(param: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::Invalid { param: Some(param.into()), message: message.into() }
    }

    /// 503 without details.
    pub(crate) fn unavailable() -> Self {
        Self::Unavailable("try again later".to_owned())
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::IdempotencyKey(_) => StatusCode::BAD_REQUEST,
            Self::MissingKey => StatusCode::UNAUTHORIZED,
            Self::InvalidKey(_) | Self::Restricted(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) | Self::RequestUnderWay | Self::KeyOfAnotherRequest => StatusCode::CONFLICT,
            Self::Gone(_) | Self::ContentGone(_) => StatusCode::GONE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Invalid { .. } | Self::InvalidFields(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany { .. } | Self::QuotaExceeded { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Overloaded | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A machine-readable name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "bad_request",
            Self::MissingKey => "missing_api_key",
            Self::InvalidKey(_) => "invalid_api_key",
            Self::Restricted(_) => "restricted_api_key",
            Self::NotFound(_) => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict(_) => "conflict",
            Self::Gone(_) | Self::ContentGone(_) => "gone",
            Self::TooLarge(_) => "payload_too_large",
            Self::Misdirected(_) => "misdirected_request",
            Self::Invalid { .. } | Self::InvalidFields(_) => "validation_error",
            Self::IdempotencyKey(_) => "invalid_idempotency_key",
            Self::RequestUnderWay => "concurrent_idempotent_requests",
            Self::KeyOfAnotherRequest => "invalid_idempotent_request",
            Self::TooMany { .. } => "rate_limit_exceeded",
            Self::QuotaExceeded { name, .. } => name,
            Self::Internal => "internal_error",
            Self::Overloaded | Self::Unavailable(_) => "unavailable",
        }
    }

    /// What the framework refused before a handler saw it, such as a path that is not UTF-8.
    fn of_framework(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Some(Self::TooLarge("the content is too large".to_owned())),
            status if status.is_client_error() => {
                Some(Self::Malformed("the request cannot be read".to_owned()))
            }
            _ => None,
        }
    }
}

/// The status, with the error beside it for [`answer_errors`].
impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Parameters of a query, or a refusal that names what is wrong.
pub(crate) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, RequestError> {
    query.map(|Query(query)| query).map_err(|e| RequestError::invalid("query", e.body_text()))
}

/// `{"statusCode":422,"name":"validation_error","message":"...","param":"after","request_id":"...",
/// "doc_url":"/docs#errors-validation_error"}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ErrorBody<'a> {
    /// The HTTP status again, for clients that log bodies.
    #[serde(rename = "statusCode")]
    status_code: u16,
    name: &'a str,
    message: String,
    /// The parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    /// Every mistake, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError<'a>>,
    /// Also in the `X-Request-Id` field and in the log.
    request_id: &'a str,
    /// Where the error is explained: a reference relative to the address of this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    doc_url: Option<String>,
}

/// One of several mistakes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct FieldError<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    param: &'a str,
    message: &'a str,
}

fn first(problems: &[Problem]) -> &str {
    problems.first().map_or("the request is not valid", |problem| problem.message.as_str())
}

/// The error as JSON, under a name that the router chooses, and where it is explained.
pub(crate) fn json(error: &RequestError, name: &str, request_id: &str, doc_url: Option<String>) -> Response {
    let status = error.status();
    let param = match error {
        RequestError::Invalid { param, .. } => param.as_deref(),
        RequestError::InvalidFields(problems) => {
            problems.first().map(|problem| problem.param.as_str()).filter(|param| !param.is_empty())
        }
        _ => None,
    };
    let errors = match error {
        RequestError::InvalidFields(problems) if problems.len() > 1 => {
            problems.iter().map(|p| FieldError { param: &p.param, message: &p.message }).collect()
        }
        _ => Vec::new(),
    };
    let body = ErrorBody {
        status_code: status.as_u16(),
        name,
        message: error.to_string(),
        param,
        errors,
        request_id,
        doc_url,
    };
    (status, Json(body)).into_response()
}

/// How a router words an error. The second argument is the id of the request.
pub(crate) type Words = fn(&RequestError, &str) -> Response;

/// Marks an answer whose error has its words.
#[derive(Debug, Clone, Copy)]
struct Worded;

/// An answer that says by itself what is wrong.
pub(crate) fn worded(mut response: Response) -> Response {
    response.extensions_mut().insert(Worded);
    response
}

/// Gives the errors of a router its words.
pub(crate) async fn answer_errors(State(words): State<Words>, request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let mut response = next.run(request).await;
    if response.extensions().get::<Worded>().is_some() {
        return response;
    }
    let error = response.extensions_mut().remove::<RequestError>();
    let Some(error) = error.or_else(|| RequestError::of_framework(response.status())) else {
        return response;
    };
    let id = id.as_ref().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    let mut worded = words(&error, id);
    let fields = worded.headers_mut();
    for (name, value) in response.headers() {
        if *name == header::ALLOW || name.as_str().starts_with("ratelimit-") {
            fields.insert(name.clone(), value.clone());
        }
    }
    match &error {
        RequestError::MissingKey => {
            fields.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        RequestError::TooMany { retry_after } | RequestError::QuotaExceeded { retry_after, .. } => {
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            fields.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        RequestError::Overloaded => {
            fields.insert(header::RETRY_AFTER, HeaderValue::from(1));
        }
        _ => {}
    }
    worded.extensions_mut().insert(Worded);
    worded
}
