//! One domain: what to publish, and its settings.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api::{Problem, path};
use crate::forms::{Fields, Form, Posted};
use crate::frame::{self, DoneQuery, Frame, Section, see};
use crate::state::TenantPage;

#[derive(Debug, Deserialize)]
struct Domain {
    name: String,
    status: String,
    created_at: Option<String>,
    source: String,
    open_tracking: bool,
    click_tracking: bool,
    #[serde(default)]
    tracking_subdomain: Option<String>,
    tls: String,
    #[serde(default)]
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
struct Record {
    record: String,
    name: String,
    r#type: String,
    value: String,
    status: String,
    #[serde(default)]
    found: Vec<String>,
    #[serde(default)]
    detail: Option<String>,
}

impl Domain {
    fn form(&self) -> Form {
        let subdomain = self.tracking_subdomain.as_deref().unwrap_or_default();
        let always = [("tracking_subdomain", subdomain), ("tls", self.tls.as_str())];
        let ticked = [("open_tracking", self.open_tracking), ("click_tracking", self.click_tracking)];
        let ticked = ticked.into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| (name, "on"));
        Form::of(always.into_iter().chain(ticked))
    }

    /// The settings of a form that differ. A domain that tracks nothing is not given a tracking host
    /// by a change of something else.
    fn change(&self, fields: &Fields) -> Map<String, Value> {
        let (opens, clicks) = (fields.has("open_tracking"), fields.has("click_tracking"));
        let subdomain = fields.get("tracking_subdomain").trim();
        let mut change = Map::new();
        if opens != self.open_tracking {
            change.insert("open_tracking".into(), opens.into());
        }
        if clicks != self.click_tracking {
            change.insert("click_tracking".into(), clicks.into());
        }
        let is_new = subdomain != self.tracking_subdomain.as_deref().unwrap_or_default();
        // Empty is the default of a domain that begins to track, and a mistake of one that does.
        if is_new && (!subdomain.is_empty() || self.tracking_subdomain.is_some()) {
            change.insert("tracking_subdomain".into(), subdomain.into());
        }
        if fields.get("tls") != self.tls {
            change.insert("tls".into(), fields.get("tls").into());
        }
        change
    }

    /// Returns true if it is changed here, and not in the configuration file.
    fn is_ours(&self) -> bool {
        self.source == "api"
    }
}

#[derive(Template)]
#[template(path = "domains/show.html")]
struct DomainPage {
    f: Frame,
    d: Domain,
    /// DNS was asked for this page.
    is_checked: bool,
    tls: [(&'static str, &'static str); 2],
    values: Form,
}

impl DomainPage {
    fn new(tenant: &TenantPage, d: Domain, values: Form) -> Self {
        let f = tenant.frame(Section::DOMAINS, &d.name);
        let tls = ["opportunistic", "enforced"].map(|name| (name, tenant.l.term("domain_tls", name)));
        Self { f, d, is_checked: false, tls, values }
    }
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
    Query(query): Query<DoneQuery>,
) -> Result<Response, Problem> {
    let d: Domain = tenant.api.get(&path(&["domains", &name], &[])).await?;
    let values = d.form();
    let mut page = DomainPage::new(&tenant, d, values);
    page.f = page.f.with_notice(query.done.as_deref());
    frame::page(&page)
}

/// Asks DNS, and shows what it has.
pub(super) async fn verify(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let d: Domain = tenant.api.act(Method::POST, &path(&["domains", &name, "verify"], &[])).await?;
    let values = d.form();
    frame::page(&DomainPage { is_checked: true, ..DomainPage::new(&tenant, d, values) })
}

pub(super) async fn change(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let place = path(&["domains", &name], &[]);
    let d: Domain = tenant.api.get(&place).await?;
    let change = d.change(&fields);
    let changed = match change.is_empty() {
        true => Ok(Value::Null),
        false => tenant.api.send::<Value>(Method::PATCH, &place, &change).await,
    };
    match changed {
        Ok(_) => Ok(see(&tenant.url(&["domains", &name], &[("done", "saved")]))),
        Err(problem) if problem.is_about_input() => {
            let values = Form::sent(&fields).with_problem(&problem, &[]);
            let page = DomainPage::new(&tenant, d, values);
            frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn remove(
    tenant: TenantPage,
    Path((_, name)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let _: Value = tenant.api.act(Method::DELETE, &path(&["domains", &name], &[])).await?;
    Ok(see(&tenant.url(&["domains"], &[("done", "domain_removed")])))
}
