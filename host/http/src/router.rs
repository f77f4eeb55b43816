//! The three routers, and which of them a listener has.

use std::any::Any;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::authority::Authority;
use crate::error::{RequestError, Words, answer_errors};
use crate::observe::{self, RequestObserver};
use crate::services::HttpServices;
use crate::{api, host_field, inbox, operations, panel, reference, tracking, unsubscribe};

/// What a listener answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// The API and operations. A request for a tracking host gets the tracking endpoints only.
    Api,
    /// The API and health, beside a listener for operations. A request for a tracking host gets the
    /// tracking endpoints only.
    ApiOnly,
    /// Everything for every host: `relevo dev`, where the tracking host is the API's own address.
    Dev,
    /// The tracking endpoints only.
    Tracking,
    /// Operations only.
    Operations,
}

impl Listener {
    /// For metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Api | Self::ApiOnly | Self::Dev => "api",
            Self::Tracking => "tracking",
            Self::Operations => "operations",
        }
    }
}

/// The largest body of a request that names no limit of its own.
const MAX_BODY: usize = 1 << 20;
/// The longest time between two pieces of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The routes of a listener.
pub fn router(listener: Listener, services: &HttpServices) -> Router {
    let observer = RequestObserver {
        trusted_proxies: services.trusted_proxies.clone(),
        metrics: services.metrics.clone(),
    };
    let complete = |router: Router, words: Words| complete(router, words, observer.clone());
    match listener {
        Listener::Tracking => complete(tracking_routes(services), tracking::words),
        Listener::Operations => complete(operations_routes(services), operations::words),
        Listener::Dev => {
            let all =
                tracking_routes(services).merge(api_routes(services)).merge(operations_routes(services));
            let all = all.merge(panel_routes(services));
            complete(all.layer(middleware::from_fn(loopback_only)), api::words)
        }
        Listener::Api | Listener::ApiOnly => {
            let operations = match listener {
                Listener::ApiOnly => operations::health_routes().with_state(services.operations.clone()),
                _ => operations_routes(services),
            };
            let own = api_routes(services).merge(operations).merge(panel_routes(services));
            let own = complete(own, api::words);
            let tracked = complete(tracking_routes(services), tracking::words);
            by_host(services, own, tracked)
        }
    }
}

/// The API and operations for requests that this process makes itself, as the panel does.
///
/// They carry [`SignedIn`](crate::api::auth::SignedIn) or
/// [`Admin`](crate::operations::auth::Admin) in place of a key, and the
/// [`ClientAddress`](crate::observe::ClientAddress) of the person. No listener may serve it: nothing
/// here looks at the Host field or counts requests.
pub(crate) fn in_process(services: &HttpServices) -> Router {
    api_routes(services)
        .merge(operations_routes(services))
        .fallback(async || RequestError::NotFound("there is nothing at this path".to_owned()))
        .layer(CatchPanicLayer::custom(broken))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(api::words as Words, answer_errors))
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

fn api_routes(services: &HttpServices) -> Router {
    let routes = api::routes(&services.api).with_state(services.api.clone());
    worded(routes.merge(reference::routes()), api::words)
}

fn operations_routes(services: &HttpServices) -> Router {
    worded(operations::routes().with_state(services.operations.clone()), operations::words)
}

/// The panel, with the inbox of `relevo dev`.
fn panel_routes(services: &HttpServices) -> Router {
    let inbox = worded(inbox::routes(services), operations::words);
    panel::routes(services, services.panel.clone(), inbox)
}

fn tracking_routes(services: &HttpServices) -> Router {
    let clicks = tracking::routes().with_state(services.tracking.clone());
    let unsubscribe = unsubscribe::routes().with_state(services.unsubscribe.clone());
    worded(clicks.merge(unsubscribe), tracking::words)
}

fn worded(router: Router, words: Words) -> Router {
    let router = router.method_not_allowed_fallback(async || RequestError::MethodNotAllowed);
    router.layer(middleware::from_fn_with_state(words, answer_errors))
}

/// What every request goes through. `words` are for what no route answers.
fn complete(router: Router, words: Words, observer: RequestObserver) -> Router {
    router
        .fallback(async || RequestError::NotFound("there is nothing at this path".to_owned()))
        .layer(CatchPanicLayer::custom(broken))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(host_field::require))
        .layer(middleware::from_fn_with_state(words, answer_errors))
        .layer(middleware::from_fn_with_state(observer, observe::observe))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(middleware::from_fn(observe::distrust))
}

/// A handler panicked: its caller is answered, and the connection goes on.
fn broken(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    tracing::error!(panic = text, "a handler broke");
    RequestError::Internal.into_response()
}

/// A request for a tracking host never reaches the API, whichever listener it comes in on.
fn by_host(services: &HttpServices, own: Router, tracked: Router) -> Router {
    let tracking = services.tracking.clone();
    Router::new().fallback(async move |request: Request| {
        let authority = Authority::of(request.uri(), request.headers());
        let router = if tracking.serves(&authority.0) { tracked } else { own };
        let Ok(response) = router.oneshot(request).await;
        response
    })
}

/// A page of somebody else's could reach the inbox through a name of its own that leads to
/// loopback.
async fn loopback_only(Extension(authority): Extension<Authority>, request: Request, next: Next) -> Response {
    if authority.is_loopback() {
        return next.run(request).await;
    }
    let message = "`relevo dev` answers to localhost and loopback addresses only";
    RequestError::Misdirected(message.to_owned()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{StatusCode, header};
    use axum::routing::get;

    use super::*;
    use crate::metrics::HttpMetrics;

    #[tokio::test]
    async fn a_handler_that_breaks_is_answered_in_json() {
        async fn break_down() -> &'static str {
            panic!("a mistake")
        }
        let routes = Router::new().route("/broken", get(break_down));
        let observer =
            RequestObserver { trusted_proxies: Vec::new().into(), metrics: HttpMetrics::default() };
        let request = Request::builder().uri("/broken").header(header::HOST, "localhost");
        let request = request.body(Body::empty()).expect("a request");
        let Ok(response) = complete(routes, api::words, observer).oneshot(request).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(response.into_body(), 1 << 16).await.expect("a body");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["name"], "internal_error");
        assert!(body["request_id"].as_str().is_some_and(|id| id.len() == 36), "{body}");
    }
}
