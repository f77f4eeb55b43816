//! Tenants and their quotas.

mod edit;
mod list;
mod show;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;

use super::shaping::WarmupEntry;
use crate::state::PanelState;

pub(super) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/tenants", get(list::page).post(edit::create))
        // Not below /tenants: a tenant may have that name.
        .route("/new-tenant", get(edit::new_page))
        .route("/tenants/{id}", get(show::page).post(edit::change))
        .route("/tenants/{id}/edit", get(edit::page))
        .route("/tenants/{id}/delete", post(show::delete))
}

/// A tenant.
#[derive(Debug, Deserialize)]
struct TenantEntry {
    id: String,
    source: String,
    domains: u64,
    networks: Vec<String>,
    pools: Vec<String>,
    routes: Vec<String>,
    max_priority: i8,
    max_held: u64,
    held: u64,
    requests_per_second: Option<u32>,
    quota: Quotas,
    suppression: SuppressionRules,
    plugins: Vec<String>,
    #[serde(default)]
    warmup: Vec<WarmupEntry>,
}

impl TenantEntry {
    /// It is changed in the configuration, not here.
    fn is_of_file(&self) -> bool {
        self.source != "store"
    }
}

#[derive(Debug, Deserialize)]
struct Quotas {
    hour: QuotaUse,
    day: QuotaUse,
    month: QuotaUse,
}

impl Quotas {
    /// With the keys of their names.
    fn all(&self) -> [(&'static str, &QuotaUse); 3] {
        [("hour", &self.hour), ("day", &self.day), ("month", &self.month)]
    }
}

/// Recipients in a period.
#[derive(Debug, Deserialize)]
struct QuotaUse {
    used: u64,
    /// None: no limit.
    limit: Option<u64>,
    resets_at: String,
}

/// None: as configured for all.
#[derive(Debug, Deserialize)]
struct SuppressionRules {
    hard_bounces: Option<u32>,
    mailbox_full_times: Option<u32>,
    mailbox_full_days: Option<u32>,
    complaints: Option<String>,
}
