//! The list of templates.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;

use super::model::TemplateRow;
use crate::api::{List, Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;

/// Templates on a page.
const ROWS: &str = "50";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TemplatesQuery {
    after: String,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "templates/list.html")]
struct ListPage {
    f: Frame,
    rows: Vec<TemplateRow>,
    next: Option<String>,
    is_first: bool,
}

pub(super) async fn page(
    tenant: TenantPage,
    Query(query): Query<TemplatesQuery>,
) -> Result<Response, Problem> {
    let asked = [("limit", ROWS), ("after", query.after.as_str())];
    let found: List<TemplateRow> = tenant.api.get(&path(&["templates"], &asked)).await?;
    let next = found.next.filter(|_| found.has_more);
    let next = next.map(|next| tenant.url(&["templates"], &[("after", &next)]));
    let f = tenant.frame(Section::TEMPLATES, tenant.l.say("templates.title"));
    let f = f.with_notice(query.done.as_deref());
    frame::page(&ListPage { f, rows: found.data, next, is_first: query.after.is_empty() })
}
