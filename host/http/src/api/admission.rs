//! What every request to the API goes through before its handler: the caller, its scopes, the rate,
//! and room for the body. Its headers tell the rate, and the audit log what was administered.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use relevo_relay::audit::Act;

use super::auth::{Caller, CallerIdentity};
use super::limits::RequestRate;
use super::{ApiServices, emails, scopes};
use crate::error::RequestError;
use crate::observe::ClientAddress;

/// Octets of the largest body that any route takes.
const LARGEST: u64 = emails::MAX_BODY as u64;

/// Names what a request was about where its path does not: beside an answer.
#[derive(Debug, Clone)]
pub(super) struct Subject(pub(super) String);

/// Lets a request in, or refuses it.
pub(super) async fn admit(State(services): State<ApiServices>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let (caller, allowed) = match Caller::prove(&parts, &services) {
        Ok(proven) => proven,
        Err(error) => {
            let client = parts.extensions.get::<ClientAddress>().map(|client| client.0);
            let now = services.admin.clock.monotonic();
            return services.limits.failed(client, now).err().unwrap_or(error).into_response();
        }
    };
    if let CallerIdentity::Key { id: Some(id), .. } = &caller.identity {
        services.admin.keys.used(&caller.tenant, id);
    }
    let rate = services.limits.request(&caller.tenant, &services.settings.get(), &*services.admin.clock);
    let act = Administration::of(&parts.method, &parts.extensions, parts.uri.path(), &caller);
    let mut response = match rate.check().and(allowed).and_then(|()| {
        let octets = match parts.method {
            Method::GET | Method::HEAD => 0,
            _ => content_length(&parts.headers).unwrap_or(LARGEST).min(LARGEST),
        };
        services.limits.bodies.reserve(&caller.tenant, octets)
    }) {
        Ok(_reserved) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => error.into_response(),
    };
    if rate.is_within()
        && let Some(act) = act
    {
        let subject = response.extensions().get::<Subject>().map(|subject| subject.0.clone());
        act.write(&services, subject, result(&response)).await;
    }
    write_rate(&rate, &mut response);
    response
}

/// The length that a body has: hyper reads no more of it. None: it comes in chunks.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `ratelimit-limit`, `ratelimit-remaining`, `ratelimit-reset`: requests of a second, those that are
/// left, seconds until all are.
fn write_rate(rate: &RequestRate, response: &mut Response) {
    let fields = response.headers_mut();
    fields.insert("ratelimit-limit", HeaderValue::from(rate.limit));
    fields.insert("ratelimit-remaining", HeaderValue::from(rate.remaining));
    fields.insert("ratelimit-reset", HeaderValue::from(rate.reset_seconds));
}

/// A request that the audit log has.
struct Administration {
    tenant: String,
    actor: String,
    action: String,
    path: String,
}

impl Administration {
    fn of(method: &Method, extensions: &axum::http::Extensions, path: &str, caller: &Caller) -> Option<Self> {
        let route = extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        scopes::is_administration(method, route).then(|| Self {
            tenant: caller.tenant.clone(),
            actor: caller.identity.to_string(),
            action: format!("{method} {route}"),
            path: path.to_owned(),
        })
    }

    async fn write(self, services: &ApiServices, subject: Option<String>, result: &'static str) {
        let subject = subject.as_deref().unwrap_or(&self.path);
        let (tenant, actor, action) = (&self.tenant, &self.actor, &self.action);
        services.admin.audit.write(Act { tenant, actor, action, subject, result }).await;
    }
}

/// What became of a request: `done`, or the name of the error.
fn result(response: &Response) -> &'static str {
    match response.extensions().get::<RequestError>() {
        Some(error) => error.name(),
        None if response.status().is_success() => "done",
        None => response.status().canonical_reason().unwrap_or("refused"),
    }
}
