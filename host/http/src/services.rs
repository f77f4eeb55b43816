//! What the routers serve.

use std::sync::Arc;

use relevo_panel::Access;
use relevo_relay::settings::Network;
use relevo_relay::tracking::TrackingEndpoint;
use relevo_relay::unsubscribe::UnsubscribeEndpoint;

use crate::api::ApiServices;
use crate::metrics::HttpMetrics;
use crate::operations::OperationsServices;

/// The services of the three routers, and what all of them need.
#[derive(Clone)]
pub struct HttpServices {
    /// Of the API.
    pub api: ApiServices,
    /// Clicks and opens.
    pub tracking: Arc<TrackingEndpoint>,
    /// The unsubscribe page, beside clicks and opens.
    pub unsubscribe: Arc<UnsubscribeEndpoint>,
    /// Of operators.
    pub operations: OperationsServices,
    /// Who may use the panel.
    pub panel: Access,
    /// Reverse proxies whose X-Forwarded-For is believed.
    pub trusted_proxies: Arc<[Network]>,
    /// Counts requests.
    pub metrics: HttpMetrics,
}
