//! Entries from a spreadsheet, and to one.

use askama::Template;
use axum::extract::Query;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::model::Counted;
use crate::api::Problem;
use crate::forms::{Form, Posted};
use crate::frame::{self, Frame, Section, see};
use crate::state::TenantPage;
use crate::visitor::UserRole;

#[derive(Template)]
#[template(path = "suppressions/import.html")]
struct ImportPage {
    f: Frame,
    v: Form,
    /// How many entries are new.
    added: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ImportQuery {
    added: Option<u64>,
}

fn import_page(tenant: &TenantPage, v: Form, added: Option<u64>) -> ImportPage {
    let f = tenant.frame(Section::SUPPRESSIONS, tenant.l.say("suppressions.import"));
    ImportPage { f, v, added }
}

pub(super) async fn page(tenant: TenantPage, Query(query): Query<ImportQuery>) -> Result<Response, Problem> {
    tenant.needs(UserRole::Marketer)?;
    frame::page(&import_page(&tenant, Form::default(), query.added))
}

pub(super) async fn import(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let csv = with_header(fields.get("csv"));
    let answer = tenant.api.send_octets(Method::POST, "/suppressions/import", "text/csv", csv.into()).await;
    match answer {
        Ok(answer) => {
            let body = axum::body::to_bytes(answer.into_body(), 4_096).await;
            let body = body.map_err(|error| Problem::internal(&error))?;
            let counted: Counted =
                serde_json::from_slice(&body).map_err(|error| Problem::internal(&error))?;
            let added = counted.count.to_string();
            Ok(see(&tenant.url(&["suppressions", "import"], &[("added", &added)])))
        }
        Err(problem) if problem.is_about_input() => {
            let form = Form::sent(&fields);
            let form = problem.fields.iter().fold(form, |form, (place, message)| {
                form.with_mistake("csv", &format!("{place}: {message}"))
            });
            let form = if form.is_wrong() { form } else { form.with_mistake("csv", &problem.message) };
            frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &import_page(&tenant, form, None))
        }
        Err(problem) => Err(problem),
    }
}

/// A list of addresses is a column without its name. With the name before it, line 2 of a mistake is
/// the first address.
fn with_header(text: &str) -> String {
    let text = text.trim_start();
    let first = text.lines().next().unwrap_or_default();
    match first.contains('@') {
        true => format!("email\n{text}"),
        false => text.to_owned(),
    }
}

pub(super) async fn export(tenant: TenantPage) -> Result<Response, Problem> {
    let answer = tenant.api.download("/suppressions/export").await?;
    let fields = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"suppressions.csv\""),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((fields, answer.into_body()).into_response())
}
