//! Webhooks.

use std::sync::Arc;

use anyhow::Context;
use prometheus_client::registry::Registry;
use relevo_queue::MailStore;
use relevo_relay::clock::Clock;
use relevo_resolve::Resolve;
use relevo_smtp::client::root_certificates;
use relevo_store::ControlStore;
use relevo_webhooks::{WebhookMetrics, WebhookParts, Webhooks};

use crate::config::ServerParts;

/// Of the events of one store.
pub(super) fn webhooks(
    (parts, clock): (&ServerParts, Arc<dyn Clock>),
    (store, events): (&Arc<ControlStore>, Arc<dyn MailStore>),
    resolve: Arc<dyn Resolve>,
    registry: &mut Registry,
) -> anyhow::Result<Webhooks> {
    let config = &parts.webhooks;
    let roots = root_certificates(parts.ca_file.as_deref()).context("[delivery] ca_file")?;
    let fetcher = relevo_fetch::Fetcher::new(resolve, roots, config.allow_networks.clone())?;
    Ok(Webhooks::new(WebhookParts {
        endpoints: store.clone(),
        deliveries: store.clone(),
        // Several nodes may share a control store; positions in their event logs are not comparable.
        node: format!("{:016x}", events.id()),
        events,
        fetcher,
        now: Arc::new(move || clock.now()),
        metrics: WebhookMetrics::register(registry),
        config: config.limits.clone(),
    }))
}
