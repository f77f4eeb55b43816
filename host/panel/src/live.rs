//! Pages that follow what happens: server-sent events (HTML section 9.2) that say that something
//! changed. The page is read anew then, so that there is one way to make it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::api::{ApiClient, Problem, path};
use crate::state::{OperatorPage, TenantPage};

/// The time between two looks. They do not wait at the API: its places for those who wait are for
/// applications.
const PAUSE: Duration = Duration::from_secs(3);
/// Pages that are followed at once.
const MAX_STREAMS: usize = 500;
static STREAMS: Semaphore = Semaphore::const_new(MAX_STREAMS);
/// A connection is ended after this long: the browser comes again, and its session is looked at.
const SPAN: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
struct Newest {
    cursor: String,
}

/// Announces events of a tenant.
pub(crate) async fn tenant(page: TenantPage) -> Result<Response, Problem> {
    let place = place()?;
    // The newest cursor: nothing that is older is announced.
    let newest: Newest = page.api.get(&path(&["events"], &[("after", "latest"), ("limit", "1")])).await?;
    let (send, receive) = mpsc::channel::<&'static str>(4);
    tokio::spawn(tokio::time::timeout(SPAN, async move {
        let _place = place;
        follow(&page.api, newest.cursor, &send).await;
    }));
    Ok(stream(receive))
}

async fn follow(api: &ApiClient, mut cursor: String, send: &mpsc::Sender<&'static str>) {
    loop {
        let events = path(&["events"], &[("after", &cursor), ("limit", "1000")]);
        let found: Result<Newest, Problem> = tokio::select! {
            () = send.closed() => return,
            found = api.get(&events) => found,
        };
        let word = match found {
            Ok(newest) if newest.cursor == cursor => ": still here\n\n",
            Ok(newest) => {
                cursor = newest.cursor;
                "event: changed\ndata: .\n\n"
            }
            Err(problem) if problem.is_about_input() => ": later\n\n",
            Err(_) => return,
        };
        if send.send(word).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Announces every few seconds that the state of the relay may have changed.
pub(crate) async fn relay(_: OperatorPage) -> Result<Response, Problem> {
    let place = place()?;
    let (send, receive) = mpsc::channel::<&'static str>(1);
    tokio::spawn(tokio::time::timeout(SPAN, async move {
        let _place = place;
        loop {
            tokio::time::sleep(PAUSE * 2).await;
            if send.send("event: changed\ndata: .\n\n").await.is_err() {
                return;
            }
        }
    }));
    Ok(stream(receive))
}

fn place() -> Result<SemaphorePermit<'static>, Problem> {
    let too_many =
        |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "too many pages are followed");
    STREAMS.try_acquire().map_err(too_many)
}

fn stream(receive: mpsc::Receiver<&'static str>) -> Response {
    let fields = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    let first = tokio_stream::once("retry: 5000\n\n");
    let body = first.chain(ReceiverStream::new(receive)).map(Ok::<_, Infallible>);
    (fields, Body::from_stream(body)).into_response()
}
