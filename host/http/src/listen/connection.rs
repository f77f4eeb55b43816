//! One connection: HTTP/1.1 only.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::{ServiceExt, service_fn};

use super::connections::{Activity, Admitted, Phase};
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
        let (handling, activity) = (activity.begin(), activity.clone());
        request.extensions_mut().insert(peer);
        let answer = router.clone().oneshot(request);
        async move {
            let answer = answer.await;
            drop(handling);
            answer.map(|answer: Response<_>| answer.map(|body| AnswerBody { body, activity }))
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

/// Body of an answer. Each part that is taken begins the wait for the client anew.
struct AnswerBody {
    body: axum::body::Body,
    activity: Activity,
}

impl Body for AnswerBody {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(_))) = &polled {
            self.activity.progress();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
