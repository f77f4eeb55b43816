//! The list of domains, and a new one.

use askama::Template;
use axum::extract::Query;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::api::{List, Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{self, Frame, Section, see};
use crate::state::TenantPage;

/// Domains on a page.
const ROWS: &str = "50";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DomainsQuery {
    after: String,
    done: Option<String>,
}

#[derive(Debug, Deserialize)]
struct DomainRow {
    name: String,
    status: String,
    created_at: Option<String>,
    source: String,
    open_tracking: bool,
    click_tracking: bool,
    tls: String,
}

#[derive(Debug, Deserialize)]
struct Name {
    name: String,
}

#[derive(Template)]
#[template(path = "domains/list.html")]
struct DomainsPage {
    f: Frame,
    rows: Vec<DomainRow>,
    next: Option<String>,
    is_first: bool,
    values: Form,
}

pub(super) async fn page(tenant: TenantPage, Query(query): Query<DomainsQuery>) -> Result<Response, Problem> {
    show(&tenant, &query, StatusCode::OK, Form::default()).await
}

async fn show(
    tenant: &TenantPage,
    query: &DomainsQuery,
    status: StatusCode,
    values: Form,
) -> Result<Response, Problem> {
    let asked = path(&["domains"], &[("limit", ROWS), ("after", &query.after)]);
    let found: List<DomainRow> = tenant.api.get(&asked).await?;
    let next = found.cursor(|row| &row.name).map(|after| tenant.url(&["domains"], &[("after", &after)]));
    let f = tenant.frame(Section::DOMAINS, tenant.l.say("domains.title"));
    let f = f.with_notice(query.done.as_deref());
    let is_first = query.after.is_empty();
    frame::page_with(status, &DomainsPage { f, rows: found.data, next, is_first, values })
}

pub(super) async fn add(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let name = fields.get("name").trim();
    let added = tenant.api.send::<Name>(Method::POST, "/domains", &json!({ "name": name })).await;
    match added {
        Ok(Name { name }) => Ok(see(&tenant.url(&["domains", &name], &[("done", "domain_added")]))),
        Err(problem) if problem.is_about_input() => {
            let values = Form::sent(&fields).with_problem(&problem, &[]);
            show(&tenant, &DomainsQuery::default(), StatusCode::UNPROCESSABLE_ENTITY, values).await
        }
        Err(problem) => Err(problem),
    }
}
