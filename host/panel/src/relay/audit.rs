//! The audit log of all tenants and of operators.

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use crate::api::{List, Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::{OperatorPage, PanelState};

/// Acts on a page.
const ROWS: &str = "50";

pub(super) fn routes() -> Router<PanelState> {
    Router::new().route("/audit", get(page))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ActsQuery {
    tenant: String,
    after: String,
}

/// An act.
#[derive(Debug, Deserialize)]
struct TenantAct {
    id: String,
    created_at: String,
    actor: String,
    action: String,
    subject: String,
    result: String,
    /// Empty: of no tenant.
    tenant: String,
}

impl TenantAct {
    fn is_done(&self) -> bool {
        self.result == "done" || self.result.starts_with("done:")
    }
}

#[derive(Template)]
#[template(path = "relay/audit.html")]
struct ActsPage {
    f: Frame,
    query: ActsQuery,
    rows: Vec<TenantAct>,
    newest: String,
    older: Option<String>,
}

impl ActsPage {
    /// The acts about a tenant, which may be there no longer.
    fn of_tenant(&self, tenant: &str) -> String {
        self.f.url(&["audit"]) + &path(&[], &[("tenant", tenant)])
    }
}

async fn page(page: OperatorPage, Query(query): Query<ActsQuery>) -> Result<Response, Problem> {
    let tenant = query.tenant.trim();
    let asked = [("limit", ROWS), ("tenant", tenant), ("after", query.after.as_str())];
    let found: List<TenantAct> = page.api.get(&path(&["operations", "audit"], &asked)).await?;
    let last = found.data.last().filter(|_| found.has_more);
    let older = last.map(|act| page.url(&["audit"], &[("tenant", tenant), ("after", &act.id)]));
    let newest = page.url(&["audit"], &[("tenant", tenant)]);
    let f = page.frame(Section::RELAY, page.l.say("acts.title"));
    frame::page(&ActsPage { f, rows: found.data, newest, older, query })
}
