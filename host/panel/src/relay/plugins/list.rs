//! The list of plugins by tenant.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;

use super::super::LIVE;
use super::PluginEntry;
use crate::api::{Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::OperatorPage;

/// Plugins on a page.
const ROWS: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PluginsQuery {
    tenant: String,
    from: usize,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "relay/plugins.html")]
struct PluginsPage {
    f: Frame,
    query: PluginsQuery,
    rows: Vec<PluginEntry>,
    next: Option<String>,
}

pub(super) async fn page(page: OperatorPage, Query(query): Query<PluginsQuery>) -> Result<Response, Problem> {
    let tenant = query.tenant.trim();
    let found: Vec<PluginEntry> = page.api.get(&path(&["plugins"], &[("tenant", tenant)])).await?;
    let end = query.from.saturating_add(ROWS);
    let from = end.to_string();
    let next = (found.len() > end).then(|| page.url(&["plugins"], &[("tenant", tenant), ("from", &from)]));
    let rows = found.into_iter().skip(query.from).take(ROWS).collect();
    let f = page.frame(Section::PLUGINS, page.l.say("plugins.title")).with_notice(query.done.as_deref());
    frame::page(&PluginsPage { f: f.live_at(LIVE), rows, next, query })
}
