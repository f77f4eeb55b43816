//! One plugin.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::Value;

use super::super::{ActedQuery, LIVE};
use super::PluginEntry;
use crate::api::{Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{Frame, Section, page_with, see};
use crate::state::OperatorPage;

/// Versions, and differences, that are listed.
const MAX_ROWS: usize = 50;

#[derive(Template)]
#[template(path = "relay/plugin.html")]
struct PluginPage {
    f: Frame,
    form: Form,
    p: PluginEntry,
}

impl PluginPage {
    fn is_active(&self, version: &str) -> bool {
        self.p.digest.as_deref() == Some(version)
    }

    fn is_previous(&self, version: &str) -> bool {
        self.p.previous.as_deref() == Some(version)
    }

    fn url(&self, more: &[&str]) -> String {
        let own = ["plugins", self.p.tenant.as_str(), self.p.plugin.as_str()];
        self.f.url(&own.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    }

    fn message_url(&self, id: &str) -> String {
        path(&["panel", "t", &self.p.tenant, "messages", id], &[])
    }
}

/// Tenant and plugin.
type Names = (String, String);

async fn show(
    page: &OperatorPage,
    names: &Names,
    form: Form,
    status: StatusCode,
    done: Option<&str>,
) -> Result<Response, Problem> {
    let all: Vec<PluginEntry> = page.api.get(&path(&["plugins"], &[("tenant", &names.0)])).await?;
    let found = all.into_iter().find(|entry| entry.tenant == names.0 && entry.plugin == names.1);
    let mut p = found.ok_or_else(Problem::not_found)?;
    p.versions.truncate(MAX_ROWS);
    if let Some(shadow) = &mut p.shadow {
        shadow.last.reverse();
        shadow.last.truncate(MAX_ROWS);
    }
    let mut f = page.frame(Section::PLUGINS, &p.plugin).with_notice(done);
    if !form.is_wrong() {
        f = f.live_at(LIVE);
    }
    page_with(status, &PluginPage { f, form, p })
}

pub(super) async fn page(
    page: OperatorPage,
    Path(names): Path<Names>,
    Query(query): Query<ActedQuery>,
) -> Result<Response, Problem> {
    show(&page, &names, Form::default(), StatusCode::OK, query.done.as_deref()).await
}

pub(super) async fn act(
    page: OperatorPage,
    Path(names): Path<Names>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let (method, verb, done) = match fields.get("action") {
        "enable" => (Method::POST, Some("enable"), "plugin_enabled"),
        "disable" => (Method::POST, Some("disable"), "plugin_disabled"),
        "end_shadow" => (Method::DELETE, Some("shadow"), "plugin_shadow"),
        "forget" => (Method::DELETE, None, "plugin_forgotten"),
        _ => return Err(Problem::not_found()),
    };
    let segments: Vec<&str> = ["plugins", &names.0, &names.1].into_iter().chain(verb).collect();
    let acted: Result<Value, Problem> = page.api.act(method, &path(&segments, &[])).await;
    if acted.is_ok() && verb.is_none() {
        return Ok(see(&page.url(&["plugins"], &[("done", done)])));
    }
    outcome(&page, &names, acted, done).await
}

/// Makes a former version the active one.
pub(super) async fn rollback(
    page: OperatorPage,
    Path(names): Path<Names>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let asked =
        path(&["plugins", &names.0, &names.1, "rollback"], &[("digest", fields.get("digest").trim())]);
    let acted: Result<Value, Problem> = page.api.act(Method::POST, &asked).await;
    outcome(&page, &names, acted, "plugin_rolled_back").await
}

async fn outcome(
    page: &OperatorPage,
    names: &Names,
    acted: Result<Value, Problem>,
    done: &str,
) -> Result<Response, Problem> {
    match acted {
        Ok(_) => Ok(see(&page.url(&["plugins", &names.0, &names.1], &[("done", done)]))),
        Err(problem) if problem.is_about_input() => {
            let form = Form::default().with_problem(&problem, &[]);
            show(page, names, form, problem.status, None).await
        }
        Err(problem) => Err(problem),
    }
}
