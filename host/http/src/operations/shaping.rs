//! `/shaping` and `/warmup`: what `relevo shaping` and `relevo warmup` do, over HTTP, for holders of an
//! admin key (`[plugins] admin_keys`).

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use relevo_relay::audit::Act;
use relevo_relay::delivery::DeliveryHandle;
use relevo_relay::delivery::shaping::{
    ShapingReport, Span, Suspended, SuspensionReport, WarmupReport, is_provider_name,
};
use serde::{Deserialize, Serialize};

use super::OperationsServices;
use super::auth::Admin;
use crate::bearer::Proven;
use crate::error::{self, RequestError};

type Services = State<OperationsServices>;

pub(super) fn routes() -> Router<OperationsServices> {
    Router::new()
        .route("/shaping", get(show))
        .route("/shaping/suspensions", post(suspend))
        .route("/shaping/suspensions/{id}", delete(resume))
        .route("/shaping/reset/{provider}", post(reset))
        .route("/warmup", get(warmup))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShapingQuery {
    domain: Option<String>,
}

/// The body of `POST /shaping/suspensions`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSuspension {
    /// `source:ADDRESS`, `source:system`, `pool:NAME` or `tenant:ID`.
    subject: String,
    /// The name of the provider; or give `domain`.
    provider: Option<String>,
    /// A domain of the provider.
    domain: Option<String>,
    /// For how long, such as `2h`.
    #[serde(rename = "for")]
    span: String,
    /// Shown by `queue why`.
    #[serde(default)]
    reason: String,
}

/// A suspension, as it is answered.
#[derive(Debug, Serialize)]
struct SuspensionView {
    object: &'static str,
    #[serde(flatten)]
    suspension: SuspensionReport,
}

impl SuspensionView {
    fn new(suspension: SuspensionReport) -> Self {
        Self { object: "shaping_suspension", suspension }
    }
}

/// Rates, connections and suspensions.
#[derive(Debug, Serialize)]
struct ShapingView {
    object: &'static str,
    #[serde(flatten)]
    shaping: ShapingReport,
}

/// Addresses that are warmed up.
#[derive(Debug, Serialize)]
struct WarmupList {
    object: &'static str,
    data: Vec<WarmupReport>,
}

fn delivery(services: &OperationsServices) -> Result<&DeliveryHandle, RequestError> {
    services.delivery.as_ref().ok_or_else(RequestError::unavailable)
}

async fn show(
    State(services): Services,
    Proven(_): Proven<Admin>,
    query: Result<Query<ShapingQuery>, QueryRejection>,
) -> Result<Response, RequestError> {
    let delivery = delivery(&services)?;
    let Some(domain) = error::query(query)?.domain else {
        let shaping = delivery.shaping();
        return Ok(Json(ShapingView { object: "shaping", shaping }).into_response());
    };
    let domain = domain_name("domain", &domain)?;
    match delivery.shaping_of(&domain).await {
        Ok(shaping) => Ok(Json(shaping).into_response()),
        Err(why) => Err(RequestError::NotFound(format!("there is no way to {domain}: {why}"))),
    }
}

async fn suspend(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    body: Bytes,
) -> Result<(StatusCode, Json<SuspensionView>), RequestError> {
    let delivery = delivery(&services)?;
    let new: NewSuspension = relevo_api::json::read(&body)?;
    let subject: Suspended =
        new.subject.parse().map_err(|why: &str| RequestError::invalid("subject", why))?;
    let span: Span = new.span.parse().map_err(|why: &str| RequestError::invalid("for", why))?;
    let provider = match (new.provider, new.domain) {
        (Some(provider), None) if is_provider_name(&provider) => provider,
        (Some(_), None) => return Err(RequestError::invalid("provider", "is no name of a provider")),
        (None, Some(domain)) => {
            let domain = domain_name("domain", &domain)?;
            let found = delivery.provider_of(&domain).await;
            found.map_err(|why| RequestError::invalid("domain", format!("there is no way to it: {why}")))?
        }
        _ => return Err(RequestError::invalid("provider", "give `provider` or `domain`")),
    };
    let begun = delivery.suspend(subject, &provider, span.0, (&admin.name, &new.reason)).await;
    services.audit.write_suspension(&admin.actor, "POST /shaping/suspensions", &begun).await;
    Ok((StatusCode::CREATED, Json(SuspensionView::new(begun))))
}

async fn resume(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    Path(id): Path<String>,
) -> Result<Json<SuspensionView>, RequestError> {
    match delivery(&services)?.resume(&id, &admin.name).await {
        Some(ended) => {
            services.audit.write_suspension(&admin.actor, "DELETE /shaping/suspensions/{id}", &ended).await;
            Ok(Json(SuspensionView::new(ended)))
        }
        None => Err(RequestError::NotFound("there is no such suspension".to_owned())),
    }
}

/// What was reset.
#[derive(Debug, Serialize)]
struct ResetView {
    object: &'static str,
    provider: String,
}

/// Ends what refusals of a provider made of its rate. A provider that was not sent to has nothing to
/// reset.
async fn reset(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    Path(provider): Path<String>,
) -> Result<Json<ResetView>, RequestError> {
    let delivery = delivery(&services)?;
    if !delivery.shaping().providers.iter().any(|known| known.name == provider) {
        let message = "there is no such provider: `GET /shaping` lists those with rules or mail";
        return Err(RequestError::NotFound(message.to_owned()));
    }
    delivery.reset_rates(&provider);
    let (actor, action) = (&admin.actor, "POST /shaping/reset/{provider}");
    services.audit.write(Act { tenant: "", actor, action, subject: &provider, result: "done" }).await;
    Ok(Json(ResetView { object: "shaping_reset", provider }))
}

async fn warmup(
    State(services): Services,
    Proven(_): Proven<Admin>,
) -> Result<Json<WarmupList>, RequestError> {
    Ok(Json(WarmupList { object: "list", data: delivery(&services)?.warmups() }))
}

fn domain_name(param: &'static str, text: &str) -> Result<String, RequestError> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    if is_provider_name(&name) { Ok(name) } else { Err(RequestError::invalid(param, "is no domain")) }
}
