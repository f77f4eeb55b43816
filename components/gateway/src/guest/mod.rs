//! The component: HTTP in, `template` as an import, HTTP to the core.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

mod core;
mod deadline;
mod imports;
#[cfg(feature = "key-value")]
mod key_value;
#[cfg(feature = "key-value")]
mod outbox;
mod reading;
mod rendering;
mod sending;
mod templates;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use spin_sdk::http::{Fields, IncomingRequest, Method, OutgoingResponse, ResponseOutparam};
use spin_sdk::http_component;

use crate::answer::Answer;
use crate::config::{ApiKeys, ConfigError, Variables};
use crate::readers::ReaderPath;

mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit/relevo-host-0.1.0", "../../wit/relevo-mail", "../../wit/relevo-edge"],
        world: "relevo:edge/gateway",
        generate_all,
    });
}

/// Octets of a body. An instance holds a request with all that is made of it.
const MAX_BODY: usize = 8 << 20;
/// Time for a body to come.
const BODY_TIME: Duration = Duration::from_secs(30);

/// What a request gets, and what is still to be done once its caller has it.
struct Reply {
    answer: Answer,
    afterwards: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, afterwards: None }
    }
}

impl From<Result<Self, Answer>> for Reply {
    fn from(reply: Result<Self, Answer>) -> Self {
        reply.unwrap_or_else(Self::from)
    }
}

impl From<Result<Answer, Answer>> for Reply {
    fn from(answer: Result<Answer, Answer>) -> Self {
        match answer {
            Ok(answer) | Err(answer) => answer.into(),
        }
    }
}

#[http_component]
async fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let Reply { answer, afterwards } = reply(request).await;
    respond(answer, out).await;
    if let Some(work) = afterwards {
        work.await;
    }
}

async fn respond(answer: Answer, out: ResponseOutparam) {
    let fields: Vec<_> =
        answer.fields.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    let Ok(headers) = Fields::from_list(&fields) else { return };
    let response = OutgoingResponse::new(headers);
    if response.set_status_code(answer.status).is_err() {
        return;
    }
    let mut body = response.take_body();
    out.set(response);
    // The caller may have gone away; there is nobody to tell.
    let _ = body.send(answer.body).await;
}

async fn reply(request: IncomingRequest) -> Reply {
    let target = request.path_with_query().unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    if let Some(path) = ReaderPath::parse(path) {
        return reading::answer(request, path).await;
    }
    match (request.method(), path) {
        (Method::Get | Method::Head, "/healthz") => {
            Answer::json(200, &serde_json::json!({ "status": "ok" })).into()
        }
        (Method::Post, "/emails" | "/emails/batch") => sending::send(request, path).await.into(),
        (Method::Post, "/render") => rendering::render(request).await.into(),
        #[cfg(feature = "key-value")]
        (method, path) if path == "/outbox" || path.starts_with("/outbox/") => {
            outbox::answer(&request, &method, path).await.into()
        }
        (_, "/healthz") => Answer::error(405, "method_not_allowed", "only GET").into(),
        (_, "/emails" | "/emails/batch" | "/render") => {
            Answer::error(405, "method_not_allowed", "only POST here").into()
        }
        _ => Answer::error(404, "not_found", "there are /emails, /emails/batch, /render and /healthz").into(),
    }
}

/// The value of a variable. On Spin `RELEVO_RELAY_TOKEN` is the application's variable `relay_token`, which
/// may come from a vault; an environment variable stands for one that is not set.
fn variable(name: &str) -> Option<String> {
    #[cfg(feature = "key-value")]
    {
        let label = name.strip_prefix("RELEVO_").unwrap_or(name).to_ascii_lowercase();
        match spin_sdk::variables::get(&label) {
            Ok(value) if !value.is_empty() => return Some(value),
            Ok(_) | Err(spin_sdk::variables::Error::Undefined(_)) => {}
            Err(error) => eprintln!("the variable {label}: {error}"),
        }
    }
    std::env::var(name).ok()
}

/// Reads settings. A mistake is told to the log, not to the caller.
fn config<T>(read: impl Fn(&Variables<'_>) -> Result<T, ConfigError>) -> Result<T, Answer> {
    read(&variable).map_err(|error| {
        eprintln!("{error}");
        Answer::unavailable("the gateway is not configured: its log says which variable is wrong")
    })
}

/// Refuses a caller without a known API key.
fn authorize(request: &IncomingRequest) -> Result<(), Answer> {
    let keys = config(ApiKeys::read)?;
    let Some(authorization) = field(request, "authorization") else {
        let message = "send your API key as `Authorization: Bearer KEY`";
        return Err(Answer::error(401, "missing_api_key", message));
    };
    match keys.allows(&authorization) {
        true => Ok(()),
        false => Err(Answer::error(403, "invalid_api_key", "this API key is not known")),
    }
}

/// The first value of a field.
fn field(request: &IncomingRequest, name: &str) -> Option<Vec<u8>> {
    request.headers().get(&name.to_owned()).into_iter().next()
}

/// The body, read no further than it may be long, and for no longer than it may take.
async fn bounded(request: IncomingRequest) -> Result<Vec<u8>, Answer> {
    let late = || Answer::error(408, "request_timeout", "the body did not come in 30 seconds");
    deadline::within(BODY_TIME, read(request)).await.ok_or_else(late)?
}

async fn read(request: IncomingRequest) -> Result<Vec<u8>, Answer> {
    let cut = || Answer::error(400, "bad_request", "the body broke off");
    let mut body = Vec::new();
    let mut stream = std::pin::pin!(request.into_body_stream());
    while let Some(chunk) = stream.next().await {
        body.extend(chunk.map_err(|_| cut())?);
        if body.len() > MAX_BODY {
            let message = format!("the body has more than {MAX_BODY} octets: send to the core");
            return Err(Answer::error(413, "payload_too_large", &message));
        }
    }
    Ok(body)
}
