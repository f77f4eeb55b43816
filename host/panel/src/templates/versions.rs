//! Versions of a template: the list, one of them, and what differs between two.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;

use super::diff::{self, FieldDiff};
use super::model::{TemplateDetails, VersionRow};
use crate::api::{List, Problem, path};
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;

/// Versions on a page.
const ROWS: usize = 50;
/// Octets of a source that are shown.
const MAX_SHOWN: usize = 60_000;

#[derive(Template)]
#[template(path = "templates/versions.html")]
struct VersionsPage {
    f: Frame,
    name: String,
    rows: Vec<VersionRow>,
    newest: i64,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "templates/version.html")]
struct VersionPage {
    f: Frame,
    found: TemplateDetails,
    /// Key of its name, and the text.
    sources: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "templates/compare.html")]
struct ComparePage {
    f: Frame,
    name: String,
    from: i64,
    to: i64,
    changes: Vec<FieldDiff>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct VersionsQuery {
    before: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CompareQuery {
    from: i64,
    to: i64,
}

pub(super) async fn list(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
    Query(query): Query<VersionsQuery>,
) -> Result<Response, Problem> {
    let found: TemplateDetails = tenant.api.get(&path(&["templates", &name], &[])).await?;
    let id = found.template.id.as_str();
    let all: List<VersionRow> = tenant.api.get(&path(&["templates", id, "versions"], &[])).await?;
    let before = query.before.unwrap_or(i64::MAX);
    let mut rows: Vec<_> = all.data.into_iter().filter(|row| row.version < before).take(ROWS + 1).collect();
    let has_more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let last = rows.last().filter(|_| has_more).map(|row| row.version.to_string());
    let older = last.map(|last| tenant.url(&["templates", id, "versions"], &[("before", &last)]));
    let f = tenant.frame(Section::TEMPLATES, &titled(&tenant, "templates.versions_of", &found));
    let name = id.to_owned();
    frame::page(&VersionsPage { f, name, rows, newest: found.content.version, older })
}

pub(super) async fn show(
    tenant: TenantPage,
    Path((_, name, version)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let found = version_of(&tenant, &name, &version).await?;
    let number = found.content.version;
    let title = format!("{}: {}", found.template.name, tenant.l.fill("templates.version_n", &number));
    let f = tenant.frame(Section::TEMPLATES, &title);
    let content = &found.content;
    let given = |name, text: &Option<String>| text.as_deref().map(|text| (name, shortened(text)));
    let sources = [given("mjml", &content.mjml), given("html", &content.html), given("text", &content.text)];
    let sources = sources.into_iter().flatten().collect();
    frame::page(&VersionPage { f, found, sources })
}

pub(super) async fn compare(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
    Query(query): Query<CompareQuery>,
) -> Result<Response, Problem> {
    let CompareQuery { from, to } = query;
    let old = version_of(&tenant, &name, &from.to_string()).await?;
    let new = version_of(&tenant, &name, &to.to_string()).await?;
    let f = tenant.frame(Section::TEMPLATES, &titled(&tenant, "templates.compare_of", &new));
    let changes = diff::between(&old.content, &new.content);
    frame::page(&ComparePage { f, name: new.template.id, from, to, changes })
}

fn titled(tenant: &TenantPage, key: &str, found: &TemplateDetails) -> String {
    tenant.l.fill(key, &found.template.name)
}

async fn version_of(tenant: &TenantPage, name: &str, version: &str) -> Result<TemplateDetails, Problem> {
    tenant.api.get(&path(&["templates", name, "versions", version], &[])).await
}

/// A text that is no longer than a page bears, cut between characters.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_SHOWN {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX_SHOWN)])
}
