//! The API, as the panel calls it: in the same process, by the same handlers, with the permissions of
//! the user.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::visitor::UserRole;

/// Octets of an answer that a page reads. The largest that a page asks for is a message.
const MAX_ANSWER: usize = 32 << 20;

/// Who calls the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiCaller {
    /// A user, about a tenant. Operators are a tenant's owner in its pages.
    Tenant {
        /// Id of the tenant.
        tenant: String,
        /// For the audit log, such as `user ana@example.com`.
        actor: String,
        /// Gives the scopes.
        role: UserRole,
    },
    /// An operator, about the relay.
    Operator {
        /// For the audit log.
        actor: String,
    },
}

/// Answers requests as the listeners of the API do, for callers that have signed in.
#[async_trait]
pub trait Api: Send + Sync {
    /// Answers one request. Its URI is the path and query of a route of the API or of operations.
    async fn call(&self, caller: ApiCaller, client: Option<IpAddr>, request: Request<Body>) -> Response;
}

/// The API for one caller.
#[derive(Clone)]
pub(crate) struct ApiClient {
    api: Arc<dyn Api>,
    caller: ApiCaller,
    client: Option<IpAddr>,
}

impl ApiClient {
    pub(crate) fn new(api: Arc<dyn Api>, caller: ApiCaller, client: Option<IpAddr>) -> Self {
        Self { api, caller, client }
    }

    /// Reads something.
    ///
    /// # Errors
    /// The API's, or an answer of another shape.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        let request = Request::builder().method(Method::GET).uri(path).body(Body::empty());
        read(self.checked(request).await?).await
    }

    /// Changes something, with a JSON body.
    ///
    /// # Errors
    /// The API's, or an answer of another shape.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        let body = serde_json::to_vec(body).map_err(|error| Problem::internal(&error))?;
        read(self.send_octets(method, path, "application/json", body.into()).await?).await
    }

    /// Changes something that needs no body.
    ///
    /// # Errors
    /// The API's, or an answer of another shape.
    pub(crate) async fn act<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, Problem> {
        let request = Request::builder().method(method).uri(path).body(Body::empty());
        read(self.checked(request).await?).await
    }

    /// Sends octets, and gives the answer as it is.
    ///
    /// # Errors
    /// The API's.
    pub(crate) async fn send_octets(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<Response, Problem> {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, media_type);
        self.checked(request.header(header::CONTENT_LENGTH, body.len()).body(Body::from(body))).await
    }

    /// The answer as it is: a download.
    ///
    /// # Errors
    /// The API's.
    pub(crate) async fn download(&self, path: &str) -> Result<Response, Problem> {
        let request = Request::builder().method(Method::GET).uri(path).body(Body::empty());
        self.checked(request).await
    }

    async fn checked(&self, request: axum::http::Result<Request<Body>>) -> Result<Response, Problem> {
        let request = request.map_err(|error| Problem::internal(&error))?;
        let response = self.api.call(self.caller.clone(), self.client, request).await;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, fields) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), MAX_ANSWER).await.unwrap_or_default();
        let problem = Problem::of(status, &fields, &body);
        // Operators may do all that a tenant's owner may: what they may not enter is no tenant.
        let is_operator = matches!(&self.caller, ApiCaller::Tenant { role: UserRole::Operator, .. });
        if is_operator && status == StatusCode::FORBIDDEN && problem.name == "restricted_api_key" {
            return Err(Problem { status: StatusCode::NOT_FOUND, ..problem });
        }
        Err(problem)
    }
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, Problem> {
    let body = to_bytes(response.into_body(), MAX_ANSWER).await;
    let body = body.map_err(|error| Problem::internal(&error))?;
    // An answer without content is a `null`.
    let body = if body.is_empty() { Bytes::from_static(b"null") } else { body };
    serde_json::from_slice(&body).map_err(|error| Problem::internal(&error))
}

