//! How a domain stands: what receivers look at, checked now.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;

use super::Check;
use crate::api::{Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;

#[derive(Debug, Deserialize)]
struct Health {
    status: String,
    checked_at: String,
    checks: Vec<Check>,
}

#[derive(Template)]
#[template(path = "domains/health.html")]
struct HealthPage {
    f: Frame,
    name: String,
    status: String,
    checked_at: String,
    /// To be mended.
    open: Vec<Check>,
    /// Pass, or do not apply.
    others: Vec<Check>,
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let health: Health = tenant.api.get(&path(&["domains", &name, "health"], &[])).await?;
    let Health { status, checked_at, checks } = health;
    let (open, others) = checks.into_iter().partition(Check::is_open);
    let f = tenant.frame(Section::DOMAINS, &tenant.l.fill("domains.health_of", &name));
    frame::page(&HealthPage { f, name, status, checked_at, open, others })
}
