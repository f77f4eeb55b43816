//! What handlers share.

use std::sync::Arc;

use relevo_policy::Plugins;
use relevo_queue::EventLog;
use relevo_relay::settings::{Network, SettingsHandle};
use relevo_relay::tracking::TrackingEndpoint;

use crate::inbox::Inbox;

/// Says why new mail would be refused.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// All metrics as text.
pub type EncodeMetrics = Arc<dyn Fn() -> Result<String, std::fmt::Error> + Send + Sync>;

/// Cloned for each request.
#[derive(Clone)]
pub struct HttpState {
    /// The current settings.
    pub settings: SettingsHandle,
    /// The event log.
    pub events: Arc<dyn EventLog>,
    /// Clicks and opens.
    pub tracking: Arc<TrackingEndpoint>,
    /// For `/readyz`.
    pub ready: Readiness,
    /// For `/metrics`.
    pub encode_metrics: EncodeMetrics,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<Network>,
    /// Only in `relevo dev`.
    pub inbox: Option<Arc<Inbox>>,
    /// For `/plugins`.
    pub plugins: Arc<Plugins>,
}
