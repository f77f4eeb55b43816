//! One key: its name, another token, its end.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{IssuedToken, Key, token_page};
use crate::api::{Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{self, DoneQuery, Frame, Section, see};
use crate::state::TenantPage;

/// Seconds for which the token before counts, with the names of the texts.
const OVERLAPS: [(&str, &str); 5] =
    [("86400", "day"), ("0", "none"), ("3600", "hour"), ("604800", "week"), ("2592000", "month")];

#[derive(Template)]
#[template(path = "keys/show.html")]
struct KeyPage {
    f: Frame,
    key: Key,
    overlaps: [(&'static str, &'static str); 5],
    values: Form,
    rotation: Form,
}

impl KeyPage {
    fn new(tenant: &TenantPage, key: Key) -> Self {
        let f = tenant.frame(Section::KEYS, &key.name);
        let overlaps = OVERLAPS.map(|(seconds, name)| (seconds, tenant.l.term("period", name)));
        let values = Form::of([("name", key.name.as_str())]);
        Self { f, key, overlaps, values, rotation: Form::default() }
    }
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Query(query): Query<DoneQuery>,
) -> Result<Response, Problem> {
    let key: Key = tenant.api.get(&path(&["api-keys", &id], &[])).await?;
    let mut page = KeyPage::new(&tenant, key);
    page.f = page.f.with_notice(query.done.as_deref());
    frame::page(&page)
}

pub(super) async fn rename(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let place = path(&["api-keys", &id], &[]);
    let name = json!({ "name": fields.get("name").trim() });
    match tenant.api.send::<Value>(Method::PATCH, &place, &name).await {
        Ok(_) => Ok(see(&tenant.url(&["keys", &id], &[("done", "saved")]))),
        Err(problem) if problem.is_about_input() => {
            let page = KeyPage::new(&tenant, tenant.api.get(&place).await?);
            let values = Form::sent(&fields).with_problem(&problem, &[]);
            frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &KeyPage { values, ..page })
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn rotate(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let key: Key = tenant.api.get(&path(&["api-keys", &id], &[])).await?;
    let mut body = Map::new();
    if let Some(given) = fields.given("overlap_seconds") {
        let Ok(seconds) = given.parse::<u64>() else {
            let rotation = Form::sent(&fields).with_mistake("overlap_seconds", "is no number of seconds");
            let page = KeyPage { rotation, ..KeyPage::new(&tenant, key) };
            return frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
        };
        body.insert("overlap_seconds".into(), seconds.into());
    }
    let place = path(&["api-keys", &id, "rotate"], &[]);
    match tenant.api.send::<IssuedToken>(Method::POST, &place, &body).await {
        Ok(issued) => token_page(&tenant, issued, key.name, true),
        Err(problem) if problem.is_about_input() => {
            let page = KeyPage::new(&tenant, key);
            let rotation = Form::sent(&fields).with_problem(&problem, &[]);
            frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &KeyPage { rotation, ..page })
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn delete(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let _: Value = tenant.api.act(Method::DELETE, &path(&["api-keys", &id], &[])).await?;
    Ok(see(&tenant.url(&["keys"], &[("done", "key_deleted")])))
}
