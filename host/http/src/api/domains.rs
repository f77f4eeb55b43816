//! `/domains`. The id of a domain is its name.

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use relevo_relay::clock::timestamp;
use relevo_relay::domains::{DomainChange, DomainRefusal, OwnDomain, RecordCheck};
use relevo_relay::records::DnsRecord;
use relevo_relay::settings::Settings;
use serde::{Deserialize, Serialize};

use super::ApiServices;
use super::admission::Subject;
use super::auth::Caller;
use super::body::{self, Deleted};
use super::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// The body of `POST /domains`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewDomainFields {
    /// The domain.
    name: Option<String>,
    /// Mail leaves from where the relay is: any region is the same.
    #[serde(rename = "region")]
    _region: Option<String>,
    /// An open pixel is inserted.
    open_tracking: Option<bool>,
    /// Links are rewritten.
    click_tracking: Option<bool>,
    /// The name below the domain that tracking links have; `links` without it.
    tracking_subdomain: Option<String>,
    /// `opportunistic`, or `enforced`: mail goes over verified TLS only.
    tls: Option<String>,
}

/// The body of `PATCH /domains/{name}`. A field that is absent stays as it is.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DomainFields {
    /// An open pixel is inserted.
    open_tracking: Option<bool>,
    /// Links are rewritten.
    click_tracking: Option<bool>,
    /// The name below the domain that tracking links have.
    tracking_subdomain: Option<String>,
    /// `opportunistic`, or `enforced`: mail goes over verified TLS only.
    tls: Option<String>,
}

/// A domain in an answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DomainView {
    object: &'static str,
    /// The name again.
    id: String,
    name: String,
    /// `not_started`, or `verified`: it may send.
    status: &'static str,
    /// The configuration file's domains have none.
    created_at: Option<String>,
    /// Always `local`.
    region: &'static str,
    /// `file`: it is changed in the configuration file. `api`: here.
    source: &'static str,
    open_tracking: bool,
    click_tracking: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking_subdomain: Option<String>,
    tls: &'static str,
    /// What to publish in DNS. Lists have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<RecordView>>,
}

/// A DNS record in an answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RecordView {
    /// `DKIM`, `SPF`, `DMARC` or `Tracking`.
    record: &'static str,
    /// Fully qualified, without a final dot.
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    ttl: &'static str,
    /// Whole: neither quoted nor split into strings.
    value: String,
    /// `not_started` where nobody looked; `verified`, `pending` (nothing is published), `failed`
    /// (something else is) or `temporary_failure` after `POST /domains/{name}/verify`.
    status: &'static str,
    /// What is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Vec<String>>,
    /// What that means, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl From<DomainRefusal> for RequestError {
    fn from(refusal: DomainRefusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            DomainRefusal::NotFound => Self::NotFound(text),
            DomainRefusal::Conflict(text) => Self::Conflict(text),
            DomainRefusal::Invalid { param, message } => Self::invalid(param, message),
            DomainRefusal::Unavailable => Self::Unavailable(text),
        }
    }
}

/// Claims a domain. It may send once DNS has its DKIM key.
#[utoipa::path(
    post,
    path = "/domains",
    tag = "domains",
    request_body = NewDomainFields,
    responses((status = 201, description = "The domain with what to publish.", body = DomainView)),
)]
pub(super) async fn add(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<(StatusCode, Extension<Subject>, Json<DomainView>), RequestError> {
    let NewDomainFields { name, open_tracking, click_tracking, tracking_subdomain, tls, .. } =
        body::read(&body)?;
    let name = name.ok_or_else(|| RequestError::invalid("name", "is missing"))?;
    let change = change_of(DomainFields { open_tracking, click_tracking, tracking_subdomain, tls })?;
    let own = services.admin.domains.add(&caller.tenant, &name, &change).await?;
    let settings = services.settings.get();
    let subject = Extension(Subject(own.domain.name.clone()));
    Ok((StatusCode::CREATED, subject, Json(DomainView::with_records(&own, &settings))))
}

/// Lists the caller's domains by name.
#[utoipa::path(
    get,
    path = "/domains",
    tag = "domains",
    params(ListQuery),
    responses((status = 200, description = "A page.", body = Page<DomainView>)),
)]
pub(super) async fn list(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page<DomainView>>, RequestError> {
    let query = error::query(query)?.bounds()?;
    let found = services.admin.domains.list(&caller.tenant, &query.after, query.with_one_more()).await?;
    Ok(Json(query.page(found, DomainView::alone)))
}

/// Shows a domain with what to publish in DNS.
#[utoipa::path(
    get,
    path = "/domains/{name}",
    tag = "domains",
    params(("name" = String, Path, description = "The domain.")),
    responses((status = 200, description = "The domain.", body = DomainView)),
)]
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<DomainView>, RequestError> {
    let own = services.admin.domains.get(&caller.tenant, &name).await?;
    Ok(Json(DomainView::with_records(&own, &services.settings.get())))
}

