//! `/reputation`: what others think of the relay and of a tenant's domains.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::{Extension, Json};
use relevo_relay::clock::timestamp;
use relevo_relay::health::ProviderRate;
use relevo_relay::health::doctor::blocklist::Listing;
use relevo_relay::health::doctor::imports::{self, ImportMistake, PostmasterRow, SndsRow};
use relevo_relay::health::doctor::rate_checks;
use relevo_relay::reputation::{KnownListing, OnFail, Reputation};
use serde::Serialize;

use super::ApiServices;
use super::admission::Subject;
use super::auth::Caller;
use super::health::CheckView;
use crate::bearer::Proven;
use crate::error::RequestError;

/// What others think of the relay and of the caller's domains.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ReputationView {
    object: &'static str,
    /// What block lists say of the addresses that mail leaves from.
    blocklists: Vec<ListingView>,
    /// Rates of each sending domain over all providers, of the last seven days.
    domains: Vec<RateView>,
    /// Rates by provider over all sending domains, of the last seven days.
    providers: Vec<RateView>,
    /// What happens to a domain whose rates are too high: `warn`, `slow_down` or `stop`.
    on_fail: &'static str,
    /// Domains whose rates are too high.
    failing: Vec<FailingView>,
}

/// What a block list said of an address.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ListingView {
    /// The zone of the list.
    list: String,
    /// The address.
    address: String,
    /// `listed`, `not_listed`, or `unknown`: the list gave an error, or fails its test entries.
    status: &'static str,
    /// The answers, or the error.
    detail: String,
    /// When it was asked.
    asked_at: String,
}

/// Rates of complaints and hard bounces.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RateView {
    /// The domain, or the provider.
    name: String,
    /// Recipients whose message was delivered.
    delivered: u64,
    /// Complaints.
    complained: u64,
    /// Hard bounces.
    bounced: u64,
    /// The rates against the limits of Gmail and Yahoo.
    checks: Vec<CheckView>,
}

/// A domain whose rates are too high.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct FailingView {
    /// The domain.
    domain: String,
    /// Why.
    reason: String,
    /// Its new mail is refused.
    stopped: bool,
}

/// What was imported.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ImportView {
    object: &'static str,
    /// `google_postmaster` or `microsoft_snds`.
    source: &'static str,
    /// Rows that were read.
    rows: usize,
}

impl From<KnownListing> for ListingView {
    fn from(known: KnownListing) -> Self {
        let (status, detail) = match known.answer {
            Listing::Listed(codes) => ("listed", codes.join(" ")),
            Listing::NotListed => ("not_listed", String::new()),
            Listing::Unknown(why) => ("unknown", why),
        };
        let (list, address) = (known.list, known.address.to_string());
        Self { list, address, status, detail, asked_at: timestamp(known.at) }
    }
}

fn rate_view(name: &str, rate: &ProviderRate) -> RateView {
    let checks = rate_checks(rate).into_iter().map(CheckView::from).collect();
    let ProviderRate { delivered, complained, bounced, .. } = *rate;
    RateView { name: name.to_owned(), delivered, complained, bounced, checks }
}

/// Shows what block lists say of the relay's addresses, and the rates of the caller's mail.
#[utoipa::path(
    get,
    path = "/reputation",
    tag = "domains",
    responses((status = 200, description = "What others think.", body = ReputationView)),
)]
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
) -> Json<ReputationView> {
    let reputation = &services.admin.reputation;
    let (rates, failing) = reputation.of_tenant(&caller.tenant);
    let on_fail = reputation.on_fail();
    let failing = failing.into_iter().map(|(domain, reason)| FailingView {
        domain,
        reason,
        stopped: on_fail == OnFail::Stop,
    });
    Json(ReputationView {
        object: "reputation",
        blocklists: reputation.listings().into_iter().map(ListingView::from).collect(),
        domains: rates.domains.iter().map(|(domain, rate)| rate_view(domain, rate)).collect(),
        providers: rates.providers.iter().map(|rate| rate_view(&rate.provider, rate)).collect(),
        on_fail: on_fail.name(),
        failing: failing.collect(),
    })
}

/// Takes an export of Google Postmaster Tools (JSON of version 2, `domains.domainStats.query`) as
/// `application/json`, or of Microsoft SNDS as `text/csv`. A mistake refuses all of it.
#[utoipa::path(
    post,
    path = "/reputation/imports",
    tag = "domains",
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, description = "What was imported.", body = ImportView)),
)]
pub(super) async fn import(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(Extension<Subject>, Json<ImportView>), RequestError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let reputation: &Arc<Reputation> = &services.admin.reputation;
    let (source, rows) = match kind.as_str() {
        "application/json" => {
            let rows = imports::postmaster(&body).map_err(mistake)?;
            let count = rows.len();
            own_domains(&services, &caller.tenant, &rows)?;
            reputation.import_postmaster(&caller.tenant, rows).await;
            ("google_postmaster", count)
        }
        "text/csv" => {
            let rows: Vec<SndsRow> = imports::snds(&body).map_err(mistake)?;
            let count = rows.len();
            reputation.import_snds(&caller.tenant, rows).await;
            ("microsoft_snds", count)
        }
        _ => {
            let message = "must be application/json (Google Postmaster Tools) or text/csv (Microsoft SNDS)";
            return Err(RequestError::invalid("content-type", message));
        }
    };
    let view = ImportView { object: "reputation_import", source, rows };
    Ok((Extension(Subject(source.to_owned())), Json(view)))
}

/// Postmaster Tools shows a domain to its owner alone: rows of another domain are a mistake.
fn own_domains(services: &ApiServices, tenant: &str, rows: &[PostmasterRow]) -> Result<(), RequestError> {
    let settings = services.settings.get();
    let is_own = |name: &str| settings.directory.domain(name).is_some_and(|domain| domain.tenant == tenant);
    match rows.iter().find(|row| !is_own(&row.domain)) {
        Some(row) => {
            Err(RequestError::invalid("domainStats", format!("{} is not a domain of yours", row.domain)))
        }
        None => Ok(()),
    }
}

fn mistake(mistake: ImportMistake) -> RequestError {
    RequestError::invalid(mistake.place, mistake.message)
}
