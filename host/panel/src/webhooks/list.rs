//! The list of webhooks.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;

use super::Webhook;
use crate::api::{List, Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;

/// Webhooks on a page.
const ROWS: &str = "50";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WebhooksQuery {
    after: String,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "webhooks/list.html")]
struct WebhooksPage {
    f: Frame,
    rows: Vec<Webhook>,
    next: Option<String>,
    is_first: bool,
}

pub(super) async fn page(
    tenant: TenantPage,
    Query(query): Query<WebhooksQuery>,
) -> Result<Response, Problem> {
    let asked = path(&["webhooks"], &[("limit", ROWS), ("after", &query.after)]);
    let found: List<Webhook> = tenant.api.get(&asked).await?;
    let next = found.cursor(|hook| &hook.id).map(|after| tenant.url(&["webhooks"], &[("after", &after)]));
    let f = tenant.frame(Section::WEBHOOKS, tenant.l.say("webhooks.title"));
    let f = f.with_notice(query.done.as_deref());
    frame::page(&WebhooksPage { f, rows: found.data, next, is_first: query.after.is_empty() })
}
