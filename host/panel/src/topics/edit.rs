//! The list of topics, a new one, and one that is there.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::{Topic, TopicsQuery};
use crate::api::{List, Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{self, Frame, Section, see};
use crate::state::TenantPage;
use crate::visitor::UserRole;

/// Topics on a page.
const ROWS: &str = "50";

#[derive(Template)]
#[template(path = "topics/list.html")]
struct ListPage {
    f: Frame,
    rows: Vec<Topic>,
    next: Option<String>,
}

impl ListPage {
    /// The suppressions of those who left it.
    fn left_url(&self, topic: &Topic) -> String {
        let stream = format!("topic:{}", topic.name);
        format!("{}{}", self.f.url(&["suppressions"]), path(&[], &[("stream", &stream)]))
    }
}

#[derive(Template)]
#[template(path = "topics/edit.html")]
struct TopicPage {
    f: Frame,
    v: Form,
    /// None: it is new.
    topic: Option<Topic>,
}

impl TopicPage {
    fn new(tenant: &TenantPage, v: Form, topic: Option<Topic>) -> Self {
        let title = topic.as_ref().map_or(tenant.l.say("topics.new"), |topic| &topic.name);
        Self { f: tenant.frame(Section::TOPICS, title), v, topic }
    }

    fn url(&self) -> String {
        self.f.url(&["topics", self.topic.as_ref().map_or("new", |topic| &topic.id)])
    }

    fn defaults(&self) -> [(&'static str, &'static str); 2] {
        ["opt_in", "opt_out"].map(|name| (name, self.f.l.term("topic_default", name)))
    }

    fn visibilities(&self) -> [(&'static str, &'static str); 2] {
        ["private", "public"].map(|name| (name, self.f.l.term("topic_visibility", name)))
    }
}

pub(super) async fn list(tenant: TenantPage, Query(query): Query<TopicsQuery>) -> Result<Response, Problem> {
    let asked = [("limit", ROWS), ("after", query.after.as_str())];
    let found: List<Topic> = tenant.api.get(&path(&["topics"], &asked)).await?;
    let next = found.next.filter(|_| found.has_more);
    let next = next.map(|next| tenant.url(&["topics"], &[("after", &next)]));
    let f = tenant.frame(Section::TOPICS, tenant.l.say("topics.title"));
    frame::page(&ListPage { f: f.with_notice(query.done.as_deref()), rows: found.data, next })
}

pub(super) async fn fresh(tenant: TenantPage) -> Result<Response, Problem> {
    tenant.needs(UserRole::Marketer)?;
    let form = Form::of([("default_subscription", "opt_in"), ("visibility", "private")]);
    frame::page(&TopicPage::new(&tenant, form, None))
}

pub(super) async fn create(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let topic = json!({
        "name": fields.get("name").trim(),
        "default_subscription": fields.get("default_subscription"),
        "description": fields.get("description").trim(),
        "visibility": fields.get("visibility"),
    });
    let made: Result<Value, Problem> = tenant.api.send(Method::POST, "/topics", &topic).await;
    match made {
        Ok(_) => Ok(see(&tenant.url(&["topics"], &[("done", "topic_created")]))),
        Err(problem) if problem.is_about_input() => {
            let form = Form::sent(&fields).with_problem(&problem, &[]);
            frame::page_with(problem.status, &TopicPage::new(&tenant, form, None))
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let topic: Topic = tenant.api.get(&path(&["topics", &id], &[])).await?;
    let values = [("description", topic.description.as_str()), ("visibility", &topic.visibility)];
    let form = Form::of(values);
    frame::page(&TopicPage::new(&tenant, form, Some(topic)))
}

pub(super) async fn save(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let place = path(&["topics", &id], &[]);
    let change = json!({
        "description": fields.get("description").trim(),
        "visibility": fields.get("visibility"),
    });
    let saved: Result<Value, Problem> = tenant.api.send(Method::PATCH, &place, &change).await;
    match saved {
        Ok(_) => Ok(see(&tenant.url(&["topics"], &[("done", "topic_saved")]))),
        Err(problem) if problem.is_about_input() => {
            let topic: Topic = tenant.api.get(&place).await?;
            let form = Form::sent(&fields).with_problem(&problem, &[]);
            let page = TopicPage::new(&tenant, form, Some(topic));
            frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn delete(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let _: Value = tenant.api.act(Method::DELETE, &path(&["topics", &id], &[])).await?;
    Ok(see(&tenant.url(&["topics"], &[("done", "topic_deleted")])))
}
