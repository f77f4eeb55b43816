//! The list of users, and the form that invites one.

use askama::Template;
use axum::extract::Query;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::{UserLink, UserRow, roles};
use crate::api::{List, Problem, path};
use crate::forms::{Form, Posted};
use crate::frame::{self, Frame, Section, page_with};
use crate::state::TenantPage;

/// Users on a page.
const ROWS: &str = "50";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UsersQuery {
    after: String,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "users/list.html")]
struct UsersPage {
    f: Frame,
    rows: Vec<UserRow>,
    next: Option<String>,
    is_first: bool,
    form: Form,
    roles: Vec<(&'static str, String)>,
}

/// The link of an invitation or for a new password.
#[derive(Template)]
#[template(path = "users/link.html")]
pub(super) struct LinkPage {
    pub(super) f: Frame,
    pub(super) email: String,
    pub(super) link: UserLink,
}

pub(super) async fn page(tenant: TenantPage, Query(query): Query<UsersQuery>) -> Result<Response, Problem> {
    show(&tenant, &query, Form::of([("role", "viewer")]), StatusCode::OK).await
}

async fn show(
    tenant: &TenantPage,
    query: &UsersQuery,
    form: Form,
    status: StatusCode,
) -> Result<Response, Problem> {
    let asked = path(&["users"], &[("limit", ROWS), ("after", &query.after)]);
    let found: List<UserRow> = tenant.api.get(&asked).await?;
    let next = found.cursor(|user| &user.id).map(|after| tenant.url(&["users"], &[("after", &after)]));
    let f = tenant.frame(Section::USERS, tenant.l.say("users.title")).with_notice(query.done.as_deref());
    let (rows, is_first) = (found.data, query.after.is_empty());
    page_with(status, &UsersPage { f, rows, next, is_first, form, roles: roles(&tenant.l) })
}

/// Invites somebody. The page of the answer has the link, which is shown this once.
pub(super) async fn invite(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let email = fields.get("email").trim();
    let body = json!({"email": email, "name": fields.get("name").trim(), "role": fields.get("role")});
    match tenant.api.send(Method::POST, &path(&["users"], &[]), &body).await {
        Ok(link) => {
            let f = tenant.frame(Section::USERS, tenant.l.say("users.invited"));
            frame::page(&LinkPage { f, email: email.to_owned(), link })
        }
        Err(problem) if problem.is_about_input() => {
            let form = Form::sent(&fields).with_problem(&problem, &[]);
            show(&tenant, &UsersQuery::default(), form, problem.status).await
        }
        Err(problem) => Err(problem),
    }
}
