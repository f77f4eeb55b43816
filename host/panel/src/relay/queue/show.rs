//! One message that waits: its deliveries, what they wait for, and what may be done.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::super::{ActedQuery, LIVE, short};
use super::{LastAttempt, action};
use crate::api::{List, Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{Frame, Section, page_with, see};
use crate::state::OperatorPage;

/// Deliveries, and recipients with their reasons, that are listed.
const MAX_ROWS: usize = 50;
/// Recipients of a delivery that are listed.
const MAX_RECIPIENTS: usize = 20;

/// A message that waits.
#[derive(Debug, Deserialize)]
struct QueuedMessage {
    id: String,
    tenant: String,
    from: String,
    subject: String,
    size: usize,
    accepted_at: String,
    expires_at: String,
    pending: u64,
    held: bool,
    message_id: String,
    source: String,
    deliveries: Vec<QueuedDelivery>,
}

#[derive(Debug, Deserialize)]
struct QueuedDelivery {
    domain: String,
    priority: i8,
    attempts: u32,
    held: bool,
    hold_reason: Option<String>,
    next_attempt: Option<String>,
    being_attempted: bool,
    recipients: Vec<QueuedRecipient>,
    last: Option<LastAttempt>,
}

#[derive(Debug, Deserialize)]
struct QueuedRecipient {
    address: String,
    state: String,
}

/// What a recipient waits for.
#[derive(Debug, Deserialize)]
struct Wait {
    recipient: String,
    state: String,
    site: Option<String>,
    pool: Option<String>,
    route: Option<String>,
    last: Option<LastAttempt>,
    reason: String,
}

#[derive(Template)]
#[template(path = "relay/message.html")]
struct QueuedPage {
    f: Frame,
    form: Form,
    m: QueuedMessage,
    waits: Vec<Wait>,
    more: usize,
}

impl QueuedPage {
    fn recipients<'d>(&self, delivery: &'d QueuedDelivery) -> &'d [QueuedRecipient] {
        &delivery.recipients[..delivery.recipients.len().min(MAX_RECIPIENTS)]
    }

    fn tenant_url(&self) -> String {
        path(&["panel", "t", &self.m.tenant], &[])
    }
}

async fn show(
    page: &OperatorPage,
    id: &str,
    form: Form,
    status: StatusCode,
    done: Option<&str>,
) -> Result<Response, Problem> {
    let found: Result<QueuedMessage, Problem> = page.api.get(&path(&["queue", id], &[])).await;
    let mut m = match found {
        Ok(m) => m,
        Err(problem) => return gone(page, problem),
    };
    let waits: Result<List<Wait>, Problem> = page.api.get(&path(&["queue", id, "why"], &[])).await;
    let mut waits = match waits {
        Ok(waits) => waits.data,
        Err(problem) => return gone(page, problem),
    };
    let more = waits.len().saturating_sub(MAX_ROWS);
    waits.truncate(MAX_ROWS);
    m.deliveries.truncate(MAX_ROWS);
    let title = if m.subject.is_empty() { page.l.say("queue.no_subject") } else { &m.subject };
    let mut f = page.frame(Section::QUEUE, &short(title)).with_notice(done);
    if !form.is_wrong() {
        f = f.live_at(LIVE);
    }
    page_with(status, &QueuedPage { f, form, m, waits, more })
}

/// Messages leave the queue while somebody looks at them: the list says so.
fn gone(page: &OperatorPage, problem: Problem) -> Result<Response, Problem> {
    if problem.status == StatusCode::NOT_FOUND {
        return Ok(see(&page.url(&["queue", "messages"], &[("done", "queue_gone")])));
    }
    Err(problem)
}

pub(super) async fn page(
    page: OperatorPage,
    Path(id): Path<String>,
    Query(query): Query<ActedQuery>,
) -> Result<Response, Problem> {
    show(&page, &id, Form::default(), StatusCode::OK, query.done.as_deref()).await
}

pub(super) async fn act(
    page: OperatorPage,
    Path(id): Path<String>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let (verb, done) = match action(&fields)? {
        "retry" => ("retry", "queue_retry"),
        "hold" => ("hold", "queue_hold"),
        _ => ("release", "queue_release"),
    };
    let acted: Result<Value, Problem> = page.api.act(Method::POST, &path(&["queue", &id, verb], &[])).await;
    match acted {
        Ok(_) => Ok(see(&page.url(&["queue", "messages", &id], &[("done", done)]))),
        Err(problem) if problem.is_about_input() => {
            let form = Form::default().with_problem(&problem, &[]);
            show(&page, &id, form, problem.status, None).await
        }
        Err(problem) => gone(&page, problem),
    }
}

pub(super) async fn drop_message(
    page: OperatorPage,
    Path(id): Path<String>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let acted: Result<Value, Problem> = page.api.act(Method::POST, &path(&["queue", &id, "drop"], &[])).await;
    match acted {
        Ok(_) => Ok(see(&page.url(&["queue", "messages"], &[("done", "queue_drop")]))),
        Err(problem) if problem.is_about_input() => {
            let form = Form::default().with_problem(&problem, &[]);
            show(&page, &id, form, problem.status, None).await
        }
        Err(problem) => gone(&page, problem),
    }
}
