//! The settings of a webhook, new or as it is.

use askama::Template;
use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Webhook;
use crate::api::{List, Problem, path};
use crate::choices::{Choice, checked};
use crate::forms::{Fields, Form, Posted};
use crate::frame::{self, Frame, Section, see};
use crate::state::TenantPage;
use crate::visitor::UserRole;

/// The streams that a webhook may be told of.
const STREAMS: [&str; 2] = ["transactional", "marketing"];

#[derive(Debug, Deserialize)]
struct EventType {
    name: String,
    #[serde(default)]
    alias_of: Option<String>,
}

#[derive(Template)]
#[template(path = "webhooks/edit.html")]
struct EditPage {
    f: Frame,
    /// None: it is a new one.
    id: Option<String>,
    events: Vec<Choice>,
    streams: Vec<Choice>,
    values: Form,
}

/// What is checked in a form.
#[derive(Debug, Default)]
struct Checked {
    events: Vec<String>,
    streams: Vec<String>,
}

pub(super) async fn new(tenant: TenantPage) -> Result<Response, Problem> {
    tenant.needs(UserRole::Developer)?;
    show(&tenant, None, Checked::default(), StatusCode::OK, Form::default()).await
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let hook: Webhook = tenant.api.get(&path(&["webhooks", &id], &[])).await?;
    let tags: Vec<String> = hook.tags.iter().map(super::TagCondition::line).collect();
    let headers: Vec<String> = hook.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let values = Form::of([
        ("endpoint", hook.endpoint.as_str()),
        ("description", &hook.description),
        ("tags", &tags.join("\n")),
        ("headers", &headers.join("\n")),
    ]);
    let checked = Checked { events: hook.events.unwrap_or_default(), streams: hook.streams };
    show(&tenant, Some(id), checked, StatusCode::OK, values).await
}

async fn show(
    tenant: &TenantPage,
    id: Option<String>,
    checked: Checked,
    status: StatusCode,
    values: Form,
) -> Result<Response, Problem> {
    let l = tenant.l;
    let known: List<EventType> = tenant.api.get(&path(&["webhooks", "event-types"], &[])).await?;
    let event = |known: &EventType| {
        let is_checked = checked.events.contains(&known.name);
        let hint = match &known.alias_of {
            Some(of) => l.fill("webhooks.alias_of", of),
            None => l.find("event_type", &known.name).unwrap_or_default().to_owned(),
        };
        Choice { hint, ..Choice::new(&known.name, &known.name, is_checked) }
    };
    let stream = |name: &str| {
        let is_checked = checked.streams.iter().any(|checked| checked == name);
        Choice::new(name, l.term("stream", name), is_checked)
    };
    let title = if id.is_some() { l.say("webhooks.edit_title") } else { l.say("webhooks.new_title") };
    let f = tenant.frame(Section::WEBHOOKS, title);
    let streams = STREAMS.iter().map(|name| stream(name)).collect();
    let events = known.data.iter().map(event).collect();
    frame::page_with(status, &EditPage { f, id, events, streams, values })
}

pub(super) async fn create(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
    }
    let body = match settings(&fields) {
        Ok(body) => body,
        Err(mistake) => return again(&tenant, None, &fields, mistake).await,
    };
    match tenant.api.send::<Made>(Method::POST, "/webhooks", &body).await {
        Ok(Made { id }) => Ok(see(&tenant.url(&["webhooks", &id], &[("done", "webhook_created")]))),
        Err(problem) if problem.is_about_input() => {
            again(&tenant, None, &fields, with_problem(&fields, &problem)).await
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn change(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let body = match settings(&fields) {
        Ok(body) => body,
        Err(mistake) => return again(&tenant, Some(id), &fields, mistake).await,
    };
    match tenant.api.send::<Value>(Method::PATCH, &path(&["webhooks", &id], &[]), &body).await {
        Ok(_) => Ok(see(&tenant.url(&["webhooks", &id], &[("done", "saved")]))),
        Err(problem) if problem.is_about_input() => {
            again(&tenant, Some(id), &fields, with_problem(&fields, &problem)).await
        }
        Err(problem) => Err(problem),
    }
}

/// The form again, as it was sent, with its mistakes.
async fn again(
    tenant: &TenantPage,
    id: Option<String>,
    fields: &Fields,
    values: Form,
) -> Result<Response, Problem> {
    let checked = Checked { events: checked(fields, "events"), streams: checked(fields, "streams") };
    show(tenant, id, checked, StatusCode::UNPROCESSABLE_ENTITY, values).await
}

fn with_problem(fields: &Fields, problem: &Problem) -> Form {
    Form::sent(fields).with_problem(problem, &[("events", "events"), ("streams", "streams")])
}

/// What the API is asked for, or the form with a mistake in its lines.
fn settings(fields: &Fields) -> Result<Value, Form> {
    let tags = lines(fields, "tags").map(|line| match line.split_once(':') {
        Some((name, value)) => json!({ "name": name.trim(), "value": value.trim() }),
        None => json!({ "name": line }),
    });
    let mut headers = Map::new();
    for line in lines(fields, "headers") {
        let mistake = |message: &str| Form::sent(fields).with_mistake("headers", message);
        let (name, value) =
            line.split_once(':').ok_or_else(|| mistake("write each line as `Name: value`"))?;
        if headers.insert(name.trim().to_owned(), value.trim().into()).is_some() {
            return Err(mistake("a name is given twice"));
        }
    }
    Ok(json!({
        "endpoint": fields.get("endpoint").trim(),
        "description": fields.get("description").trim(),
        "events": checked(fields, "events"),
        "streams": checked(fields, "streams"),
        "tags": tags.collect::<Vec<_>>(),
        "headers": headers,
    }))
}

fn lines<'f>(fields: &'f Fields, name: &str) -> impl Iterator<Item = &'f str> {
    fields.get(name).lines().map(str::trim).filter(|line| !line.is_empty())
}
