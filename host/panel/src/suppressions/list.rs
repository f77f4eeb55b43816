//! The list of entries, with a form that adds one.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::model::Entry;
use crate::api::{List, Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{self, Frame, Section, see};
use crate::state::TenantPage;

/// Entries on a page.
const ROWS: &str = "50";
/// Reasons to choose from.
const REASONS: [&str; 4] = ["bounce", "complaint", "unsubscribe", "manual"];
/// Streams to choose from.
const STREAMS: [&str; 3] = ["all", "transactional", "marketing"];

/// What is looked for. Days are those of UTC.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct EntriesQuery {
    email: String,
    domain: String,
    reason: String,
    stream: String,
    since: String,
    until: String,
    after: String,
    done: Option<String>,
}

impl EntriesQuery {
    fn parameters(&self) -> [(&'static str, &str); 6] {
        [
            ("email", self.email.trim()),
            ("domain", self.domain.trim()),
            ("reason", &self.reason),
            ("stream", self.stream.trim()),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    fn is_search(&self) -> bool {
        self.parameters().iter().any(|(_, value)| !value.is_empty())
    }

    /// The path of the list of the API.
    fn api_path(&self) -> String {
        let (since, until) = (midnight(&self.since), midnight(&self.until));
        let mut asked = self.parameters().to_vec();
        asked.retain(|(name, _)| !["since", "until"].contains(name));
        asked.extend([("since", since.as_str()), ("until", &until), ("limit", ROWS), ("after", &self.after)]);
        path(&["suppressions"], &asked)
    }
}

/// The beginning of a day as RFC 3339.
fn midnight(day: &str) -> String {
    if day.is_empty() { String::new() } else { format!("{day}T00:00:00Z") }
}

#[derive(Template)]
#[template(path = "suppressions/list.html")]
struct ListPage {
    f: Frame,
    v: Form,
    query: EntriesQuery,
    rows: Vec<Entry>,
    next: Option<String>,
    newest: String,
    mistake: Option<String>,
}

impl ListPage {
    fn reasons(&self) -> [(&'static str, &'static str); 4] {
        REASONS.map(|reason| (reason, self.f.l.term("suppression_reason", reason)))
    }

    fn streams(&self) -> [(&'static str, &'static str); 3] {
        STREAMS.map(|stream| (stream, self.f.l.term("stream", stream)))
    }
}

pub(super) async fn page(tenant: TenantPage, Query(query): Query<EntriesQuery>) -> Result<Response, Problem> {
    let page = shown(&tenant, query, Form::of([("stream", "all"), ("reason", "manual")])).await?;
    frame::page(&page)
}

async fn shown(tenant: &TenantPage, query: EntriesQuery, v: Form) -> Result<ListPage, Problem> {
    let found: Result<List<Entry>, Problem> = tenant.api.get(&query.api_path()).await;
    let (found, mistake) = match found {
        Ok(found) => (found, None),
        Err(problem) if problem.is_about_input() => (List::none(), Some(problem.message)),
        Err(problem) => return Err(problem),
    };
    let next = found.next.filter(|_| found.has_more).map(|next| {
        let mut parameters = query.parameters().to_vec();
        parameters.push(("after", &next));
        tenant.url(&["suppressions"], &parameters)
    });
    let newest = tenant.url(&["suppressions"], &query.parameters());
    let f = tenant.frame(Section::SUPPRESSIONS, tenant.l.say("suppressions.title"));
    let f = f.with_notice(query.done.as_deref());
    Ok(ListPage { f, v, query, rows: found.data, next, newest, mistake })
}

pub(super) async fn add(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let mut entry = json!({"email": fields.get("email").trim()});
    for name in ["stream", "reason", "note"] {
        if let Some(value) = fields.given(name) {
            entry[name] = value.into();
        }
    }
    let added: Result<Entry, Problem> = tenant.api.send(Method::POST, "/suppressions", &entry).await;
    match added {
        Ok(added) => {
            let parameters = [("email", added.email.as_str()), ("done", "suppression_added")];
            Ok(see(&tenant.url(&["suppressions"], &parameters)))
        }
        Err(problem) if problem.is_about_input() => {
            let form = Form::sent(&fields).with_problem(&problem, &[]);
            let page = shown(&tenant, EntriesQuery::default(), form).await?;
            frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn remove(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let removed: Result<Value, Problem> =
        tenant.api.act(Method::DELETE, &path(&["suppressions", &id], &[])).await;
    let done = match removed {
        Ok(_) => "suppression_removed",
        Err(problem) if problem.status == StatusCode::NOT_FOUND => "suppression_gone",
        Err(problem) => return Err(problem),
    };
    Ok(see(&tenant.url(&["suppressions"], &[("done", done)])))
}