/// A path of the API: segments are percent-encoded, parameters without a value are left out.
#[must_use]
pub(crate) fn path(segments: &[&str], parameters: &[(&str, &str)]) -> String {
    let mut path = String::new();
    for segment in segments {
        let encoded: String = form_urlencoded::byte_serialize(segment.as_bytes()).collect();
        path.push('/');
        path.push_str(&encoded.replace('+', "%20"));
    }
    let given = parameters.iter().filter(|(_, value)| !value.is_empty());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct List<T> {
    /// The entries.
    pub data: Vec<T>,
    /// There are more.
    #[serde(default)]
    pub has_more: bool,
    /// For `after` of the next page.
    #[serde(default)]
    pub next: Option<String>,
    /// Shards of a cluster that could not be asked: what they have is missing.
    #[serde(default)]
    pub unavailable_shards: Vec<u16>,
}

impl<T> List<T> {
    /// Nothing.
    pub(crate) fn none() -> Self {
        Self { data: Vec::new(), has_more: false, next: None, unavailable_shards: Vec::new() }
    }

    /// The cursor of the next page, if there is one: the list's, or the id of its last entry.
    pub(crate) fn cursor(&self, id: impl Fn(&T) -> &str) -> Option<String> {
        let last = || self.data.last().map(|entry| id(entry).to_owned());
        self.has_more.then(|| self.next.clone().or_else(last)).flatten()
    }
}

/// Why a page cannot be shown, or a form not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// The machine-readable name, such as `validation_error`.
    pub name: String,
    /// For people, in English.
    pub message: String,
    /// Mistakes by parameter.
    pub fields: Vec<(String, String)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    name: String,
    message: String,
    param: Option<String>,
    errors: Vec<FieldError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FieldError {
    param: String,
    message: String,
}

impl Problem {
    /// A problem of the panel's own.
    #[must_use]
    pub fn new(status: StatusCode, name: &str, message: impl Into<String>) -> Self {
        Self { status, name: name.to_owned(), message: message.into(), fields: Vec::new() }
    }

    /// There is no such page.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "")
    }

    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "the panel cannot read an answer of the API");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "")
    }

    /// An error of the API.
    fn of(status: StatusCode, fields: &HeaderMap, body: &[u8]) -> Self {
        let ErrorBody { name, message, param, errors } = serde_json::from_slice(body).unwrap_or_default();
        let mut mistakes: Vec<_> = errors.into_iter().map(|error| (error.param, error.message)).collect();
        if let (true, Some(param)) = (mistakes.is_empty(), param) {
            mistakes.push((param, message.clone()));
        }
        let message = match fields.get(header::RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()) {
            Some(seconds) if message.is_empty() => format!("try again in {seconds} s"),
            _ => message,
        };
        Self { status, name, message, fields: mistakes }
    }

    /// Returns true for what somebody may mend in a form: the form is shown again with the mistakes.
    #[must_use]
    pub fn is_about_input(&self) -> bool {
        let mended = [
            StatusCode::BAD_REQUEST,
            StatusCode::CONFLICT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNPROCESSABLE_ENTITY,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        mended.contains(&self.status)
    }
}

/// The status, with the problem beside it: [`crate::errors::answer`] makes the page.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_what_they_are_given() {
        assert_eq!(path(&["emails", "a/b c?"], &[]), "/emails/a%2Fb%20c%3F");
        assert_eq!(path(&["emails"], &[("to", "a+b@x"), ("tag", "")]), "/emails?to=a%2Bb%40x");
    }

    #[test]
    fn problems_name_their_fields() {
        let body = br#"{"name":"validation_error","message":"m","errors":[{"param":"to[0]","message":"is wrong"},{"param":"from","message":"x"}]}"#;
        let problem = Problem::of(StatusCode::UNPROCESSABLE_ENTITY, &HeaderMap::new(), body);
        assert_eq!(problem.fields.len(), 2);
        assert!(problem.is_about_input());
        let body = br#"{"name":"validation_error","message":"is missing","param":"name"}"#;
        let problem = Problem::of(StatusCode::UNPROCESSABLE_ENTITY, &HeaderMap::new(), body);
        assert_eq!(problem.fields, [("name".to_owned(), "is missing".to_owned())]);
        assert!(!Problem::not_found().is_about_input());
    }
}
