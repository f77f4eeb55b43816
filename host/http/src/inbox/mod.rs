//! The capture inbox of `relevo dev`: what was delivered, shown to whoever wrote it.
//!
//! `GET /panel/inbox` lists, `GET /panel/inbox/{n}` shows one; for machines there are `GET
//! /inbox/messages` (JSON) and `GET /inbox/messages/{n}` (the raw message).

mod pages;

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use relevo_mailkit::model::SignatureVerdict;
use relevo_relay::contents::Contents;
use relevo_relay::inspection::ContentInspection;
use relevo_relay::tracking::TrackingEndpoint;
use serde::Serialize;

use crate::error::RequestError;
use crate::services::HttpServices;

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
    /// URLs of links in HTML and text, each once.
    #[serde(skip)]
    pub links: Vec<String>,
}

/// Sends a captured message to a real address.
#[async_trait]
pub trait Release: Send + Sync {
    /// The server that it goes through, such as `smtp.example.com:587`.
    fn server(&self) -> String;

    /// Sends the message, as it was captured, to one address. Returns the reply of the server.
    ///
    /// # Errors
    /// The server's reply, or why there was none.
    async fn release(&self, message: &Captured, to: &str) -> Result<String, String>;
}

/// Holds the last messages in memory, bounded in number and octets.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<Messages>,
    release: Option<Arc<dyn Release>>,
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
    /// An inbox whose messages can be released to real addresses.
    #[must_use]
    pub fn with_release(release: Option<Arc<dyn Release>>) -> Self {
        Self { release, ..Self::default() }
    }

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

/// The routes of the inbox of `services`; none where there is no inbox.
pub(crate) fn routes(services: &HttpServices) -> Router {
    let Some(inbox) = services.operations.inbox.clone() else { return Router::new() };
    let (inspection, contents) = (services.api.inspection.clone(), services.api.contents.clone());
    let tracking = services.tracking.clone();
    let own = Router::new()
        .route("/inbox/messages", get(list_json))
        .route("/inbox/messages/{n}", get(raw))
        .with_state(inbox.clone());
    own.merge(pages::routes().with_state(InboxPages { inbox, inspection, contents, tracking }))
}

/// What the pages need.
#[derive(Clone)]
struct InboxPages {
    inbox: Arc<Inbox>,
    inspection: Arc<ContentInspection>,
    contents: Arc<Contents>,
    tracking: Arc<TrackingEndpoint>,
}

fn find(inbox: &Inbox, n: &str) -> Result<Arc<Captured>, RequestError> {
    let n: Option<u64> = n.parse().ok();
    n.and_then(|n| inbox.get(n))
        .ok_or_else(|| RequestError::NotFound("there is no message with this number in the inbox".to_owned()))
}

async fn list_json(State(inbox): State<Arc<Inbox>>) -> Response {
    let list = inbox.list();
    let list: Vec<&Captured> = list.iter().map(AsRef::as_ref).collect();
    Json(list).into_response()
}

async fn raw(State(inbox): State<Arc<Inbox>>, Path(n): Path<String>) -> Result<Response, RequestError> {
    let message = find(&inbox, &n)?;
    let fields = [(header::CONTENT_TYPE, "message/rfc822"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((fields, message.raw.clone()).into_response())
}
