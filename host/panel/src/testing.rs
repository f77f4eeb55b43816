//! A fake API, and a browser that asks the panel over it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tower::ServiceExt;
use url::form_urlencoded;

use crate::api::{Api, ApiCaller};
use crate::state::{Access, PanelState};

/// The proof of a session in forms.
pub(crate) const CSRF: &str = "proof";
/// Markup, quotes, a direction override and control characters.
pub(crate) const EVIL: &str = "<script>alert(1)</script>\u{202e}\u{7}\"' onload=x ]]>-->";

/// A request that the API got.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recorded {
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Null: none, or no JSON.
    pub body: Value,
}

/// Answers by method and the beginning of the path. The longest beginning counts.
#[derive(Default)]
pub(crate) struct FakeApi {
    answers: Vec<(Method, String, StatusCode, Value)>,
    requests: Mutex<Vec<Recorded>>,
}

impl FakeApi {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With an answer.
    pub(crate) fn with(mut self, method: &str, path: &str, status: u16, body: Value) -> Self {
        let method = method.parse().expect("a method");
        let status = StatusCode::from_u16(status).expect("a status");
        self.answers.push((method, path.to_owned(), status, body));
        self
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last request with this method.
    pub(crate) fn last(&self, method: &str) -> Recorded {
        let found = self.requests().into_iter().rfind(|request| request.method == method);
        found.unwrap_or_else(|| panic!("no {method} was sent"))
    }
}

#[async_trait]
impl Api for FakeApi {
    async fn call(&self, _: ApiCaller, _: Option<IpAddr>, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().expect("a path").to_string();
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let fitting = self.answers.iter().filter(|(method, beginning, ..)| {
            *method == parts.method && path.starts_with(beginning.as_str())
        });
        let answer = fitting.max_by_key(|(_, beginning, ..)| beginning.len());
        let response = match answer {
            Some((_, _, status, body)) => (*status, axum::Json(body.clone())).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
        let recorded = Recorded { method: parts.method, path, body };
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(recorded);
        response
    }
}

/// An answer of the panel.
#[derive(Debug)]
pub(crate) struct Page {
    pub status: StatusCode,
    pub location: String,
    pub text: String,
}

/// A browser at the panel.
pub(crate) struct Browser {
    pub api: Arc<FakeApi>,
    routes: Router,
}

impl Browser {
    /// At the panel over this API. Everybody is an operator, the tenant is `dev`.
    pub(crate) fn at(api: FakeApi) -> Self {
        let api = Arc::new(api);
        let access = Access::Open { tenant: "dev".into(), csrf: CSRF.into() };
        let routes = crate::routes(PanelState::new(Arc::clone(&api) as _, access), Router::new());
        Self { api, routes }
    }

    /// Loads a page.
    pub(crate) async fn get(&self, path: &str) -> Page {
        self.ask(Request::get(path).body(Body::empty()).expect("a request")).await
    }

    /// Sends a form of this session.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut all = vec![("_csrf", CSRF)];
        all.extend(fields);
        self.post_raw(path, &all).await
    }

    /// Sends a form as it is.
    pub(crate) async fn post_raw(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.ask(request.body(Body::from(body)).expect("a request")).await
    }

    async fn ask(&self, request: Request<Body>) -> Page {
        let Ok(response) = self.routes.clone().oneshot(request).await;
        let status = response.status();
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.unwrap_or_default().to_owned();
        let body = to_bytes(response.into_body(), 4 << 20).await.expect("a body");
        Page { status, location, text: String::from_utf8(body.to_vec()).expect("UTF-8") }
    }
}

impl Page {
    /// Holds that the page is one, and that nothing of [`EVIL`] works in it.
    pub(crate) fn is_harmless(&self) {
        assert!(self.text.starts_with("<!doctype html>"), "{}: {}", self.status, self.text);
        assert!(!self.text.contains("<script>alert") && !self.text.contains('\u{202e}'), "{}", self.text);
        assert!(!self.text.contains("\"' onload=") && !self.text.contains(" style=\""), "{}", self.text);
        assert_eq!(self.text.matches("<h1>").count(), 1, "{}", self.text);
        assert!(self.text.len() < 100_000, "{} octets", self.text.len());
    }
}
