//! Providers with what goes there, suspensions, and what may be done about them.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value};

use super::super::{ActedQuery, LIVE};
use super::{ProviderEntry, Shaping, SuspensionEntry};
use crate::api::{Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{Frame, Section, page_with, see};
use crate::state::OperatorPage;

/// Providers, and suspensions, on a page.
const MAX_ROWS: usize = 40;
/// How long mail may be suspended: values of the API.
const SPANS: [&str; 6] = ["30m", "2h", "6h", "1d", "3d", "7d"];
/// Whose mail may be suspended: how subjects of the API begin.
const SUBJECTS: [&str; 3] = ["source", "pool", "tenant"];
/// Where a parameter of the API is in the form.
const FIELDS: [(&str, &str); 5] = [
    ("subject", "name"),
    ("provider", "provider"),
    ("domain", "domain"),
    ("for", "for"),
    ("reason", "reason"),
];

#[derive(Template)]
#[template(path = "relay/shaping.html")]
struct ShapingPage {
    f: Frame,
    form: Form,
    rules_version: String,
    providers: Vec<ProviderEntry>,
    suspensions: Vec<SuspensionEntry>,
    /// Providers that are not listed.
    more: usize,
    subjects: Vec<(&'static str, &'static str)>,
    spans: Vec<(&'static str, &'static str)>,
}

async fn show(
    page: &OperatorPage,
    form: Form,
    status: StatusCode,
    done: Option<&str>,
) -> Result<Response, Problem> {
    let shaping: Shaping = page.api.get(&path(&["shaping"], &[])).await?;
    let Shaping { rules_version, mut providers, mut suspensions } = shaping;
    // Those with trouble first, then those with the most connections.
    providers.sort_by_key(|provider| (!provider.is_slowed(), u32::MAX - provider.open()));
    let more = providers.len().saturating_sub(MAX_ROWS);
    providers.truncate(MAX_ROWS);
    suspensions.truncate(MAX_ROWS);
    let mut f = page.frame(Section::SHAPING, page.l.say("shaping.title")).with_notice(done);
    if !form.is_wrong() {
        f = f.live_at(LIVE);
    }
    let subjects = SUBJECTS.map(|kind| (kind, f.term("subject", kind))).to_vec();
    let spans = SPANS.map(|span| (span, f.term("span", span))).to_vec();
    page_with(status, &ShapingPage { f, form, rules_version, providers, suspensions, more, subjects, spans })
}

pub(super) async fn page(page: OperatorPage, Query(query): Query<ActedQuery>) -> Result<Response, Problem> {
    show(&page, Form::of([("for", "2h")]), StatusCode::OK, query.done.as_deref()).await
}

pub(super) async fn suspend(page: OperatorPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let mut body = Map::new();
    let name = fields.get("name").trim();
    body.insert("subject".into(), format!("{}:{name}", fields.get("kind")).into());
    for field in ["provider", "domain"] {
        if let Some(value) = fields.given(field) {
            body.insert(field.into(), value.into());
        }
    }
    body.insert("for".into(), fields.get("for").into());
    body.insert("reason".into(), fields.get("reason").trim().into());
    let asked = path(&["shaping", "suspensions"], &[]);
    let suspended: Result<Value, Problem> = page.api.send(Method::POST, &asked, &Value::Object(body)).await;
    outcome(&page, suspended, Form::sent(&fields), "suspended").await
}

/// The id has a colon and may have slashes of no path: it comes as a field.
pub(super) async fn resume(page: OperatorPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let asked = path(&["shaping", "suspensions", fields.get("id")], &[]);
    let resumed: Result<Value, Problem> = page.api.act(Method::DELETE, &asked).await;
    // One that is over already is what was wanted.
    let resumed = match resumed {
        Err(problem) if problem.status == StatusCode::NOT_FOUND => Ok(Value::Null),
        other => other,
    };
    outcome(&page, resumed, Form::default(), "resumed").await
}

pub(super) async fn reset(
    page: OperatorPage,
    Path(provider): Path<String>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let asked = path(&["shaping", "reset", &provider], &[]);
    let reset: Result<Value, Problem> = page.api.act(Method::POST, &asked).await;
    outcome(&page, reset, Form::default(), "rates_reset").await
}

async fn outcome(
    page: &OperatorPage,
    done: Result<Value, Problem>,
    form: Form,
    key: &str,
) -> Result<Response, Problem> {
    match done {
        Ok(_) => Ok(see(&page.url(&["shaping"], &[("done", key)]))),
        Err(problem) if problem.is_about_input() => {
            show(page, form.with_problem(&problem, &FIELDS), problem.status, None).await
        }
        Err(problem) => Err(problem),
    }
}
