//! The rules that suppress addresses.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use relevo_relay::suppressions::{
    SuppressionOverrides, SuppressionRuleMetrics, SuppressionRules, Suppressions, suppression_reader_name,
};
use relevo_statistics::provider_name;
use relevo_store::ControlStore;

use super::Base;

pub(super) fn rules(
    base: &Base,
    store: &Arc<ControlStore>,
    suppressions: &Arc<Suppressions>,
    registry: &mut Registry,
) -> SuppressionRules {
    let (settings, all) = (base.settings.clone(), Arc::new(base.parts.suppression.clone()));
    let of_tenant = move |tenant: &str| match settings.get().directory.tenant(tenant).map(|t| t.suppression) {
        Some(own) if own != SuppressionOverrides::default() => Arc::new(all.with(&own)),
        _ => all.clone(),
    };
    SuppressionRules::new(
        (suppressions.clone(), store.clone()),
        base.store.clone(),
        suppression_reader_name(base.store.id()),
        (base.parts.suppression.clone(), Arc::new(of_tenant)),
        Arc::new(provider_name),
        SuppressionRuleMetrics::register(registry),
    )
}
