//! One delivery: what is posted, and each attempt.

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::Method;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::Delivery;
use crate::api::{List, Problem, path};
use crate::escape::shortened;
use crate::forms::Posted;
use crate::frame::{self, DoneQuery, Frame, Section, see};
use crate::state::TenantPage;

/// Attempts that are shown, the newest first.
const ROWS: &str = "50";
/// Octets of a payload that are shown.
const MAX_PAYLOAD: usize = 32 << 10;

#[derive(Debug, Deserialize)]
struct DeliveryDetails {
    #[serde(flatten)]
    summary: Delivery,
    payload: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct DeliveryAttempt {
    number: u64,
    status: String,
    http_status_code: Option<i64>,
    response: String,
    sent_at: String,
    duration_ms: u64,
}

#[derive(Template)]
#[template(path = "webhooks/delivery.html")]
struct DeliveryPage {
    f: Frame,
    webhook: String,
    d: Delivery,
    payload: Option<String>,
    attempts: Vec<DeliveryAttempt>,
    has_ended: bool,
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, webhook, id)): Path<(String, String, String)>,
    Query(query): Query<DoneQuery>,
) -> Result<Response, Problem> {
    let place = ["webhooks", &webhook, "deliveries", &id];
    let details: DeliveryDetails = tenant.api.get(&path(&place, &[])).await?;
    let attempts = path(&["webhooks", &webhook, "deliveries", &id, "attempts"], &[("limit", ROWS)]);
    let attempts: List<DeliveryAttempt> = tenant.api.get(&attempts).await?;
    let DeliveryDetails { summary: d, payload } = details;
    let payload = payload.map(|payload| shortened(&format!("{payload:#}"), MAX_PAYLOAD).into_owned());
    let has_ended = ["success", "failed"].contains(&d.status.as_str());
    let f = tenant.frame(Section::WEBHOOKS, &d.r#type).with_notice(query.done.as_deref());
    frame::page(&DeliveryPage { f, webhook, d, payload, attempts: attempts.data, has_ended })
}

pub(super) async fn replay(
    tenant: TenantPage,
    Path((_, webhook, id)): Path<(String, String, String)>,
    Posted(_): Posted,
) -> Result<Response, Problem> {
    let place = ["webhooks", &webhook, "deliveries", &id];
    let replay = path(&["webhooks", &webhook, "deliveries", &id, "replay"], &[]);
    let _: Value = tenant.api.act(Method::POST, &replay).await?;
    Ok(see(&tenant.url(&place, &[("done", "replayed")])))
}