/// Changes tracking and TLS of a domain.
#[utoipa::path(
    patch,
    path = "/domains/{name}",
    tag = "domains",
    params(("name" = String, Path, description = "The domain.")),
    request_body = DomainFields,
    responses((status = 200, description = "The domain.", body = DomainView)),
)]
pub(super) async fn change(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<DomainView>, RequestError> {
    let change = change_of(body::read(&body)?)?;
    let own = services.admin.domains.change(&caller.tenant, &name, &change).await?;
    Ok(Json(DomainView::with_records(&own, &services.settings.get())))
}

/// Removes a domain with its keys.
#[utoipa::path(
    delete,
    path = "/domains/{name}",
    tag = "domains",
    params(("name" = String, Path, description = "The domain.")),
    responses((status = 200, description = "It is gone.", body = Deleted)),
)]
pub(super) async fn remove(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Deleted>, RequestError> {
    let name = services.admin.domains.remove(&caller.tenant, &name).await?;
    Ok(Json(Deleted::new("domain", name)))
}

/// Looks for each record in DNS.
#[utoipa::path(
    post,
    path = "/domains/{name}/verify",
    tag = "domains",
    params(("name" = String, Path, description = "The domain.")),
    responses((status = 200, description = "The domain with what was found.", body = DomainView)),
)]
pub(super) async fn verify(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<DomainView>, RequestError> {
    let (own, checks) = services.admin.domains.verify(&caller.tenant, &name).await?;
    Ok(Json(DomainView::with_checks(&own, checks)))
}

/// Lists what to publish in DNS for one of the caller's domains.
#[utoipa::path(
    get,
    path = "/domains/{name}/records",
    tag = "domains",
    params(("name" = String, Path, description = "The domain.")),
    responses((status = 200, description = "The records.", body = Vec<DnsRecord>)),
)]
pub(super) async fn records(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Vec<DnsRecord>>, RequestError> {
    let own = services.admin.domains.get(&caller.tenant, &name).await?;
    Ok(Json(relevo_relay::records::records(&own.domain, &services.settings.get())))
}

fn change_of(fields: DomainFields) -> Result<DomainChange, RequestError> {
    let enforce_tls = match fields.tls.as_deref() {
        None => None,
        Some("enforced") => Some(true),
        Some("opportunistic") => Some(false),
        Some(_) => return Err(RequestError::invalid("tls", "must be opportunistic or enforced")),
    };
    Ok(DomainChange {
        opens: fields.open_tracking,
        clicks: fields.click_tracking,
        tracking_subdomain: fields.tracking_subdomain,
        enforce_tls,
    })
}

impl DomainView {
    /// A domain without its records.
    #[must_use]
    pub fn alone(own: OwnDomain) -> Self {
        view(&own, None)
    }

    /// A domain with the records to publish.
    #[must_use]
    pub fn with_records(own: &OwnDomain, settings: &Settings) -> Self {
        let records = relevo_relay::records::records(&own.domain, settings);
        view(own, Some(records.into_iter().map(|record| record_view(record, "not_started")).collect()))
    }

    /// A domain with its records and what DNS has of them.
    #[must_use]
    pub fn with_checks(own: &OwnDomain, checks: Vec<RecordCheck>) -> Self {
        view(own, Some(checks.into_iter().map(checked).collect()))
    }
}

fn view(own: &OwnDomain, records: Option<Vec<RecordView>>) -> DomainView {
    let domain = &own.domain;
    let tracking = domain.tracking.as_ref();
    let below = |host: &str| host.strip_suffix(&format!(".{}", domain.name)).map(str::to_owned);
    DomainView {
        object: "domain",
        id: domain.name.clone(),
        name: domain.name.clone(),
        status: if own.is_verified { "verified" } else { "not_started" },
        created_at: own.created_at.map(timestamp),
        region: "local",
        source: if own.created_at.is_some() { "api" } else { "file" },
        open_tracking: tracking.is_some_and(|tracking| tracking.opens),
        click_tracking: tracking.is_some_and(|tracking| tracking.clicks),
        tracking_subdomain: tracking.and_then(|tracking| below(tracking.host())),
        tls: if domain.enforce_tls { "enforced" } else { "opportunistic" },
        records,
    }
}

fn record_view(record: DnsRecord, status: &'static str) -> RecordView {
    let DnsRecord { kind, name, value, purpose } = record;
    let purpose = if purpose == "tracking" { "Tracking" } else { purpose };
    RecordView { record: purpose, name, kind, ttl: "Auto", value, status, found: None, detail: None }
}

fn checked(check: RecordCheck) -> RecordView {
    let status = check.status.as_str();
    RecordView { found: Some(check.found), detail: Some(check.detail), ..record_view(check.record, status) }
}
