//! `/tenants`, for holders of an admin key (`[plugins] admin_keys`).

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use relevo_relay::audit::Act;
use relevo_relay::delivery::shaping::WarmupReport;
use relevo_relay::directory::Tenant;
use relevo_relay::suppressions::{ComplaintScope, SuppressionOverrides};
use relevo_relay::tenants::{TenantChange, TenantOverview, TenantRefusal};
use serde::Serialize;

use super::OperationsServices;
use super::auth::Admin;
use crate::api::list::{ListQuery, Page};
use crate::api::quota::{self, PeriodView};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

type Services = State<OperationsServices>;

pub(super) fn routes() -> Router<OperationsServices> {
    Router::new()
        .route("/tenants", get(list).post(create))
        .route("/tenants/{id}", get(show).patch(change).delete(delete))
}

/// A tenant.
#[derive(Debug, Serialize)]
struct TenantView {
    object: &'static str,
    id: String,
    /// `file`: it is changed in the configuration. `store`: it can be changed here.
    source: &'static str,
    /// Sending domains that count.
    domains: usize,
    networks: Vec<String>,
    pools: Vec<String>,
    routes: Vec<String>,
    max_priority: i8,
    max_held: u64,
    /// Deliveries that are held.
    held: u64,
    /// Requests to the API in a second; null: as configured for all.
    requests_per_second: Option<u32>,
    quota: QuotasView,
    suppression: SuppressionView,
    /// Names of its plugins.
    plugins: Vec<String>,
    /// Addresses of its pools that are warmed up; only of one tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup: Option<Vec<WarmupReport>>,
}

/// Use of this hour, this day and this month, in UTC.
#[derive(Debug, Serialize)]
struct QuotasView {
    hour: PeriodView,
    day: PeriodView,
    month: PeriodView,
}

/// Rules that are the tenant's own; null: as configured for all.
#[derive(Debug, Serialize)]
struct SuppressionView {
    hard_bounces: Option<u32>,
    mailbox_full_times: Option<u32>,
    mailbox_full_days: Option<u32>,
    complaints: Option<&'static str>,
}

impl From<&SuppressionOverrides> for SuppressionView {
    fn from(own: &SuppressionOverrides) -> Self {
        Self {
            hard_bounces: own.hard_bounces,
            mailbox_full_times: own.mailbox_full_times,
            mailbox_full_days: own.mailbox_full_days,
            complaints: own.complaints.map(|scope| match scope {
                ComplaintScope::All => "all",
                ComplaintScope::Stream => "stream",
            }),
        }
    }
}

impl TenantView {
    fn new(overview: TenantOverview, services: &OperationsServices) -> Self {
        let TenantOverview { tenant, is_file, domains, uses } = overview;
        let [hour, day, month] = uses.map(quota::view);
        Self {
            object: "tenant",
            source: if is_file { "file" } else { "store" },
            domains,
            networks: tenant.networks.iter().map(|n| format!("{}/{}", n.addr, n.prefix)).collect(),
            pools: tenant.grants.pools.clone(),
            routes: tenant.grants.routes.clone(),
            max_priority: tenant.grants.max_priority,
            max_held: tenant.max_held,
            held: services.queue.held(&tenant.id),
            requests_per_second: tenant.requests_per_second,
            quota: QuotasView { hour, day, month },
            suppression: SuppressionView::from(&tenant.suppression),
            plugins: tenant.plugins.iter().map(|plugin| plugin.config.name.clone()).collect(),
            warmup: None,
            id: tenant.id.clone(),
        }
    }

    /// One tenant, with the addresses of its pools that are warmed up.
    fn whole(overview: TenantOverview, services: &OperationsServices) -> Self {
        let warmup = warmup(&overview.tenant, services);
        Self { warmup: Some(warmup), ..Self::new(overview, services) }
    }
}

