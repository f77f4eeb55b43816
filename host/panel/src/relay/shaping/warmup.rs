//! Addresses that are warmed up, with the step that each has come to.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;

use crate::api::{List, Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::OperatorPage;

/// Addresses on a page.
const ROWS: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WarmupQuery {
    from: usize,
}

/// Where an address stands at a provider.
#[derive(Debug, Deserialize)]
pub(in crate::relay) struct WarmupEntry {
    pub(in crate::relay) address: String,
    pub(in crate::relay) provider: String,
    pub(in crate::relay) is_warm: bool,
    pub(in crate::relay) step: u32,
    pub(in crate::relay) steps: u32,
    pub(in crate::relay) day: String,
    #[serde(default)]
    pub(in crate::relay) cap: Option<u64>,
    #[serde(default)]
    pub(in crate::relay) cap_per_hour: Option<u64>,
    pub(in crate::relay) used: u64,
    pub(in crate::relay) accepted: u64,
    pub(in crate::relay) deferred: u64,
    pub(in crate::relay) complaints: u64,
    pub(in crate::relay) note: String,
}

#[derive(Template)]
#[template(path = "relay/warmup.html")]
struct WarmupPage {
    f: Frame,
    rows: Vec<WarmupEntry>,
    next: Option<String>,
}

pub(super) async fn page(page: OperatorPage, Query(query): Query<WarmupQuery>) -> Result<Response, Problem> {
    let found: List<WarmupEntry> = page.api.get(&path(&["warmup"], &[])).await?;
    let end = query.from.saturating_add(ROWS);
    let from = end.to_string();
    let next = (found.data.len() > end).then(|| page.url(&["shaping", "warmup"], &[("from", &from)]));
    let rows = found.data.into_iter().skip(query.from).take(ROWS).collect();
    let f = page.frame(Section::SHAPING, page.l.say("warmup.title"));
    frame::page(&WarmupPage { f, rows, next })
}
