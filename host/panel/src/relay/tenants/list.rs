//! The list of tenants with the use of their quotas.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;

use super::TenantEntry;
use crate::api::{List, Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::OperatorPage;

/// Tenants on a page.
const ROWS: &str = "50";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TenantsQuery {
    after: String,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "relay/tenants.html")]
struct TenantsPage {
    f: Frame,
    rows: Vec<TenantEntry>,
    is_first: bool,
    next: Option<String>,
}

pub(super) async fn page(page: OperatorPage, Query(query): Query<TenantsQuery>) -> Result<Response, Problem> {
    let asked = path(&["tenants"], &[("limit", ROWS), ("after", &query.after)]);
    let found: List<TenantEntry> = page.api.get(&asked).await?;
    let last = found.data.last().filter(|_| found.has_more);
    let next = last.map(|tenant| page.url(&["tenants"], &[("after", &tenant.id)]));
    let f = page.frame(Section::TENANTS, page.l.say("tenants.title")).with_notice(query.done.as_deref());
    frame::page(&TenantsPage { f, rows: found.data, is_first: query.after.is_empty(), next })
}

impl TenantsPage {
    /// The tenant's own pages.
    fn own_url(&self, id: &str) -> String {
        path(&["panel", "t", id], &[])
    }
}
