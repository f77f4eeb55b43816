//! The client of the core: bounded answers, and no secret in a log.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use spin_sdk::http::conversions::TryIntoOutgoingRequest;
use spin_sdk::http::{ErrorCode, IncomingResponse, Method, Request, SendError};

use super::deadline::within;
use crate::answer::Answer;
use crate::config::Relay;

/// Octets of an answer of the core.
const MAX_ANSWER: usize = 16 << 20;
/// Time for the core to answer whole. A platform may allow less.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What the core answered.
pub(super) struct CoreAnswer {
    pub(super) status: u16,
    /// Seconds of `Retry-After`.
    pub(super) retry_after: Option<u32>,
    /// The entity tag.
    pub(super) etag: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CoreError {
    /// No connection was made: the core did not get what was sent.
    NotReached,
    /// It does not answer in time, or not at all. It may have done what was asked.
    Silent,
    /// Its answer broke off.
    BrokenOff,
}

impl From<CoreError> for Answer {
    fn from(error: CoreError) -> Self {
        Self::unavailable(match error {
            CoreError::NotReached => "the core does not answer, try again",
            CoreError::Silent => "the core does not answer, try again with the same idempotency key",
            CoreError::BrokenOff => "the core's answer broke off, try again with the same idempotency key",
        })
    }
}

/// Asks the core. `path` begins with a slash; a body is JSON.
///
/// # Errors
/// 503 for the caller: the core does not answer in time, or its answer broke off.
pub(super) async fn ask(
    relay: &Relay,
    (method, path): (Method, &str),
    fields: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<CoreAnswer, CoreError> {
    let mut builder = Request::builder();
    builder.method(method).uri(format!("{}{path}", relay.url));
    builder.header("authorization", format!("Bearer {}", relay.token));
    if !body.is_empty() {
        builder.header("content-type", "application/json");
        // Without it the core sets memory aside for the largest body that there may be.
        builder.header("content-length", body.len().to_string());
    }
    for (name, value) in fields {
        builder.header(*name, *value);
    }
    let request = builder.body(body).build();
    within(ANSWER_TIME, exchange(request)).await.unwrap_or_else(|| {
        eprintln!("the core does not answer in {} seconds", ANSWER_TIME.as_secs());
        Err(CoreError::Silent)
    })
}

async fn exchange(request: Request) -> Result<CoreAnswer, CoreError> {
    let response = sent(request).await.map_err(|error| {
        eprintln!("the core does not answer: {error}");
        if is_not_reached(&error) { CoreError::NotReached } else { CoreError::Silent }
    })?;
    let status = response.status();
    let headers = response.headers();
    let field = |name: &str| String::from_utf8(headers.get(&name.to_owned()).into_iter().next()?).ok();
    let retry_after = field("retry-after").and_then(|value| value.parse().ok());
    let etag = field("etag");
    drop(headers);
    let mut body = Vec::new();
    let mut stream = std::pin::pin!(response.take_body_stream());
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) if body.len() + chunk.len() <= MAX_ANSWER => body.extend(chunk),
            _ => return Err(CoreError::BrokenOff),
        }
    }
    Ok(CoreAnswer { status, retry_after, etag, body })
}

/// Sends a request and waits for the answer. The SDK's `send` says of a refused connection only that the
/// body could not be written: here the body is written beside, and the answer counts.
async fn sent(request: Request) -> Result<IncomingResponse, SendError> {
    let (request, body) =
        request.try_into_outgoing_request().map_err(|error| SendError::RequestConversion(error.into()))?;
    let mut sink = request.take_body();
    let mut write = pin!(async move {
        let _ = sink.send(body.unwrap_or_default()).await;
    });
    let mut answer = pin!(spin_sdk::http::send(request));
    let mut is_written = false;
    poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        is_written = is_written || write.as_mut().poll(context).is_ready();
        Poll::Pending
    })
    .await
}

/// Returns true if the error says that no connection was made.
fn is_not_reached(error: &SendError) -> bool {
    let SendError::Http(code) = error else { return matches!(error, SendError::RequestConversion(_)) };
    matches!(
        code,
        ErrorCode::DnsTimeout
            | ErrorCode::DnsError(_)
            | ErrorCode::DestinationNotFound
            | ErrorCode::DestinationUnavailable
            | ErrorCode::DestinationIpProhibited
            | ErrorCode::DestinationIpUnroutable
            | ErrorCode::ConnectionRefused
            | ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionLimitReached
            | ErrorCode::TlsProtocolError
            | ErrorCode::TlsCertificateError
            | ErrorCode::HttpRequestDenied
    )
}
