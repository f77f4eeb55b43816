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
/// The proof of forms in [`page`] and [`post`].
const PROOF: &str = "proof";

/// A request that was made to a [`FakeApi`].
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method, path and query, such as `GET /emails?limit=50`.
    pub(crate) line: String,
    /// The content.
    pub(crate) body: Bytes,
}

impl Asked {
    /// The content as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Answers by the beginning of `METHOD /path?query`: the longest that is known; 404 without one.
#[derive(Default)]
pub(crate) struct FakeApi {
    answers: Mutex<Vec<(String, StatusCode, Value)>>,
    asked: Mutex<Vec<Asked>>,
}

impl FakeApi {
    /// Answers 200 with these.
    pub(crate) fn with(answers: &[(&str, Value)]) -> Arc<Self> {
        let api = Self::default();
        for (line, answer) in answers {
            api.answer(line, StatusCode::OK, answer.clone());
        }
        Arc::new(api)
    }

    /// Answers requests that begin so with this from now on.
    pub(crate) fn answer(&self, line: &str, status: StatusCode, answer: Value) {
        let mut answers = self.answers.lock().expect("answers");
        answers.retain(|(known, ..)| known != line);
        answers.push((line.to_owned(), status, answer));
    }

    /// The requests that began so.
    pub(crate) fn asked(&self, line: &str) -> Vec<Asked> {
        let asked = self.asked.lock().expect("requests");
        asked.iter().filter(|asked| asked.line.starts_with(line)).cloned().collect()
    }
}

#[async_trait]
impl Api for FakeApi {
    async fn call(&self, _: ApiCaller, _: Option<IpAddr>, request: Request<Body>) -> Response {
        let line = format!("{} {}", request.method(), request.uri());
        let body = to_bytes(request.into_body(), usize::MAX).await.expect("a body");
        self.asked.lock().expect("requests").push(Asked { line: line.clone(), body });
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
    let access = Access::Open { tenant: "acme".into(), csrf: PROOF.into() };
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
    form.append_pair("_csrf", PROOF).extend_pairs(fields);
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
    assert!(!page.contains(['\u{202e}', '\u{7}']), "{page}");
}
