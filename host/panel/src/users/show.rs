//! One user.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::list::LinkPage;
use super::{UserRow, roles};
use crate::api::{List, Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{self, DoneQuery, Frame, Section, page_with, see};
use crate::state::TenantPage;

/// A session of the user.
#[derive(Debug, Deserialize)]
struct SessionRow {
    id: String,
    last_seen_at: String,
    expires_at: String,
    client: Option<String>,
    user_agent: String,
}

#[derive(Template)]
#[template(path = "users/show.html")]
struct UserPage {
    f: Frame,
    user: UserRow,
    sessions: Vec<SessionRow>,
    form: Form,
    roles: Vec<(&'static str, String)>,
}

type UserPath = Path<(String, String)>;

async fn find(tenant: &TenantPage, id: &str) -> Result<UserRow, Problem> {
    tenant.api.get(&path(&["users", id], &[])).await
}

async fn show(
    tenant: &TenantPage,
    user: UserRow,
    form: Form,
    (status, done): (StatusCode, Option<&str>),
) -> Result<Response, Problem> {
    let sessions: List<SessionRow> = tenant.api.get(&path(&["users", &user.id, "sessions"], &[])).await?;
    let f = tenant.frame(Section::USERS, &user.email).with_notice(done);
    page_with(status, &UserPage { f, user, sessions: sessions.data, form, roles: roles(&tenant.l) })
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, id)): UserPath,
    Query(query): Query<DoneQuery>,
) -> Result<Response, Problem> {
    let user = find(&tenant, &id).await?;
    let form = Form::of([("name", user.name.as_str()), ("role", user.role.as_str())]);
    show(&tenant, user, form, (StatusCode::OK, query.done.as_deref())).await
}

/// Changes name and role, or one of the switches that a button names.
pub(super) async fn change(
    tenant: TenantPage,
    Path((_, id)): UserPath,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    let body = match fields.get("act") {
        "disable" => json!({"disabled": true}),
        "enable" => json!({"disabled": false}),
        "remove_authenticator" => json!({"remove_authenticator": true}),
        _ => json!({"name": fields.get("name").trim(), "role": fields.get("role")}),
    };
    let changed: Result<Value, Problem> =
        tenant.api.send(Method::PATCH, &path(&["users", &id], &[]), &body).await;
    match changed {
        Ok(_) => Ok(see(&tenant.url(&["users", &id], &[("done", "saved")]))),
        Err(problem) if problem.is_about_input() => {
            let user = find(&tenant, &id).await?;
            let form = Form::of([("name", user.name.as_str()), ("role", user.role.as_str())]);
            let form = if fields.has("name") { Form::sent(&fields) } else { form };
            show(&tenant, user, form.with_problem(&problem, &[]), (problem.status, None)).await
        }
        Err(problem) => Err(problem),
    }
}

/// Makes a link to a new password.
pub(super) async fn link(
    tenant: TenantPage,
    Path((_, id)): UserPath,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let user = find(&tenant, &id).await?;
    let link = tenant.api.act(Method::POST, &path(&["users", &id, "reset"], &[])).await?;
    let f = tenant.frame(Section::USERS, tenant.l.say("users.link_made"));
    frame::page(&LinkPage { f, email: user.email, link })
}

pub(super) async fn delete(
    tenant: TenantPage,
    Path((_, id)): UserPath,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let deleted: Result<Value, Problem> = tenant.api.act(Method::DELETE, &path(&["users", &id], &[])).await;
    match deleted {
        Ok(_) => Ok(see(&tenant.url(&["users"], &[("done", "user_deleted")]))),
        Err(problem) if problem.is_about_input() => {
            let user = find(&tenant, &id).await?;
            let form = Form::of([("name", user.name.as_str()), ("role", user.role.as_str())]);
            show(&tenant, user, form.with_problem(&problem, &[]), (problem.status, None)).await
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn end_session(
    tenant: TenantPage,
    Path((_, id, session)): Path<(String, String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let _: Value = tenant.api.act(Method::DELETE, &path(&["users", &id, "sessions", &session], &[])).await?;
    Ok(see(&tenant.url(&["users", &id], &[("done", "sessions")])))
}
