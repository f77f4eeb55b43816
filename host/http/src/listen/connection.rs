//! One connection: HTTP/1.1 only.

use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::{ServiceExt, service_fn};

use super::connections::{Admitted, Phase};
use crate::observe::PeerAddress;

/// Octets of a request header, and of what is read ahead of it: more is answered with 431.
const MAX_HEADER: usize = 32 << 10;

/// Serves requests until the client leaves, keeps the listener waiting too long, gives way to
/// others, or the listener stops.
pub(super) async fn serve(
    stream: TcpStream,
    peer: PeerAddress,
    router: Router,
    admitted: Admitted,
    watcher: Watcher,
) {
    let _ = stream.set_nodelay(true);
    let activity = admitted.activity();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let handling = activity.begin();
        request.extensions_mut().insert(peer);
        let answer = router.clone().oneshot(request);
        async move {
            let answer = answer.await;
            drop(handling);
            answer
        }
    });
    let mut builder = http1::Builder::new();
    // The deadline of `overdue` holds for headers too.
    builder.max_buf_size(MAX_HEADER).max_header_size(MAX_HEADER).header_read_timeout(None);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::select! {
        _ = watcher.watch(connection) => {}
        () = admitted.gave_way() => admitted.metrics().closed("gave_way"),
        () = overdue(admitted.phase(), admitted.client_timeout()) => admitted.metrics().closed("client_timeout"),
    }
}

/// Returns when the connection has waited for its client for `timeout`.
async fn overdue(mut phase: watch::Receiver<Phase>, timeout: Duration) {
    loop {
        let deadline = match *phase.borrow_and_update() {
            Phase::Waiting(since) => Some(since + timeout),
            Phase::Handling => None,
        };
        let expired = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = expired => return,
            changed = phase.changed() => if changed.is_err() { return },
        }
    }
}

impl Phase {
    pub(super) fn waiting() -> Self {
        Self::Waiting(Instant::now())
    }
}
