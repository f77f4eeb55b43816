//! What was and will be sent to an endpoint.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Delivery;
use crate::api::{List, Problem, path};
use crate::forms::{Fields, Form, Posted};
use crate::frame::{self, Frame, Section, see};
use crate::state::TenantPage;

/// Deliveries on a page.
const ROWS: &str = "50";
/// What may be looked for; empty is everything.
const STATES: [&str; 4] = ["", "pending", "success", "failed"];
/// Deliveries that a replay may have; empty is all events of the span.
const REPLAYED: [&str; 3] = ["failed", "success", ""];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DeliveriesQuery {
    status: String,
    after: String,
    /// Events that a replay sends again.
    replayed: Option<u64>,
}

/// A state to choose.
struct StateLink {
    text: String,
    url: String,
    is_here: bool,
}

#[derive(Template)]
#[template(path = "webhooks/deliveries.html")]
struct DeliveriesPage {
    f: Frame,
    id: String,
    states: Vec<StateLink>,
    replayed: Option<u64>,
    rows: Vec<Delivery>,
    next: Option<String>,
    newest: Option<String>,
    kinds: Vec<(&'static str, &'static str)>,
    values: Form,
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Response, Problem> {
    show(&tenant, id, &query, StatusCode::OK, Form::of([("status", REPLAYED[0])])).await
}

async fn show(
    tenant: &TenantPage,
    id: String,
    query: &DeliveriesQuery,
    status: StatusCode,
    values: Form,
) -> Result<Response, Problem> {
    let l = tenant.l;
    // What is no state is not asked for.
    let state = STATES.into_iter().find(|state| *state == query.status).unwrap_or_default();
    let url = |state: &str, after: &str| {
        tenant.url(&["webhooks", &id, "deliveries"], &[("status", state), ("after", after)])
    };
    let asked = [("limit", ROWS), ("status", state), ("after", query.after.as_str())];
    let found: List<Delivery> = tenant.api.get(&path(&["webhooks", &id, "deliveries"], &asked)).await?;
    let next = found.cursor(|delivery| &delivery.id).map(|after| url(state, &after));
    let newest = (!query.after.is_empty()).then(|| url(state, ""));
    let text = |name: &'static str| match name {
        "" => l.say("webhooks.every_delivery"),
        name => l.term("delivery_status", name),
    };
    let link = |name| StateLink { text: text(name).to_owned(), url: url(name, ""), is_here: name == state };
    let states = STATES.map(link).into();
    let kind = |name| match name {
        "" => (name, l.say("webhooks.every_event")),
        name => (name, text(name)),
    };
    let kinds = REPLAYED.map(kind).into();
    let f = tenant.frame(Section::WEBHOOKS, l.say("webhooks.deliveries"));
    let (rows, replayed) = (found.data, query.replayed);
    frame::page_with(status, &DeliveriesPage { f, id, states, replayed, rows, next, newest, kinds, values })
}

pub(super) async fn replay_span(
    tenant: TenantPage,
    Path((_, id)): Path<(String, String)>,
    Posted(fields): Posted,
) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    struct Replayed {
        count: u64,
    }
    let place = path(&["webhooks", &id, "replay"], &[]);
    match tenant.api.send::<Replayed>(Method::POST, &place, &span(&fields)).await {
        Ok(Replayed { count }) => {
            let count = count.to_string();
            Ok(see(&tenant.url(&["webhooks", &id, "deliveries"], &[("replayed", &count)])))
        }
        Err(problem) if problem.is_about_input() => {
            let values = Form::sent(&fields).with_problem(&problem, &[]);
            let query = DeliveriesQuery::default();
            show(&tenant, id, &query, StatusCode::UNPROCESSABLE_ENTITY, values).await
        }
        Err(problem) => Err(problem),
    }
}

fn span(fields: &Fields) -> Map<String, Value> {
    let mut span = Map::new();
    for name in ["since", "until"] {
        span.insert(name.into(), utc(fields.get(name).trim()).into());
    }
    if let Some(status) = fields.given("status") {
        span.insert("status".into(), status.into());
    }
    span
}

/// A local date and time (HTML section 2.3.5.5) as RFC 3339 in UTC. Seconds may be missing.
fn utc(local: &str) -> String {
    let seconds = if local.len() == "2026-11-29T20:30".len() { ":00" } else { "" };
    format!("{local}{seconds}Z")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn local_times_become_utc() {
        assert_eq!(utc("2026-11-29T20:30"), "2026-11-29T20:30:00Z");
        assert_eq!(utc("2026-11-29T20:30:05"), "2026-11-29T20:30:05Z");
    }
}
