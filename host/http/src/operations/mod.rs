//! Operations: health, metrics, the queue, the administration of plugins, and the inbox of `relevo
//! dev`.

mod audit;
pub(crate) mod auth;
mod health;
mod plugin_admin;
mod plugins;
mod queue;
mod shaping;
mod summary;
mod tenants;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use relevo_relay::audit::AuditLog;
use relevo_relay::clock::Clock;
use relevo_relay::delivery::DeliveryHandle;
use relevo_relay::queue_admin::QueueAdmin;
use relevo_relay::settings::SettingsHandle;
use relevo_relay::tenants::Tenants;

use crate::error::{self, RequestError};
use crate::inbox::Inbox;

pub use plugin_admin::{BodyLimit, PluginAdmin, PluginRequest, PluginResponse, PluginVerb};

/// Says why new mail would be refused.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Encodes all metrics as text.
pub type EncodeMetrics = Arc<dyn Fn() -> Result<String, std::fmt::Error> + Send + Sync>;

/// What operators are served.
#[derive(Clone)]
pub struct OperationsServices {
    /// Admin keys.
    pub settings: SettingsHandle,
    /// For `/readyz`.
    pub ready: Readiness,
    /// For `/metrics`.
    pub encode_metrics: EncodeMetrics,
    /// Keys by name and SHA-256 that may read `/metrics`, beside admin keys. Empty: everybody may.
    pub metrics_keys: Vec<(String, [u8; 32])>,
    /// For `/plugins`.
    pub plugins: Arc<dyn PluginAdmin>,
    /// For `/shaping` and `/warmup`; none: nothing is delivered here.
    pub delivery: Option<DeliveryHandle>,
    /// For `/queue`.
    pub queue: QueueAdmin,
    /// For `/tenants`.
    pub tenants: Arc<Tenants>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// When the relay started, in milliseconds since 1970.
    pub started_at: i64,
    /// The audit log of all tenants.
    pub audit: Arc<AuditLog>,
    /// Only in `relevo dev`.
    pub inbox: Option<Arc<Inbox>>,
}

/// `/healthz` and `/readyz`, on each listener but that of tracking.
pub(crate) fn health_routes() -> Router<OperationsServices> {
    Router::new().route("/healthz", get(health::healthz)).route("/readyz", get(health::readyz))
}

pub(crate) fn routes() -> Router<OperationsServices> {
    let router = health_routes().route("/metrics", get(health::metrics)).merge(plugins::routes());
    let router = router.merge(shaping::routes()).merge(queue::routes());
    router.merge(tenants::routes()).merge(summary::routes()).merge(audit::routes())
}

pub(crate) fn words(error: &RequestError, request_id: &str) -> Response {
    error::json(error, error.name(), request_id, None)
}
