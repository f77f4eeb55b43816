//! New tenants, and changes of tenants of the store.

use askama::Template;
use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::TenantEntry;
use super::show::read;
use crate::api::{Problem, path};
use crate::forms::{Fields, Form, Posted};
use crate::frame::{Frame, Section, page_with, see};
use crate::state::OperatorPage;

/// Names, of which there may be several.
const LISTS: [&str; 3] = ["networks", "pools", "routes"];
/// Whole numbers. Empty: the default.
const NUMBERS: [&str; 3] = ["max_priority", "max_held", "requests_per_second"];
const QUOTAS: [&str; 3] = ["hour", "day", "month"];
const RULES: [&str; 3] = ["hard_bounces", "mailbox_full_times", "mailbox_full_days"];

#[derive(Template)]
#[template(path = "relay/tenant_edit.html")]
struct EditPage {
    f: Frame,
    form: Form,
    /// None: a new one.
    id: Option<String>,
    complaints: Vec<(&'static str, &'static str)>,
}

fn show(page: &OperatorPage, id: Option<&str>, form: Form, status: StatusCode) -> Result<Response, Problem> {
    let title =
        id.map_or_else(|| page.l.say("tenants.new").to_owned(), |id| page.l.fill("tenants.change", &id));
    let f = page.frame(Section::TENANTS, &title);
    let scope = |name| (name, f.term("complaints", name));
    let complaints = vec![("", page.l.say("tenants.as_all")), scope("all"), scope("stream")];
    page_with(status, &EditPage { f, form, id: id.map(str::to_owned), complaints })
}

pub(super) async fn new_page(page: OperatorPage) -> Result<Response, Problem> {
    show(&page, None, Form::default(), StatusCode::OK)
}

pub(super) async fn page(page: OperatorPage, Path(id): Path<String>) -> Result<Response, Problem> {
    let tenant = read(&page, &id).await?;
    if tenant.is_of_file() {
        return Ok(see(&page.url(&["tenants", &id], &[])));
    }
    show(&page, Some(&id), form_of(&tenant), StatusCode::OK)
}

fn form_of(t: &TenantEntry) -> Form {
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let rules = &t.suppression;
    let values = [
        ("networks", t.networks.join("\n")),
        ("pools", t.pools.join("\n")),
        ("routes", t.routes.join("\n")),
        ("max_priority", t.max_priority.to_string()),
        ("max_held", t.max_held.to_string()),
        ("requests_per_second", number(t.requests_per_second.map(u64::from))),
        ("hour", number(t.quota.hour.limit)),
        ("day", number(t.quota.day.limit)),
        ("month", number(t.quota.month.limit)),
        ("hard_bounces", number(rules.hard_bounces.map(u64::from))),
        ("mailbox_full_times", number(rules.mailbox_full_times.map(u64::from))),
        ("mailbox_full_days", number(rules.mailbox_full_days.map(u64::from))),
        ("complaints", rules.complaints.clone().unwrap_or_default()),
    ];
    Form::of(values.iter().map(|(name, value)| (*name, value.as_str())))
}

pub(super) async fn create(page: OperatorPage, Posted(fields): Posted) -> Result<Response, Problem> {
    let id = fields.get("id").trim();
    save(&page, None, id, &fields).await
}

pub(super) async fn change(
    page: OperatorPage,
    Path(id): Path<String>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    save(&page, Some(&id), &id, &fields).await
}

async fn save(
    page: &OperatorPage,
    known: Option<&str>,
    id: &str,
    fields: &Fields,
) -> Result<Response, Problem> {
    let mut change = match change_of(fields) {
        Ok(change) => change,
        Err(wrong) => {
            let mistake = page.l.say("tenants.no_number");
            let form = wrong.iter().fold(Form::sent(fields), |form, name| form.with_mistake(name, mistake));
            return show(page, known, form, StatusCode::UNPROCESSABLE_ENTITY);
        }
    };
    let saved: Result<Value, Problem> = if known.is_some() {
        page.api.send(Method::PATCH, &path(&["tenants", id], &[]), &change).await
    } else {
        change.insert("id".into(), id.into());
        page.api.send(Method::POST, &path(&["tenants"], &[]), &change).await
    };
    let done = if known.is_some() { "tenant_changed" } else { "tenant_created" };
    match saved {
        Ok(_) => Ok(see(&page.url(&["tenants", id], &[("done", done)]))),
        Err(problem) if problem.is_about_input() => show(
            page,
            known,
            Form::sent(fields).with_problem(&by_field(problem.clone()), &[]),
            problem.status,
        ),
        Err(problem) => Err(problem),
    }
}

/// Fields of the form have the names of parameters of the API, without the object that they are in.
fn by_field(mut problem: Problem) -> Problem {
    for (param, _) in &mut problem.fields {
        if let Some((_, last)) = param.rsplit_once('.') {
            *param = last.to_owned();
        }
    }
    problem
}

/// What the API is sent: everything that the form has, so that what was emptied becomes the default.
///
/// # Errors
/// Names of fields that hold no number.
fn change_of(fields: &Fields) -> Result<Map<String, Value>, Vec<&'static str>> {
    let mut wrong = Vec::new();
    let mut numbers = |names: [&'static str; 3]| {
        let mut all = Map::new();
        for name in names {
            let value = match fields.given(name).map(str::parse::<u64>) {
                None => Value::Null,
                Some(Ok(number)) => number.into(),
                Some(Err(_)) => {
                    wrong.push(name);
                    continue;
                }
            };
            all.insert(name.into(), value);
        }
        all
    };
    let mut change = numbers(NUMBERS);
    let (quota, mut rules) = (numbers(QUOTAS), numbers(RULES));
    rules.insert("complaints".into(), fields.given("complaints").into());
    for name in LISTS {
        let given = fields.get(name).split([',', ' ', '\n', '\t']).filter(|part| !part.is_empty());
        change.insert(name.into(), given.collect::<Vec<_>>().into());
    }
    change.insert("quota".into(), json!(quota));
    change.insert("suppression".into(), json!(rules));
    if wrong.is_empty() { Ok(change) } else { Err(wrong) }
}
