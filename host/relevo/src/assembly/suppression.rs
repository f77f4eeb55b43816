//! The rules that suppress addresses.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use relevo_relay::suppressions::{
    SuppressionRuleMetrics, SuppressionRules, Suppressions, suppression_reader_name,
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
    SuppressionRules::new(
        (suppressions.clone(), store.clone()),
        base.store.clone(),
        suppression_reader_name(base.store.id()),
        base.parts.suppression.clone(),
        Arc::new(provider_name),
        SuppressionRuleMetrics::register(registry),
    )
}
