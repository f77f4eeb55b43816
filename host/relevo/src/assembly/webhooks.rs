//! Webhooks.

use std::sync::Arc;

use anyhow::Context;
use prometheus_client::registry::Registry;
use relevo_resolve::Resolve;
use relevo_smtp::client::root_certificates;
use relevo_store::ControlStore;
use relevo_webhooks::{WebhookMetrics, WebhookParts, Webhooks};

use super::Base;

pub(super) fn webhooks(
    base: &Base,
    store: &Arc<ControlStore>,
    resolve: Arc<dyn Resolve>,
    registry: &mut Registry,
) -> anyhow::Result<Webhooks> {
    let config = &base.parts.webhooks;
    let roots = root_certificates(base.parts.ca_file.as_deref()).context("[delivery] ca_file")?;
    let fetcher = relevo_fetch::Fetcher::new(resolve, roots, config.allow_networks.clone())?;
    let clock = base.clock.clone();
    Ok(Webhooks::new(WebhookParts {
        endpoints: store.clone(),
        deliveries: store.clone(),
        events: base.store.clone(),
        // Several nodes may share a control store; positions in their event logs are not comparable.
        node: format!("{:016x}", base.store.id()),
        fetcher,
        now: Arc::new(move || clock.now()),
        metrics: WebhookMetrics::register(registry),
        config: config.limits.clone(),
    }))
}
