//! One tenant.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::Value;

use super::super::ActedQuery;
use super::TenantEntry;
use crate::api::{Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{Frame, Section, page_with, see};
use crate::state::OperatorPage;

/// Addresses that are warmed up, on the page.
const MAX_ROWS: usize = 50;

#[derive(Template)]
#[template(path = "relay/tenant.html")]
struct TenantPage {
    f: Frame,
    form: Form,
    t: TenantEntry,
}

impl TenantPage {
    fn own_url(&self, segments: &[&str]) -> String {
        let all: Vec<&str> = ["panel", "t", &self.t.id].into_iter().chain(segments.iter().copied()).collect();
        path(&all, &[])
    }

    fn acts_url(&self) -> String {
        path(&["panel", "relay", "audit"], &[("tenant", &self.t.id)])
    }

    fn mail_url(&self) -> String {
        path(&["panel", "relay", "queue", "messages"], &[("tenant", &self.t.id)])
    }
}

pub(super) async fn read(page: &OperatorPage, id: &str) -> Result<TenantEntry, Problem> {
    page.api.get(&path(&["tenants", id], &[])).await
}

async fn show(
    page: &OperatorPage,
    id: &str,
    form: Form,
    status: StatusCode,
    done: Option<&str>,
) -> Result<Response, Problem> {
    let mut t = read(page, id).await?;
    t.warmup.truncate(MAX_ROWS);
    let f = page.frame(Section::TENANTS, &t.id).with_notice(done);
    page_with(status, &TenantPage { f, form, t })
}

pub(super) async fn page(
    page: OperatorPage,
    Path(id): Path<String>,
    Query(query): Query<ActedQuery>,
) -> Result<Response, Problem> {
    show(&page, &id, Form::default(), StatusCode::OK, query.done.as_deref()).await
}

/// Deletes it, if its id was typed: much is deleted with it.
pub(super) async fn delete(
    page: OperatorPage,
    Path(id): Path<String>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    if fields.get("id").trim() != id {
        let form = Form::sent(&fields).with_mistake("id", page.l.say("tenants.differs"));
        return show(&page, &id, form, StatusCode::UNPROCESSABLE_ENTITY, None).await;
    }
    let deleted: Result<Value, Problem> = page.api.act(Method::DELETE, &path(&["tenants", &id], &[])).await;
    match deleted {
        Ok(_) => Ok(see(&page.url(&["tenants"], &[("done", "tenant_deleted")]))),
        Err(problem) if problem.is_about_input() => {
            let form = Form::sent(&fields).with_problem(&problem, &[]);
            show(&page, &id, form, problem.status, None).await
        }
        Err(problem) => Err(problem),
    }
}
