//! The client of the core: bounded answers, and no secret in a log.

use std::time::Duration;

use futures::StreamExt;
use spin_sdk::http::{IncomingResponse, Method, Request};

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

/// Asks the core. `path` begins with a slash; a body is JSON.
///
/// # Errors
/// 503 for the caller: the core does not answer in time, or its answer broke off. Whether it did what was
/// asked is then not known.
pub(super) async fn ask(
    relay: &Relay,
    (method, path): (Method, &str),
    fields: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<CoreAnswer, Answer> {
    let mut builder = Request::builder();
    builder.method(method).uri(format!("{}{path}", relay.url));
    builder.header("authorization", format!("Bearer {}", relay.token));
    if !body.is_empty() {
        builder.header("content-type", "application/json");
    }
    for (name, value) in fields {
        builder.header(*name, *value);
    }
    let request = builder.body(body).build();
    let silent = || {
        eprintln!("the core does not answer in {} seconds", ANSWER_TIME.as_secs());
        Answer::unavailable("the core does not answer, try again")
    };
    within(ANSWER_TIME, exchange(request)).await.ok_or_else(silent)?
}

async fn exchange(request: Request) -> Result<CoreAnswer, Answer> {
    let response: IncomingResponse = spin_sdk::http::send(request).await.map_err(|error| {
        eprintln!("the core does not answer: {error}");
        Answer::unavailable("the core does not answer, try again")
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
            _ => {
                let message = "the core's answer broke off, try again with the same idempotency key";
                return Err(Answer::unavailable(message));
            }
        }
    }
    Ok(CoreAnswer { status, retry_after, etag, body })
}
