//! What a contact gets of the topics.

use askama::Template;
use axum::extract::Query;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::TopicsQuery;
use crate::api::{List, Problem, path};
use crate::forms::{Fields, Form, Posted};
use crate::frame::{self, Frame, Section, see};
use crate::state::TenantPage;

/// Topics on a page.
const ROWS: &str = "50";

/// A topic, and whether the contact gets it.
#[derive(Debug, Clone, Deserialize)]
struct Choice {
    id: String,
    name: String,
    #[serde(default)]
    description: String,
    subscription: String,
}

impl Choice {
    fn is_in(&self) -> bool {
        self.subscription == "opt_in"
    }
}

#[derive(Template)]
#[template(path = "topics/contact.html")]
struct ContactPage {
    f: Frame,
    v: Form,
    /// None: no address was looked for yet.
    rows: Option<Vec<Choice>>,
    next: Option<String>,
}

pub(super) async fn page(tenant: TenantPage, Query(query): Query<TopicsQuery>) -> Result<Response, Problem> {
    let form = Form::of([("email", query.email.trim())]);
    let f = tenant.frame(Section::TOPICS, tenant.l.say("topics.contact"));
    let f = f.with_notice(query.done.as_deref());
    shown(&tenant, &query, f, form).await
}

async fn shown(tenant: &TenantPage, query: &TopicsQuery, f: Frame, v: Form) -> Result<Response, Problem> {
    let email = query.email.trim();
    if email.is_empty() {
        return frame::page(&ContactPage { f, v, rows: None, next: None });
    }
    let asked = [("limit", ROWS), ("after", query.after.as_str())];
    let found: Result<List<Choice>, Problem> =
        tenant.api.get(&path(&["contacts", email, "topics"], &asked)).await;
    match found {
        Ok(found) => {
            let next = found.next.filter(|_| found.has_more);
            let next =
                next.map(|next| tenant.url(&["topics", "contact"], &[("email", email), ("after", &next)]));
            let status = if v.is_wrong() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
            frame::page_with(status, &ContactPage { f, v, rows: Some(found.data), next })
        }
        Err(problem) if problem.is_about_input() => {
            let v = v.with_problem(&problem, &[]);
            let page = ContactPage { f, v, rows: None, next: None };
            frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn choose(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let email = fields.get("email").trim();
    let changed = changed(&fields);
    if changed.is_empty() {
        let parameters = [("email", email), ("done", "choices_unchanged")];
        return Ok(see(&tenant.url(&["topics", "contact"], &parameters)));
    }
    let place = path(&["contacts", email, "topics"], &[]);
    let chosen: Result<Value, Problem> = tenant.api.send(Method::PATCH, &place, &changed).await;
    match chosen {
        Ok(_) => {
            let parameters = [("email", email), ("done", "choices_saved")];
            Ok(see(&tenant.url(&["topics", "contact"], &parameters)))
        }
        Err(problem) if problem.is_about_input() => {
            let f = tenant.frame(Section::TOPICS, tenant.l.say("topics.contact"));
            let form = Form::of([("email", email)]).with_problem(&problem, &[]);
            let query = TopicsQuery { email: email.to_owned(), ..TopicsQuery::default() };
            shown(&tenant, &query, f, form).await
        }
        Err(problem) => Err(problem),
    }
}

/// The topics whose choice is another one than the page showed: others stay as they are, and are no
/// choice of the contact.
fn changed(fields: &Fields) -> Vec<Value> {
    let pairs = fields.all("topic").zip(fields.all("was"));
    let changes = pairs.filter_map(|(topic, was)| {
        let is = if fields.all("in").any(|chosen| chosen == topic) { "opt_in" } else { "opt_out" };
        (is != was).then(|| json!({"id": topic, "subscription": is}))
    });
    changes.collect()
}
