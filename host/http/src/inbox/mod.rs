//! The capture inbox of `relevo dev`: what was delivered, shown to whoever wrote it.
//!
//! `GET /inbox` lists, `GET /inbox/{n}` shows one; for machines there are `GET /inbox/messages`
//! (JSON) and `GET /inbox/messages/{n}` (the raw message).

mod page;

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use parking_lot::Mutex;
use relevo_mailkit::model::SignatureVerdict;
use serde::Serialize;

use crate::error::RequestError;
use crate::operations::OperationsServices;

/// A stage that the message went through.
#[derive(Debug, Clone, Serialize)]
pub struct StageLine {
    /// Such as `validate`.
    pub name: String,
    /// Microseconds.
    pub micros: u64,
    /// What it found or changed.
    pub summary: String,
}

/// One captured copy.
#[derive(Debug, Clone, Serialize)]
pub struct Captured {
    /// From 1, in order of arrival. Set by [`Inbox::add`].
    pub n: u64,
    /// The queue id.
    pub id: String,
    /// Reverse-path.
    pub from: String,
    /// Forward-paths of this copy.
    pub to: Vec<String>,
    /// Decoded.
    pub subject: String,
    /// RFC 3339.
    pub received_at: String,
    /// Octets.
    pub size: usize,
    /// One for each DKIM-Signature.
    pub signatures: Vec<SignatureVerdict>,
    /// In order.
    pub stages: Vec<StageLine>,
    /// The message with CRLF line ends.
    #[serde(skip)]
    pub raw: Vec<u8>,
    /// The first text/html part, decoded.
    #[serde(skip)]
    pub html: Option<String>,
    /// The first text/plain part, decoded.
    #[serde(skip)]
    pub text: Option<String>,
}

/// Holds the last messages in memory, bounded in number and octets.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<Messages>,
}

#[derive(Debug, Default)]
struct Messages {
    next: u64,
    octets: usize,
    messages: VecDeque<Arc<Captured>>,
}

/// Messages kept.
const MAX_MESSAGES: usize = 1_000;
/// Octets kept, of all messages; the newest one is always kept.
const MAX_OCTETS: usize = 256 << 20;

impl Inbox {
    /// Adds a message and forgets the oldest ones when there are too many. Returns its number.
    pub fn add(&self, message: Captured) -> u64 {
        let mut state = self.state.lock();
        state.next += 1;
        let n = state.next;
        state.octets += message.raw.len();
        state.messages.push_back(Arc::new(Captured { n, ..message }));
        while state.messages.len() > MAX_MESSAGES || (state.octets > MAX_OCTETS && state.messages.len() > 1) {
            let Some(gone) = state.messages.pop_front() else { break };
            state.octets -= gone.raw.len();
        }
        n
    }

    /// Newest last.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Captured>> {
        self.state.lock().messages.iter().cloned().collect()
    }

    /// One message, unless it was forgotten.
    #[must_use]
    pub fn get(&self, n: u64) -> Option<Arc<Captured>> {
        let state = self.state.lock();
        state.messages.iter().find(|m| m.n == n).cloned()
    }
}

pub(crate) fn routes() -> Router<OperationsServices> {
    Router::new()
        .route("/", get(async || Redirect::temporary("/inbox")))
        .route("/inbox", get(list_page))
        .route("/inbox/{n}", get(message_page))
        .route("/inbox/{n}/html", get(message_html))
        .route("/inbox/messages", get(list_json))
        .route("/inbox/messages/{n}", get(raw))
}

fn inbox(state: &OperationsServices) -> Vec<Arc<Captured>> {
    state.inbox.as_ref().map(|inbox| inbox.list()).unwrap_or_default()
}

fn find(state: &OperationsServices, n: &str) -> Result<Arc<Captured>, RequestError> {
    let n: Option<u64> = n.parse().ok();
    let found = n.and_then(|n| state.inbox.as_ref()?.get(n));
    found
        .ok_or_else(|| RequestError::NotFound("there is no message with this number in the inbox".to_owned()))
}

/// The pages run no scripts; what they show came in by mail. The frame of `message_html` is the
/// only thing they embed.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'";
/// A message may show its own styles and images, and nothing else: no scripts, no forms, an origin
/// of its own.
const MESSAGE_POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data: http: https:; base-uri 'none'; form-action 'none'";

fn page(body: String, policy: &'static str) -> Response {
    let fields = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (fields, Html(body)).into_response()
}

async fn list_page(State(state): State<OperationsServices>) -> Response {
    page(page::list(&inbox(&state)), PAGE_POLICY)
}

async fn message_page(
    State(state): State<OperationsServices>,
    Path(n): Path<String>,
) -> Result<Response, RequestError> {
    Ok(page(page::message(&*find(&state, &n)?), PAGE_POLICY))
}

async fn message_html(
    State(state): State<OperationsServices>,
    Path(n): Path<String>,
) -> Result<Response, RequestError> {
    let message = find(&state, &n)?;
    let html = message
        .html
        .clone()
        .ok_or_else(|| RequestError::NotFound("this message has no text/html part".to_owned()))?;
    Ok(page(html, MESSAGE_POLICY))
}

async fn list_json(State(state): State<OperationsServices>) -> Response {
    let list = inbox(&state);
    let list: Vec<&Captured> = list.iter().map(AsRef::as_ref).collect();
    Json(list).into_response()
}

async fn raw(
    State(state): State<OperationsServices>,
    Path(n): Path<String>,
) -> Result<Response, RequestError> {
    let message = find(&state, &n)?;
    let fields = [(header::CONTENT_TYPE, "message/rfc822"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((fields, message.raw.clone()).into_response())
}
