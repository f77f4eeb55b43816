//! Undoing what rules added in a window of time. It is tried first.

use askama::Template;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value};

use super::model::{Entry, Undone};
use crate::api::Problem;
use crate::forms::{Fields, Form, Posted};
use crate::frame::{self, Frame, Section};
use crate::state::TenantPage;
use crate::visitor::UserRole;

/// Entries that are shown.
const ROWS: usize = 50;
/// Fields that choose entries, beside the window.
const CONDITIONS: [&str; 4] = ["provider", "mx", "domain", "rule"];

/// What was tried, or done.
struct UndoResult {
    is_trial: bool,
    count: u64,
    has_more: bool,
    rows: Vec<Entry>,
    /// The fields that were tried: doing it is for the same ones.
    tried: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "suppressions/undo.html")]
struct UndoPage {
    f: Frame,
    v: Form,
    result: Option<UndoResult>,
}

fn undo_page(tenant: &TenantPage, v: Form, result: Option<UndoResult>) -> UndoPage {
    let f = tenant.frame(Section::SUPPRESSIONS, tenant.l.say("suppressions.undo"));
    UndoPage { f, v, result }
}

pub(super) async fn page(tenant: TenantPage) -> Result<Response, Problem> {
    tenant.needs(UserRole::Marketer)?;
    frame::page(&undo_page(&tenant, Form::default(), None))
}

pub(super) async fn undo(tenant: TenantPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let is_trial = !fields.has("undo");
    let asked = asked(&fields, is_trial);
    let undone: Result<Undone, Problem> = tenant.api.send(Method::POST, "/suppressions/undo", &asked).await;
    match undone {
        Ok(Undone { count, has_more, mut data }) => {
            data.truncate(ROWS);
            let tried = ["after", "before"].into_iter().chain(CONDITIONS);
            let tried = tried.map(|name| (name, fields.get(name).to_owned())).collect();
            let result = UndoResult { is_trial, count, has_more, rows: data, tried };
            frame::page(&undo_page(&tenant, Form::sent(&fields), Some(result)))
        }
        Err(problem) if problem.is_about_input() => {
            let form = Form::sent(&fields).with_problem(&problem, &[]);
            frame::page_with(StatusCode::UNPROCESSABLE_ENTITY, &undo_page(&tenant, form, None))
        }
        Err(problem) => Err(problem),
    }
}

fn asked(fields: &Fields, is_trial: bool) -> Map<String, Value> {
    let mut asked = Map::new();
    for name in ["after", "before"] {
        asked.insert(name.into(), instant(fields.get(name).trim()).into());
    }
    for name in CONDITIONS {
        if let Some(value) = fields.given(name) {
            asked.insert(name.into(), value.into());
        }
    }
    asked.insert("dry_run".into(), is_trial.into());
    asked
}

/// What a field of date and time holds, such as `2026-11-29T20:00`, in UTC as RFC 3339. Anything else
/// stays as it is, and the API says what is wrong with it.
fn instant(typed: &str) -> String {
    match typed.len() {
        16 => format!("{typed}:00Z"),
        19 => format!("{typed}Z"),
        _ => typed.to_owned(),
    }
}
