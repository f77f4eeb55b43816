//! What a template makes, in a frame of the editor.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::draft::Draft;
use super::excerpt::Excerpt;
use super::model::{Rendering, TemplateDetails};
use crate::api::{Problem, path};
use crate::forms::Posted;
use crate::frame::{self, BODY_POLICY, page_fields};
use crate::state::TenantPage;
use crate::texts::Language;

/// A page in the frame: the text, what is wrong, or what was sent.
#[derive(Template)]
#[template(path = "templates/framed.html")]
pub(super) struct FramedPage {
    l: Language,
    subject: String,
    text: Option<String>,
    mistakes: Vec<Mistake>,
    /// Id and address of the message that was sent.
    pub(super) sent: Option<(String, String)>,
}

/// What is wrong, and where.
struct Mistake {
    param: String,
    message: String,
    excerpt: Option<Excerpt>,
}

impl FramedPage {
    pub(super) fn new(l: Language) -> Self {
        Self { l, subject: String::new(), text: None, mistakes: Vec::new(), sent: None }
    }

    fn style(&self) -> &'static str {
        crate::assets::style_path()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ViewQuery {
    view: String,
}

/// What is typed, rendered.
pub(super) async fn preview(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let draft = Draft::sent(fields);
    let view = draft.fields.get("view").to_owned();
    shown(&tenant, &draft, &view).await
}

/// A version, rendered with the fallbacks of its variables.
pub(super) async fn stored(
    tenant: TenantPage,
    Path((_, name, version)): Path<(String, String, String)>,
    Query(query): Query<ViewQuery>,
) -> Result<Response, Problem> {
    let found: TemplateDetails =
        tenant.api.get(&path(&["templates", &name, "versions", &version], &[])).await?;
    shown(&tenant, &Draft::stored(&found), &query.view).await
}

async fn shown(tenant: &TenantPage, draft: &Draft, view: &str) -> Result<Response, Problem> {
    match rendered(tenant, draft).await {
        Ok(Rendering { html: Some(html), .. }) if view != "text" => {
            Ok((page_fields(BODY_POLICY), Html(html)).into_response())
        }
        Ok(Rendering { subject, text, .. }) => {
            let page = FramedPage { subject, text: Some(text), ..FramedPage::new(tenant.l) };
            frame::framed(StatusCode::OK, &page)
        }
        Err(problem) if problem.is_about_input() => refused(tenant, draft, &problem),
        Err(problem) => Err(problem),
    }
}

/// Renders what is typed.
pub(super) async fn rendered(tenant: &TenantPage, draft: &Draft) -> Result<Rendering, Problem> {
    let body: Map<String, Value> = draft.render_body()?;
    tenant.api.send(Method::POST, "/render", &body).await
}

/// What is wrong, with the lines of the source.
pub(super) fn refused(tenant: &TenantPage, draft: &Draft, problem: &Problem) -> Result<Response, Problem> {
    let mut page = FramedPage::new(tenant.l);
    page.mistakes = problem
        .fields
        .iter()
        .map(|(param, message)| Mistake {
            param: param.clone(),
            message: message.clone(),
            excerpt: draft.excerpt(param, message),
        })
        .collect();
    if page.mistakes.is_empty() {
        let message = if problem.message.is_empty() { &problem.name } else { &problem.message };
        page.mistakes.push(Mistake { param: String::new(), message: message.clone(), excerpt: None });
    }
    frame::framed(problem.status, &page)
}
