//! What the tests of pages share: an API with answers that are set, and a browser.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tower::ServiceExt;
use url::form_urlencoded;

use crate::api::{Api, ApiCaller};
use crate::state::{Access, PanelState};

/// What hostile data may hold.
pub(crate) const EVIL: &str = "<script>alert(1)</script>\u{202e}\u{7}\"' onload=x ]]>-->";
/// The proof of a session in forms.
pub(crate) const CSRF: &str = "proof";

/// A request that the API got.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    /// Method, path and query, such as `GET /emails?limit=50`.
    pub(crate) line: String,
    /// The content as it came.
    pub(crate) octets: Bytes,
    /// The content as JSON; null if it is none.
    pub(crate) body: Value,
}

impl Asked {
    /// The content as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        self.body.clone()
    }
}

/// Answers by the beginning of `METHOD /path?query`: the longest that is known; 404 without one.
#[derive(Default)]
pub(crate) struct FakeApi {
    answers: Mutex<Vec<(String, StatusCode, Value)>>,
    asked: Mutex<Vec<Asked>>,
}

impl FakeApi {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Answers 200 with these, by their lines.
    pub(crate) fn of(answers: &[(&str, Value)]) -> Arc<Self> {
        let api = Self::default();
        for (line, answer) in answers {
            api.answer(line, StatusCode::OK, answer.clone());
        }
        Arc::new(api)
    }

    /// With an answer.
    pub(crate) fn with(self, method: &str, path: &str, status: u16, body: Value) -> Self {
        let status = StatusCode::from_u16(status).expect("a status");
        self.answer(&format!("{method} {path}"), status, body);
        self
    }

    /// Answers requests that begin so with this from now on.
    pub(crate) fn answer(&self, line: &str, status: StatusCode, answer: Value) {
        let mut answers = self.answers.lock().expect("answers");
        answers.retain(|(known, ..)| known != line);
        answers.push((line.to_owned(), status, answer));
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.asked.lock().expect("requests").clone()
    }

    /// The requests whose lines begin so.
    pub(crate) fn asked(&self, line: &str) -> Vec<Asked> {
        self.requests().into_iter().filter(|asked| asked.line.starts_with(line)).collect()
    }

    /// The last request with this method.
    pub(crate) fn last(&self, method: &str) -> Asked {
        let found = self.requests().into_iter().rfind(|request| request.method == method);
        found.unwrap_or_else(|| panic!("no {method} was sent"))
    }
}

#[async_trait]
impl Api for FakeApi {
    async fn call(&self, _: ApiCaller, _: Option<IpAddr>, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        let octets = to_bytes(body, 1 << 24).await.expect("a body");
        let body = serde_json::from_slice(&octets).unwrap_or_default();
        let (method, path) = (parts.method, parts.uri.to_string());
        let line = format!("{method} {path}");
        let asked = Asked { method, path, line: line.clone(), octets, body };
        self.asked.lock().expect("requests").push(asked);
        let answers = self.answers.lock().expect("answers");
        let fitting = answers.iter().filter(|(known, ..)| line.starts_with(known.as_str()));
        match fitting.max_by_key(|(known, ..)| known.len()) {
            Some((_, status, answer)) => (*status, axum::Json(answer.clone())).into_response(),
            None => {
                (StatusCode::NOT_FOUND, axum::Json(serde_json::json!({"name": "not_found"}))).into_response()
            }
        }
    }
}

/// The panel over an API, for an operator.
fn panel(api: &Arc<FakeApi>) -> Router {
    let access = Access::Open { tenant: "acme".into(), csrf: CSRF.into() };
    crate::routes(PanelState::new(api.clone(), access), Router::new())
}

/// Answers a request for a page, with status, header and text.
pub(crate) async fn ask(api: &Arc<FakeApi>, request: Request<Body>) -> (StatusCode, String, String) {
    let response = panel(api).oneshot(request).await.expect("an answer");
    let status = response.status();
    let fields = format!("{:?}", response.headers());
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, fields, String::from_utf8_lossy(&body).into_owned())
}

/// A page.
pub(crate) async fn page(api: &Arc<FakeApi>, path: &str) -> (StatusCode, String) {
    let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
    let (status, _, body) = ask(api, request).await;
    (status, body)
}

/// Sends a form, with its proof.
pub(crate) async fn post(
    api: &Arc<FakeApi>,
    path: &str,
    fields: &[(&str, &str)],
) -> (StatusCode, String, String) {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("_csrf", CSRF).extend_pairs(fields);
    post_raw(api, path, &form.finish()).await
}

/// Sends a form as it is.
pub(crate) async fn post_raw(api: &Arc<FakeApi>, path: &str, form: &str) -> (StatusCode, String, String) {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()))
        .expect("a request");
    ask(api, request).await
}

/// Sees that nothing of [`EVIL`] became markup or a control character.
pub(crate) fn assert_harmless(page: &str) {
    assert!(!page.contains("<script>alert"), "{page}");
    assert!(!page.contains("\"' onload"), "{page}");
    assert!(!page.contains('\u{7}') && !shown(page).contains('\u{202e}'), "{page}");
}

/// A page without the texts in the fields of its forms, which come back as they were typed.
fn shown(page: &str) -> String {
    let mut shown = String::new();
    let mut rest = page;
    while let Some((before, field)) = rest.split_once(" value=\"") {
        shown.push_str(before);
        rest = field.split_once('"').map_or("", |(_, behind)| behind);
    }
    shown.push_str(rest);
    let mut parts = shown.split("<textarea");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once("</textarea>").map_or("", |(_, behind)| behind))
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
        assert!(!self.text.contains("<script>alert"), "{}", self.text);
        assert!(!shown(&self.text).contains('\u{202e}'), "{}", self.text);
        assert!(!self.text.contains("\"' onload=") && !self.text.contains(" style=\""), "{}", self.text);
        assert_eq!(self.text.matches("<h1>").count(), 1, "{}", self.text);
        assert!(
            self.text.len() < 100_000,
            "{} octets: {}",
            self.text.len(),
            &self.text[..self.text.floor_char_boundary(3_000)]
        );
    }
}
