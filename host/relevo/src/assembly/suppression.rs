//! The rules that suppress addresses.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use relevo_queue::MailStore;
use relevo_relay::settings::SettingsHandle;
use relevo_relay::suppressions::{
    SuppressionOverrides, SuppressionRuleMetrics, SuppressionRules, Suppressions, suppression_reader_name,
};
use relevo_statistics::provider_name;
use relevo_store::ControlStore;

use crate::config::ServerParts;

/// Of the events of one store.
pub(super) fn rules(
    (parts, settings): (&ServerParts, SettingsHandle),
    store: &Arc<ControlStore>,
    (suppressions, events): (&Arc<Suppressions>, Arc<dyn MailStore>),
    registry: &mut Registry,
) -> SuppressionRules {
    let all = Arc::new(parts.suppression.clone());
    let name = suppression_reader_name(events.id());
    let of_tenant = move |tenant: &str| match settings.get().directory.tenant(tenant).map(|t| t.suppression) {
        Some(own) if own != SuppressionOverrides::default() => Arc::new(all.with(&own)),
        _ => all.clone(),
    };
    SuppressionRules::new(
        (suppressions.clone(), store.clone()),
        events,
        name,
        (parts.suppression.clone(), Arc::new(of_tenant)),
        Arc::new(provider_name),
        SuppressionRuleMetrics::register(registry),
    )
}
