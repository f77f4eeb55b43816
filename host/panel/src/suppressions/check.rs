//! What can be said of an address before anything is sent to it.

use askama::Template;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::model::Entry;
use crate::api::{List, Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;

/// What the API says of an address.
#[derive(Debug, Deserialize)]
struct Validation {
    email: String,
    result: String,
    #[serde(default)]
    reasons: Vec<String>,
    #[serde(default)]
    explanation: String,
    #[serde(default)]
    suggestion: Option<String>,
    #[serde(default)]
    domain: Option<ValidatedDomain>,
}

#[derive(Debug, Deserialize)]
struct ValidatedDomain {
    name: String,
    status: String,
    #[serde(default)]
    mx: Vec<String>,
}

impl Validation {
    fn tone(&self) -> &'static str {
        match self.result.as_str() {
            "deliverable" => "good",
            "undeliverable" => "bad",
            "risky" => "warning",
            _ => "quiet",
        }
    }
}

#[derive(Template)]
#[template(path = "suppressions/check.html")]
struct CheckPage {
    f: Frame,
    v: Form,
    found: Option<(Validation, Vec<Entry>)>,
}

fn check_page(tenant: &TenantPage, v: Form, found: Option<(Validation, Vec<Entry>)>) -> CheckPage {
    let f = tenant.frame(Section::SUPPRESSIONS, tenant.l.say("suppressions.check"));
    CheckPage { f, v, found }
}

pub(super) async fn page(tenant: TenantPage) -> Result<Response, Problem> {
    frame::page(&check_page(&tenant, Form::default(), None))
}

pub(super) async fn check(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let email = fields.get("email").trim();
    let found: Result<Validation, Problem> =
        tenant.api.send(Method::POST, "/validate", &json!({"email": email})).await;
    match found {
        Ok(found) => {
            let entries: Result<List<Entry>, Problem> =
                tenant.api.get(&path(&["suppressions"], &[("email", email), ("limit", "50")])).await;
            // What is no address has no entries.
            let entries = match entries {
                Ok(entries) => entries.data,
                Err(problem) if problem.is_about_input() => Vec::new(),
                Err(problem) => return Err(problem),
            };
            frame::page(&check_page(&tenant, Form::sent(&fields), Some((found, entries))))
        }
        Err(problem) if problem.is_about_input() => {
            let form = Form::sent(&fields).with_problem(&problem, &[]);
            frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &check_page(&tenant, form, None))
        }
        Err(problem) => Err(problem),
    }
}
