//! One webhook: its state, its secret, and what may be done about it.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Webhook;
use crate::api::{Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{self, DoneQuery, Frame, Section, see};
use crate::state::TenantPage;

/// Seconds for which the secrets of before sign, too, with the names of the texts.
const OVERLAPS: [(&str, &str); 4] = [("86400", "day"), ("0", "none"), ("3600", "hour"), ("604800", "week")];

/// What came of a test.
#[derive(Debug, Deserialize)]
struct TestOutcome {
    status: String,
    http_status_code: Option<i64>,
    response: String,
    duration_ms: u64,
}

#[derive(Template)]
#[template(path = "webhooks/show.html")]
struct WebhookPage {
    f: Frame,
    w: Webhook,
    test: Option<TestOutcome>,
    overlaps: [(&'static str, &'static str); 4],
    rotation: Form,
}

impl WebhookPage {
    async fn new(tenant: &TenantPage, id: &str, rotation: Form) -> Result<Self, Problem> {
        let w: Webhook = tenant.api.get(&path(&["webhooks", id], &[])).await?;
        let f = tenant.frame(Section::WEBHOOKS, &w.endpoint);
        let overlaps = OVERLAPS.map(|(seconds, name)| (seconds, tenant.l.term("period", name)));
        Ok(Self { f, w, test: None, overlaps, rotation })
    }
}

async fn show(
    tenant: &TenantPage,
    id: &str,
    done: Option<&str>,
    test: Option<TestOutcome>,
) -> Result<Response, Problem> {
    let page = WebhookPage::new(tenant, id, Form::default()).await?;
    frame::page(&WebhookPage { f: page.f.with_notice(done), test, ..page })
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Query(query): Query<DoneQuery>,
) -> Result<Response, Problem> {
    show(&tenant, &id, query.done.as_deref(), None).await
}

/// Sends a test, and shows what came of it.
pub(super) async fn test(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let outcome = tenant.api.act(Method::POST, &path(&["webhooks", &id, "test"], &[])).await?;
    show(&tenant, &id, None, Some(outcome)).await
}

pub(super) async fn enable(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    set_status(&tenant, &id, "enabled", "webhook_enabled").await
}

pub(super) async fn disable(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    set_status(&tenant, &id, "disabled", "webhook_disabled").await
}

async fn set_status(tenant: &TenantPage, id: &str, status: &str, done: &str) -> Result<Response, Problem> {
    let place = path(&["webhooks", id], &[]);
    let _: Value = tenant.api.send(Method::PATCH, &place, &json!({ "status": status })).await?;
    Ok(see(&tenant.url(&["webhooks", id], &[("done", done)])))
}

pub(super) async fn rotate(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let mut body = Map::new();
    if let Some(given) = fields.given("overlap_seconds") {
        let Ok(seconds) = given.parse::<u64>() else {
            let rotation = Form::sent(&fields).with_mistake("overlap_seconds", "is no number of seconds");
            return refused(&tenant, &id, rotation).await;
        };
        body.insert("overlap_seconds".into(), seconds.into());
    }
    let place = path(&["webhooks", &id, "rotate-secret"], &[]);
    match tenant.api.send::<Value>(Method::POST, &place, &body).await {
        Ok(_) => Ok(see(&tenant.url(&["webhooks", &id], &[("done", "secret_rotated")]))),
        Err(problem) if problem.is_about_input() => {
            refused(&tenant, &id, Form::sent(&fields).with_problem(&problem, &[])).await
        }
        Err(problem) => Err(problem),
    }
}

/// The page again, with why the secret is not another one.
async fn refused(tenant: &TenantPage, id: &str, rotation: Form) -> Result<Response, Problem> {
    let page = WebhookPage::new(tenant, id, rotation).await?;
    frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

pub(super) async fn delete(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let _: Value = tenant.api.act(Method::DELETE, &path(&["webhooks", &id], &[])).await?;
    Ok(see(&tenant.url(&["webhooks"], &[("done", "webhook_deleted")])))
}