fn warmup(tenant: &Tenant, services: &OperationsServices) -> Vec<WarmupReport> {
    let Some(delivery) = &services.delivery else { return Vec::new() };
    let settings = services.settings.get();
    let pools = tenant.grants.pools.iter().filter_map(|name| settings.delivery.pools.get(name));
    let sources = pools.flat_map(|pool| pool.source_ipv4.iter().chain(&pool.source_ipv6));
    let sources: Vec<String> = sources.map(ToString::to_string).collect();
    let mut warmups = delivery.warmups();
    warmups.retain(|warmup| sources.contains(&warmup.address));
    warmups
}

async fn list(
    State(services): Services,
    Proven(_): Proven<Admin>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page<TenantView>>, RequestError> {
    let bounds = error::query(query)?.bounds()?;
    let found = services.tenants.list(&bounds.after, bounds.limit() + 1);
    Ok(Json(bounds.page(found, |overview| TenantView::new(overview, &services))))
}

async fn show(
    State(services): Services,
    Proven(_): Proven<Admin>,
    Path(id): Path<String>,
) -> Result<Json<TenantView>, RequestError> {
    Ok(Json(TenantView::whole(services.tenants.get(&id)?, &services)))
}

async fn create(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    body: Bytes,
) -> Result<(StatusCode, Json<TenantView>), RequestError> {
    let change: TenantChange = relevo_api::json::read(&body)?;
    let made = services.tenants.create(&change).await;
    let id = change.id.unwrap_or_default();
    // What is no id is of no tenant.
    let of = if matches!(made, Err(TenantRefusal::Invalid { .. })) { "" } else { &id };
    write(&services, (&admin, "POST /tenants"), (of, &id), made.as_ref().err()).await;
    Ok((StatusCode::CREATED, Json(TenantView::whole(made?, &services))))
}

async fn change(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<TenantView>, RequestError> {
    let change: TenantChange = relevo_api::json::read(&body)?;
    let changed = services.tenants.change(&id, &change).await;
    write(&services, (&admin, "PATCH /tenants/{id}"), (&id, &id), changed.as_ref().err()).await;
    Ok(Json(TenantView::whole(changed?, &services)))
}

/// What was deleted.
#[derive(Debug, Serialize)]
struct DeletedView {
    object: &'static str,
    id: String,
    deleted: bool,
}

/// Deletes to the end, also when the client is gone.
async fn delete(
    State(services): Services,
    Proven(admin): Proven<Admin>,
    Path(id): Path<String>,
) -> Result<Json<DeletedView>, RequestError> {
    let (tenants, of) = (services.tenants.clone(), id.clone());
    let deleted = tokio::spawn(async move { tenants.delete(&of).await }).await;
    let deleted = deleted.unwrap_or(Err(TenantRefusal::Unavailable));
    write(&services, (&admin, "DELETE /tenants/{id}"), (&id, &id), deleted.as_ref().err()).await;
    deleted?;
    Ok(Json(DeletedView { object: "tenant", id, deleted: true }))
}

/// Writes an act to the audit log. One on a tenant that is not there is of no tenant.
async fn write(
    services: &OperationsServices,
    (admin, action): (&Admin, &str),
    (tenant, subject): (&str, &str),
    refusal: Option<&TenantRefusal>,
) {
    let tenant = if matches!(refusal, Some(TenantRefusal::NotFound(_))) { "" } else { tenant };
    let result = refusal.map_or_else(|| "done".to_owned(), ToString::to_string);
    services.audit.write(Act { tenant, actor: &admin.actor, action, subject, result: &result }).await;
}

impl From<TenantRefusal> for RequestError {
    fn from(refusal: TenantRefusal) -> Self {
        match refusal {
            TenantRefusal::NotFound(_) => Self::NotFound(refusal.to_string()),
            TenantRefusal::Conflict(message) => Self::Conflict(message),
            TenantRefusal::Invalid { param, message } => Self::invalid(param, message),
            TenantRefusal::Unavailable => Self::Unavailable(refusal.to_string()),
        }
    }
}
