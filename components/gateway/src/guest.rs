//! The component: HTTP in, `template` as an import, HTTP to the core.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

use std::time::{SystemTime, UNIX_EPOCH};

use futures::{SinkExt, StreamExt};
use relevo_mailkit::model;
use sha2::{Digest, Sha256};
use spin_sdk::http::{
    Fields, IncomingRequest, IncomingResponse, Method, OutgoingResponse, Request, ResponseOutparam,
};
use spin_sdk::http_component;

use crate::answer::Answer;
use crate::config::Config;
use crate::emails::{self, HandOff, Surroundings, Template};

mod bindings {
    wit_bindgen::generate!({ path: "../../wit/relevo-mail", world: "gateway" });
}

use bindings::relevo::mail::template;

relevo_mailkit::wit_conversions!(template: bindings::relevo::mail::template);

/// Octets of a body. An instance holds a request with all that is made of it.
const MAX_BODY: usize = 8 << 20;
/// Octets of an answer of the core.
const MAX_ANSWER: usize = 16 << 20;

#[http_component]
async fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let answer = answer(request).await;
    let mut fields = vec![("content-type".to_owned(), b"application/json".to_vec())];
    if let Some(seconds) = answer.retry_after {
        fields.push(("retry-after".to_owned(), seconds.to_string().into_bytes()));
    }
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

async fn answer(request: IncomingRequest) -> Answer {
    let target = request.path_with_query().unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    match (request.method(), path) {
        (Method::Get | Method::Head, "/healthz") => Answer::json(200, &serde_json::json!({ "status": "ok" })),
        (Method::Post, "/emails" | "/emails/batch") => match send(request, path).await {
            Ok(answer) | Err(answer) => answer,
        },
        (_, "/healthz") => Answer::error(405, "method_not_allowed", "only GET"),
        (_, "/emails" | "/emails/batch") => Answer::error(405, "method_not_allowed", "only POST here"),
        _ => Answer::error(404, "not_found", "there are /emails, /emails/batch and /healthz"),
    }
}

async fn send(request: IncomingRequest, path: &str) -> Result<Answer, Answer> {
    let config = Config::read(|name| std::env::var(name).ok()).map_err(|error| {
        eprintln!("{error}");
        Answer::unavailable("the gateway is not configured: its log says which variable is wrong")
    })?;
    let fields = request.headers();
    let field = |name: &str| fields.get(&name.to_owned()).into_iter().next();
    let Some(authorization) = field("authorization") else {
        let message = "send your API key as `Authorization: Bearer KEY`";
        return Err(Answer::error(401, "missing_api_key", message));
    };
    if !config.allows(&authorization) {
        return Err(Answer::error(403, "invalid_api_key", "this API key is not known"));
    }
    let key = field("idempotency-key").map(idempotency_key).transpose()?;
    let permissive = match field("x-batch-validation").as_deref() {
        None | Some(b"strict") => false,
        Some(b"permissive") => true,
        Some(_) => {
            let message = "must be `strict` or `permissive`";
            let problem = relevo_api::InvalidRequest::field("x-batch-validation", message);
            return Err(Answer::invalid(&problem));
        }
    };
    let body = bounded(request).await?;
    let hand_off = match path {
        "/emails" => emails::single(&body, &Import, &Host),
        _ => emails::many(&body, permissive, &Import, &Host),
    };
    let hand_off = hand_off.map_err(|invalid| Answer::invalid(&invalid))?;
    let digest = Sha256::new().chain_update(path).chain_update([u8::from(permissive)]).chain_update(&body);
    drop(body);
    let digest = relevo_mailkit::hex::encode(&digest.finalize());
    Ok(relay(&config, hand_off, key, digest).await)
}

fn idempotency_key(value: Vec<u8>) -> Result<String, Answer> {
    let key = String::from_utf8(value).ok().filter(|key| relevo_api::check::idempotency_key(key).is_ok());
    key.ok_or_else(|| {
        let message = "the idempotency key must have 1 to 256 printable ASCII characters";
        Answer::error(400, "invalid_idempotency_key", message)
    })
}

/// The body, read no further than it may be long.
async fn bounded(request: IncomingRequest) -> Result<Vec<u8>, Answer> {
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

/// Hands finished messages to the core.
async fn relay(config: &Config, hand_off: HandOff, key: Option<String>, digest: String) -> Answer {
    let Ok(body) = serde_json::to_vec(&hand_off.request) else {
        return Answer::unavailable("the messages cannot be encoded");
    };
    let mut request = Request::post(format!("{}/relay", config.relay_url), body);
    request.header("authorization", format!("Bearer {}", config.relay_token));
    request.header("content-type", "application/json");
    if let Some(key) = key {
        request.header("idempotency-key", key).header("x-relevo-digest", digest);
    }
    let response: IncomingResponse = match spin_sdk::http::send(request.build()).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("the core does not answer: {error}");
            return Answer::unavailable("the core does not answer, try again");
        }
    };
    let status = response.status();
    let retry_after = response.headers().get(&"retry-after".to_owned()).into_iter().next();
    let retry_after = retry_after.and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok());
    let mut answer = Vec::new();
    let mut stream = std::pin::pin!(response.take_body_stream());
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) if answer.len() + chunk.len() <= MAX_ANSWER => answer.extend(chunk),
            _ => return Answer::unavailable("the core's answer broke off, try again with the same key"),
        }
    }
    Answer::of_core(status, &answer, retry_after, hand_off)
}

/// The component that the composition plugs in.
struct Import;

impl Template for Import {
    fn render(
        &self,
        source: model::TemplateSource,
        variables: &str,
        limits: model::TemplateLimits,
    ) -> Result<model::Rendered, model::TemplateError> {
        let rendered = template::render(&source.into(), variables, limits.into());
        rendered.map(Into::into).map_err(Into::into)
    }

    fn build(
        &self,
        envelope: model::MessageEnvelope,
        content: model::Rendered,
    ) -> Result<Vec<u8>, model::TemplateError> {
        template::build(&envelope.into(), &content.into()).map_err(Into::into)
    }
}

/// The clock and the randomness of the host.
struct Host;

impl Surroundings for Host {
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn random(&self) -> [u8; 16] {
        let mut octets = [0; 16];
        if getrandom::fill(&mut octets).is_err() {
            // Without randomness nothing can be sent: boundaries must be unguessable.
            std::process::abort();
        }
        octets
    }
}
