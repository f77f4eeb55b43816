//! How a domain stands: what receivers look at, checked now.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;

use super::Check;
use crate::api::{Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;

/// Checks of a kind that are shown. A relay with many addresses has several for each.
const ROWS: usize = 50;
/// States of checks, the worst first.
const STATES: [&str; 4] = ["fail", "warn", "pass", "skip"];

#[derive(Debug, Deserialize)]
struct Health {
    checked_at: String,
    checks: Vec<Check>,
}

#[derive(Template)]
#[template(path = "domains/health.html")]
struct HealthPage {
    f: Frame,
    name: String,
    /// How many checks have each state that occurs.
    counts: Vec<(&'static str, usize)>,
    /// Checks that do not apply, or that nobody answered.
    unknown: usize,
    checked_at: String,
    /// To be mended.
    open: Vec<Check>,
    /// Pass, or do not apply.
    others: Vec<Check>,
    /// Checks that are left out.
    more: usize,
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let health: Health = tenant.api.get(&path(&["domains", &name, "health"], &[])).await?;
    let Health { checked_at, checks } = health;
    let count = |status| (status, checks.iter().filter(|check| check.status == status).count());
    let counts: Vec<_> = STATES.map(count).into_iter().filter(|(_, count)| *count > 0).collect();
    let unknown = counts.iter().find(|(status, _)| *status == "skip").map_or(0, |(_, count)| *count);
    let (mut open, mut others): (Vec<Check>, Vec<Check>) = checks.into_iter().partition(Check::is_open);
    let more = open.len().saturating_sub(ROWS) + others.len().saturating_sub(ROWS);
    open.truncate(ROWS);
    others.truncate(ROWS);
    let f = tenant.frame(Section::DOMAINS, &tenant.l.fill("domains.health_of", &name));
    frame::page(&HealthPage { f, name, counts, unknown, checked_at, open, others, more })
}
