//! Routes and listeners.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::access::{self, Peer};
use crate::authority::Authority;
use crate::error::ApiError;
use crate::state::HttpState;
use crate::{api, health, inbox, plugins, tracking};

/// What a listener answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Everything; requests for a tracking host get the tracking endpoints only.
    Api,
    /// Everything for every host: `relevo dev`, where the tracking host is the API's own address.
    Dev,
    /// The tracking endpoints only.
    Tracking,
}

/// The time a client has for its request header, and a connection for finishing when stopping.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// No request that we answer has a large body.
const MAX_BODY: usize = 1 << 20;
/// Simultaneous connections of one listener.
const MAX_CONNECTIONS: usize = 1_000;

/// The routes of a listener.
pub fn router(listener: Listener, state: HttpState) -> Router {
    let tracking_only = Router::new()
        .route("/c/{token}", get(tracking::click))
        .route("/o/{token}", get(tracking::open))
        .fallback(async || tracking::not_found());
    let router = match listener {
        Listener::Tracking => tracking_only,
        Listener::Dev => tracking_only.merge(api_routes(&state)).layer(middleware::from_fn(loopback_only)),
        Listener::Api => {
            let tracked = tracking_only.with_state(state.clone());
            api_routes(&state).layer(middleware::from_fn_with_state((state.clone(), tracked), by_host))
        }
    };
    let logged = middleware::from_fn_with_state(state.clone(), access::log);
    router.layer(DefaultBodyLimit::max(MAX_BODY)).layer(logged).with_state(state)
}

fn api_routes(state: &HttpState) -> Router<HttpState> {
    let mut router = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/events", get(api::events))
        .route("/domains/{name}/records", get(api::domain_records))
        .merge(plugins::routes());
    if state.inbox.is_some() {
        router = router.merge(inbox::routes());
    }
    router
}

/// A request for a tracking host never reaches the API, whichever listener it comes in on.
async fn by_host(
    State((state, tracked)): State<(HttpState, Router)>,
    request: Request,
    next: Next,
) -> Response {
    let authority = Authority::of(request.uri(), request.headers());
    if state.tracking.serves(&authority.0) {
        let Ok(response) = tower::ServiceExt::oneshot(tracked, request).await;
        return response;
    }
    next.run(request).await
}

/// A page of somebody else's could reach the inbox through a name of its own that leads to loopback.
async fn loopback_only(authority: Authority, request: Request, next: Next) -> Response {
    if authority.is_loopback() {
        return next.run(request).await;
    }
    let message = "`relevo dev` answers to localhost and loopback addresses only";
    ApiError::new(StatusCode::MISDIRECTED_REQUEST, "misdirected_request", message).into_response()
}

/// A number that names a request in answers and in the log; unique within the process.
pub(crate) fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("req_{:08x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Serves until `stop` turns true, then finishes the requests under way.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
            _ = connections.join_next(), if connections.len() >= MAX_CONNECTIONS => continue,
            () = stopped(&mut stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // Out of descriptors or a connection that is gone already: not a reason to stop.
            Err(error) => {
                tracing::warn!(%error, "http accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        connections.spawn(connection(stream, router.clone().layer(Extension(Peer(peer))), stop.clone()));
    }
    let _ = tokio::time::timeout(HEADER_TIMEOUT, async { while connections.join_next().await.is_some() {} })
        .await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(stream: tokio::net::TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
