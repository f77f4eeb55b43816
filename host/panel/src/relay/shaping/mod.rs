//! Shaping and warm-up.

mod domain;
mod show;
mod warmup;

pub(super) use warmup::WarmupEntry;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;

use crate::state::PanelState;

pub(super) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/shaping", get(show::page))
        .route("/shaping/suspensions", post(show::suspend))
        .route("/shaping/resume", post(show::resume))
        .route("/shaping/reset/{provider}", post(show::reset))
        .route("/shaping/domain", get(domain::page))
        .route("/shaping/warmup", get(warmup::page))
}

/// Rates, connections and suspensions.
#[derive(Debug, Deserialize)]
struct Shaping {
    rules_version: String,
    providers: Vec<ProviderEntry>,
    suspensions: Vec<SuspensionEntry>,
}

/// A provider with its limits. None: no limit of its own.
#[derive(Debug, Deserialize)]
struct ProviderEntry {
    name: String,
    #[serde(default)]
    connections: Option<u32>,
    #[serde(default)]
    messages_per_connection: Option<u32>,
    #[serde(default)]
    messages_per_minute: Option<u32>,
    #[serde(default)]
    recipients_per_transaction: Option<u32>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    checked: Option<String>,
    pools: Vec<PoolEntry>,
}

impl ProviderEntry {
    fn is_slowed(&self) -> bool {
        self.pools.iter().any(|pool| pool.slowed.is_some())
    }

    fn open(&self) -> u32 {
        self.pools.iter().fold(0, |sum, pool| sum.saturating_add(pool.open))
    }

    /// The page that the figures are from, if a browser may follow it.
    fn link(&self) -> Option<&str> {
        self.source.as_deref().filter(|source| source.starts_with("https://"))
    }
}

/// A pool at a provider.
#[derive(Debug, Deserialize)]
struct PoolEntry {
    /// Empty: as the system chooses.
    pool: String,
    open: u32,
    #[serde(default)]
    slowed: Option<SlowedEntry>,
}

/// A rate that refusals brought down.
#[derive(Debug, Deserialize)]
struct SlowedEntry {
    per_minute: u32,
    ends_at: u32,
    next_step: String,
    rule: String,
    reply: String,
}

#[derive(Debug, Deserialize)]
struct SuspensionEntry {
    id: String,
    subject: String,
    provider: String,
    since: String,
    until: String,
    by: String,
    author: String,
    reason: String,
}
