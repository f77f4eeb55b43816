//! The editor: a new template, and a new version of one that is there.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;

use super::diff::{self, FieldDiff};
use super::draft::{Draft, VariableRow};
use super::excerpt::Excerpt;
use super::model::{Made, TemplateDetails, TemplateRow, VersionRow};
use crate::api::{List, Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{self, DoneQuery, Frame, Section, see};
use crate::state::TenantPage;
use crate::visitor::UserRole;

/// Somebody saved a version while this one was written.
pub(super) struct NewerVersion {
    version: i64,
    created_at: String,
    /// The version that the writing began with.
    base: i64,
    /// What the others changed.
    changes: Vec<FieldDiff>,
}

#[derive(Template)]
#[template(path = "templates/edit.html")]
struct EditorPage {
    f: Frame,
    v: Form,
    rows: Vec<VariableRow>,
    excerpts: Vec<Excerpt>,
    /// None: it is new.
    template: Option<TemplateRow>,
    /// The newest version.
    version: i64,
    newer: Option<NewerVersion>,
}

impl EditorPage {
    fn new(tenant: &TenantPage, draft: &Draft, found: Option<TemplateDetails>) -> Self {
        let version = found.as_ref().map_or(0, |found| found.content.version);
        let template = found.map(|found| found.template);
        let title = template.as_ref().map_or(tenant.l.say("templates.new"), |template| &template.name);
        let f = tenant.frame(Section::TEMPLATES, title);
        let (v, rows) = (draft.form(None), draft.shown_rows());
        Self { f, v, rows, excerpts: Vec::new(), template, version, newer: None }
    }

    /// The page again, with what is wrong.
    fn refused(mut self, draft: &Draft, problem: &Problem) -> Result<Response, Problem> {
        self.v = draft.form(Some(problem));
        self.excerpts = draft.excerpts(problem);
        frame::page_with(problem.status, &self)
    }

    /// The place of a template's pages.
    fn url(&self, last: &[&str]) -> String {
        let name = self.template.as_ref().map_or("new", |template| &template.id);
        let mut segments = vec!["templates", name];
        segments.extend(last);
        self.f.url(&segments)
    }

    fn formats(&self) -> [(&'static str, &'static str); 3] {
        let l = self.f.l;
        [
            ("mjml", l.say("templates.format_mjml")),
            ("html", l.say("templates.format_html")),
            ("text", l.say("templates.format_text")),
        ]
    }

    fn excerpts_of<'e>(&'e self, field: &'e str) -> impl Iterator<Item = &'e Excerpt> {
        self.excerpts.iter().filter(move |excerpt| excerpt.field == field)
    }

    fn publish_url(&self) -> String {
        format!("{}?version={}", self.url(&["publish"]), self.version)
    }

    fn is_published(&self) -> bool {
        let template = self.template.as_ref();
        template.is_none_or(|template| template.published_version == Some(self.version))
    }
}

/// A new template.
pub(super) async fn fresh(tenant: TenantPage) -> Result<Response, Problem> {
    tenant.needs(UserRole::Marketer)?;
    let draft = Draft::fresh();
    frame::page(&EditorPage::new(&tenant, &draft, None))
}

pub(super) async fn create(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let draft = Draft::sent(fields);
    match stored(&tenant, Method::POST, &["templates"], &draft).await {
        Ok(made) => Ok(see(&tenant.url(&["templates", &made.id], &[("done", "template_created")]))),
        Err(problem) if problem.is_about_input() => {
            EditorPage::new(&tenant, &draft, None).refused(&draft, &problem)
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
    Query(query): Query<DoneQuery>,
) -> Result<Response, Problem> {
    let found = newest(&tenant, &name).await?;
    let draft = Draft::stored(&found);
    let mut page = EditorPage::new(&tenant, &draft, Some(found));
    if !page.f.may_write() {
        let version = page.version.to_string();
        return Ok(see(&page.url(&["versions", &version])));
    }
    page.f = page.f.with_notice(query.done.as_deref());
    frame::page(&page)
}

pub(super) async fn save(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let draft = Draft::sent(fields);
    let problem = match stored(&tenant, Method::PATCH, &["templates", &name], &draft).await {
        Ok(made) => {
            return Ok(see(&tenant.url(&["templates", &made.id], &[("done", "template_saved")])));
        }
        Err(problem) if problem.is_about_input() => problem,
        Err(problem) => return Err(problem),
    };
    let found = newest(&tenant, &name).await?;
    let base = draft.fields.get("base_version").parse().unwrap_or_default();
    if problem.status == StatusCode::CONFLICT && found.content.version != base {
        return conflict(&tenant, draft, found, base).await;
    }
    EditorPage::new(&tenant, &draft, Some(found)).refused(&draft, &problem)
}

/// The page of a template with why something else was not done.
pub(super) async fn refused(tenant: &TenantPage, name: &str, problem: &Problem) -> Result<Response, Problem> {
    let found = newest(tenant, name).await?;
    let draft = Draft::stored(&found);
    EditorPage::new(tenant, &draft, Some(found)).refused(&draft, problem)
}

/// What was typed, with what others saved meanwhile. Sending it again saves on top of that.
async fn conflict(
    tenant: &TenantPage,
    draft: Draft,
    found: TemplateDetails,
    base: i64,
) -> Result<Response, Problem> {
    let id = found.template.id.clone();
    let old = base.to_string();
    let old: Option<TemplateDetails> =
        tenant.api.get(&path(&["templates", &id, "versions", &old], &[])).await.ok();
    let versions: List<VersionRow> = tenant.api.get(&path(&["templates", &id, "versions"], &[])).await?;
    let version = found.content.version;
    let of_newest = versions.data.into_iter().find(|row| row.version == version);
    let newer = NewerVersion {
        version,
        created_at: of_newest.map_or_else(|| found.template.updated_at.clone(), |row| row.created_at),
        base,
        changes: old.map(|old| diff::between(&old.content, &found.content)).unwrap_or_default(),
    };
    let draft = draft.based_on(version);
    let mut page = EditorPage::new(tenant, &draft, Some(found));
    page.newer = Some(newer);
    frame::page_with(StatusCode::CONFLICT, &page)
}

async fn stored(
    tenant: &TenantPage,
    method: Method,
    segments: &[&str],
    draft: &Draft,
) -> Result<Made, Problem> {
    let body = draft.body()?;
    tenant.api.send(method, &path(segments, &[]), &body).await
}

async fn newest(tenant: &TenantPage, name: &str) -> Result<TemplateDetails, Problem> {
    tenant.api.get(&path(&["templates", name], &[])).await
}
