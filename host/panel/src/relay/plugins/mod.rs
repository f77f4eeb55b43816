//! Plugins with their versions, faults and shadow reports.

mod list;
mod show;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;

use crate::state::PanelState;

pub(super) fn routes() -> Router<PanelState> {
    Router::new()
        .route("/plugins", get(list::page))
        .route("/plugins/{tenant}/{plugin}", get(show::page).post(show::act))
        .route("/plugins/{tenant}/{plugin}/rollback", post(show::rollback))
}

/// A plugin of a tenant.
#[derive(Debug, Deserialize)]
pub(super) struct PluginEntry {
    pub(super) tenant: String,
    pub(super) plugin: String,
    pub(super) state: String,
    /// The active version.
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    previous: Option<String>,
    #[serde(default)]
    versions: Vec<PluginVersion>,
    #[serde(default)]
    pub(super) problem: Option<String>,
    #[serde(default)]
    breaker: Option<String>,
    #[serde(default)]
    last_fault: Option<LastFault>,
    #[serde(default)]
    kv_entries: Option<u64>,
    #[serde(default)]
    shadow: Option<ShadowReport>,
    #[serde(default)]
    recordings: Option<Recordings>,
    #[serde(default)]
    log: Option<Vec<String>>,
}

impl PluginEntry {
    /// It cannot be asked, or is not asked because it broke.
    pub(super) fn is_broken(&self) -> bool {
        self.state == "broken" || self.breaker.as_deref() == Some("open")
    }
}

#[derive(Debug, Deserialize)]
struct PluginVersion {
    digest: String,
    added_at: String,
    size: u64,
}

#[derive(Debug, Deserialize)]
struct LastFault {
    at: String,
    fault: String,
}

/// What a version that is asked without effect did otherwise.
#[derive(Debug, Deserialize)]
struct ShadowReport {
    digest: String,
    compared: u64,
    differing: u64,
    faults: u64,
    skipped: u64,
    #[serde(default)]
    last: Vec<ShadowDifference>,
}

#[derive(Debug, Deserialize)]
struct ShadowDifference {
    message: String,
    /// The number of the first recipient that differs, from 0; none for a fault.
    #[serde(default)]
    recipient: Option<u64>,
    #[serde(default)]
    recipients: Option<u64>,
    #[serde(default)]
    active: String,
    #[serde(default)]
    shadow: String,
    #[serde(default)]
    fault: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Recordings {
    messages: u64,
    octets: u64,
    redacted: bool,
    recorded: u64,
    dropped: u64,
}

/// The beginning of a digest, as commands show it.
fn digest(whole: &str) -> &str {
    &whole[..whole.floor_char_boundary(12)]
}
