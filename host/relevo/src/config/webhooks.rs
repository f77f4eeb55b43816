//! Checks `[webhooks]`.

use std::time::Duration;

use ipnet::IpNet;
use relevo_webhooks::{ConnectionBounds, WebhookConfig};

use super::document::Document;
use super::schema::File;
use super::values::plain;

/// Attempts of a delivery behind the first one.
const MAX_RETRIES: usize = 50;
/// The longest time of a request.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// `[webhooks]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhooksConfig {
    /// Inner networks that may be connected to.
    pub(crate) allow_networks: Vec<IpNet>,
    pub(crate) limits: WebhookConfig,
}

pub(crate) fn webhooks(d: &mut Document<'_>, file: &File) -> WebhooksConfig {
    let (s, default) = (&file.webhooks, WebhookConfig::default());
    if s.retry.as_ref().is_some_and(|delays| delays.is_empty() || delays.len() > MAX_RETRIES) {
        d.mistake_in(s.span, "retry", format!("must have 1 to {MAX_RETRIES} delays"));
    }
    d.check(&s.timeout, |time| *time <= MAX_TIMEOUT, "must be 60s at most");
    let connections = ConnectionBounds {
        total: s.max_connections.or(default.connections.total),
        per_tenant: s.connections_per_tenant.or(default.connections.per_tenant),
        per_endpoint: s.connections_per_endpoint.or(default.connections.per_endpoint),
    };
    let mut allow_networks = Vec::new();
    for network in plain(&s.allow_networks) {
        allow_networks.extend(IpNet::new(network.addr, network.prefix));
    }
    WebhooksConfig {
        allow_networks,
        limits: WebhookConfig {
            allow_http: s.allow_http.or(default.allow_http),
            max_endpoints: s.max_endpoints.or(default.max_endpoints),
            max_pending: s.max_pending.or(default.max_pending),
            connections,
            timeout: s.timeout.or(default.timeout),
            retry: s.retry.as_ref().map_or(default.retry, plain),
            disable_after: s.disable_after.or(default.disable_after),
            retention: s.retention.or(default.retention),
        },
    }
}
