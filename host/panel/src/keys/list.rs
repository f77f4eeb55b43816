//! The list of keys.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;

use super::Key;
use crate::api::{List, Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;

/// Keys on a page.
const ROWS: &str = "50";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct KeysQuery {
    after: String,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "keys/list.html")]
struct KeysPage {
    f: Frame,
    rows: Vec<Key>,
    next: Option<String>,
    is_first: bool,
}

pub(super) async fn page(tenant: TenantPage, Query(query): Query<KeysQuery>) -> Result<Response, Problem> {
    let asked = path(&["api-keys"], &[("limit", ROWS), ("after", &query.after)]);
    let found: List<Key> = tenant.api.get(&asked).await?;
    let next = found.cursor(|key| &key.id).map(|after| tenant.url(&["keys"], &[("after", &after)]));
    let f = tenant.frame(Section::KEYS, tenant.l.say("keys.title")).with_notice(query.done.as_deref());
    frame::page(&KeysPage { f, rows: found.data, next, is_first: query.after.is_empty() })
}
