//! One message: what happened to it, and what may be done about it.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{self, DoneQuery, Frame, Section, see};
use crate::state::TenantPage;
use crate::texts::Language;

/// A message.
#[derive(Debug, Deserialize)]
struct Message {
    id: String,
    from: String,
    subject: String,
    created_at: String,
    last_event: String,
    #[serde(default)]
    scheduled_at: Option<String>,
    message_id_header: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    metadata: BTreeMap<String, Value>,
    #[serde(default)]
    template: String,
    #[serde(default)]
    topic: String,
    recipients: Vec<Recipient>,
    #[serde(default)]
    events: Vec<MessageEvent>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Debug, Deserialize)]
struct Tag {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
struct Recipient {
    email: String,
    message_id: String,
    last_event: String,
    last_event_at: String,
    #[serde(default)]
    detail: Option<String>,
}

/// Something that happened: fields that an event has not are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MessageEvent {
    r#type: String,
    created_at: String,
    recipient: Option<String>,
    recipients: Vec<String>,
    reply: Option<String>,
    reason: Option<String>,
    code: Option<u16>,
    mx: Option<String>,
    mx_ip: Option<String>,
    tls: Option<String>,
    tls_verified: bool,
    tls_policy: Option<String>,
    tls_failure: Option<String>,
    attempt: Option<u64>,
    delay_ms: Option<u64>,
    url: Option<String>,
    visitor: Option<String>,
    visitor_reason: Option<String>,
    rule: Option<String>,
    classification: Option<Classification>,
    fixes: Vec<Note>,
    notes: Vec<Note>,
    policies: Vec<Policy>,
    conversation: Vec<Line>,
}

/// A line of the conversation with a server.
#[derive(Debug, Deserialize)]
struct Line {
    /// `client`, `server` or `note`.
    from: String,
    text: String,
    at_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Classification {
    explanation: BTreeMap<String, String>,
    category: String,
    rule: String,
    #[serde(default)]
    doc: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Note {
    name: String,
    #[serde(default)]
    detail: String,
}

#[derive(Debug, Deserialize)]
struct Policy {
    plugin: String,
    verdict: String,
    #[serde(default)]
    reason: String,
}

impl MessageEvent {
    /// `delivered` of `email.delivered`.
    fn state(&self) -> &str {
        self.r#type.strip_prefix("email.").unwrap_or(&self.r#type)
    }
}

impl Classification {
    /// In the language of the reader.
    fn words(&self, l: &Language) -> &str {
        let found = self.explanation.get(l.tag).or_else(|| self.explanation.get("en"));
        found.map_or("", String::as_str)
    }
}

#[derive(Template)]
#[template(path = "messages/show.html")]
struct MessagePage {
    f: Frame,
    v: Form,
    m: Message,
    may_cancel: bool,
    /// Recipients that did not get it; those who may send can send it to them again.
    missed: Vec<String>,
}

impl MessagePage {
    /// The page of what the relay changed for a recipient.
    fn copy_url(&self, to: &Recipient) -> String {
        let id = to.message_id.as_str();
        self.f.url(&["messages", id, "changes"]) + &path(&[], &[("recipient", &to.email)])
    }
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Query(query): Query<DoneQuery>,
) -> Result<Response, Problem> {
    show(&tenant, &id, (StatusCode::OK, Form::default()), query.done.as_deref()).await
}

async fn show(
    tenant: &TenantPage,
    id: &str,
    (status, v): (StatusCode, Form),
    done: Option<&str>,
) -> Result<Response, Problem> {
    let m: Message = tenant.api.get(&path(&["emails", id], &[])).await?;
    let l = tenant.l;
    let title = if m.subject.is_empty() { l.say("messages.no_subject") } else { &m.subject };
    let mut f = tenant.frame(Section::MESSAGES, title).with_notice(done);
    if !v.is_wrong() {
        f = f.live();
    }
    let may_cancel = f.may_write() && ["queued", "scheduled"].contains(&m.last_event.as_str());
    let missed = if f.may_write() { missed(&m) } else { Vec::new() };
    frame::page_with(status, &MessagePage { f, v, m, may_cancel, missed })
}

/// The recipients whose mail ended in failure.
fn missed(m: &Message) -> Vec<String> {
    let failed = ["bounced", "failed", "expired", "suppressed", "rejected", "canceled"];
    // Nothing was queued that could be sent again.
    let is_suppressed = m.recipients.iter().all(|to| to.last_event == "suppressed");
    let missed = m.recipients.iter().filter(|to| failed.contains(&to.last_event.as_str()));
    let missed = missed.filter(|_| !is_suppressed);
    missed.map(|to| to.email.clone()).collect()
}

/// The answer of `POST /emails/{id}/resend`.
#[derive(Debug, Deserialize)]
struct Resent {
    id: String,
}

/// Sends it again to the recipients that are ticked.
pub(super) async fn resend(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let to: Vec<&str> = fields.all("to").collect();
    let asked = path(&["emails", &id, "resend"], &[]);
    let sent: Result<Resent, Problem> = tenant.api.send(Method::POST, &asked, &json!({ "to": to })).await;
    match sent {
        Ok(sent) => Ok(see(&tenant.url(&["messages", &sent.id], &[("done", "resent")]))),
        Err(problem) => refused(&tenant, &id, problem).await,
    }
}

pub(super) async fn cancel(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let asked = path(&["emails", &id, "cancel"], &[]);
    let canceled: Result<Value, Problem> = tenant.api.act(Method::POST, &asked).await;
    match canceled {
        Ok(_) => Ok(see(&tenant.url(&["messages", &id], &[("done", "canceled")]))),
        Err(problem) => refused(&tenant, &id, problem).await,
    }
}

/// The page of the message as it is now, with why something was not done.
async fn refused(tenant: &TenantPage, id: &str, problem: Problem) -> Result<Response, Problem> {
    if !problem.is_about_input() {
        return Err(problem);
    }
    let form = Form::default().with_problem(&problem, &[]);
    show(tenant, id, (problem.status, form), None).await
}
