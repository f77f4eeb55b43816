//! A new key.

use askama::Template;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{IssuedToken, scope_names, token_page};
use crate::api::{List, Problem, path};
use crate::choices::{Choice, checked};
use crate::forms::{Fields, Form, Posted};
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;
use crate::visitor::UserRole;

/// Domains to choose from.
const DOMAINS: &str = "100";

#[derive(Debug, Deserialize)]
struct Domain {
    name: String,
    status: String,
}

#[derive(Template)]
#[template(path = "keys/new.html")]
struct NewKeyPage {
    f: Frame,
    scopes: Vec<Choice>,
    domains: Vec<(String, String)>,
    values: Form,
}

pub(super) async fn page(tenant: TenantPage) -> Result<Response, Problem> {
    tenant.needs(UserRole::Developer)?;
    show(&tenant, &[], StatusCode::OK, Form::default()).await
}

async fn show(
    tenant: &TenantPage,
    chosen: &[String],
    status: StatusCode,
    values: Form,
) -> Result<Response, Problem> {
    let l = tenant.l;
    let found: List<Domain> = tenant.api.get(&path(&["domains"], &[("limit", DOMAINS)])).await?;
    let verified = found.data.into_iter().filter(|domain| domain.status == "verified");
    let any = (String::new(), l.say("keys.any_domain").to_owned());
    let domains = std::iter::once(any).chain(verified.map(|domain| (domain.name.clone(), domain.name)));
    let scope = |name: &str| {
        let is_checked = chosen.iter().any(|chosen| chosen == name);
        Choice { hint: l.term("scope", name).to_owned(), ..Choice::new(name, name, is_checked) }
    };
    let scopes = scope_names().iter().map(|name| scope(name)).collect();
    let f = tenant.frame(Section::KEYS, l.say("keys.new_title"));
    frame::page_with(status, &NewKeyPage { f, scopes, domains: domains.collect(), values })
}

pub(super) async fn create(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let issued = tenant.api.send::<IssuedToken>(Method::POST, "/api-keys", &new_key(&fields)).await;
    match issued {
        Ok(issued) => token_page(&tenant, issued, fields.get("name").trim().to_owned(), false),
        Err(problem) if problem.is_about_input() => {
            let values = Form::sent(&fields).with_problem(&problem, &[("scopes", "scopes")]);
            show(&tenant, &checked(&fields, "scopes"), StatusCode::UNPROCESSABLE_ENTITY, values).await
        }
        Err(problem) => Err(problem),
    }
}

/// What the API is asked for. A form without scopes asks for none, which it refuses: without the
/// field, a key would have all.
fn new_key(fields: &Fields) -> Map<String, Value> {
    let mut key = Map::new();
    key.insert("name".into(), fields.get("name").trim().into());
    key.insert("scopes".into(), checked(fields, "scopes").into());
    if let Some(domain) = fields.given("domain") {
        key.insert("domain".into(), domain.into());
    }
    // The end of a day in UTC. What is no day is the API's to refuse.
    if let Some(day) = fields.given("expires_at") {
        key.insert("expires_at".into(), format!("{day}T23:59:59Z").into());
    }
    key
}
