//! A plugin as a configuration would have it, for tests of this crate.

use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::recheck::policy::HeaderNames;
use relevo_relay::settings::{FailurePolicy, PluginSettings};
use relevo_runtime::policy::{BreakerConfig, CapabilityGrants, Class, PluginConfig, PluginLimits};

/// The plugin `list` of this tenant: class `small`, the usual limits, 1,000 octets of data, nothing
/// recorded; and then changed.
pub(crate) fn plugin(tenant: &str, change: impl FnOnce(&mut PluginSettings)) -> Arc<PluginSettings> {
    let class = Class::Small;
    let config = PluginConfig {
        tenant: tenant.into(),
        name: "list".into(),
        class,
        limits: PluginLimits::of(class),
        grants: CapabilityGrants::default(),
        header_names: HeaderNames::default(),
        settings: Vec::new(),
    };
    let mut settings = PluginSettings {
        config,
        kv_size: 1_000,
        tenant_cpu: Duration::from_secs(60),
        failure: FailurePolicy::Tempfail,
        breaker: BreakerConfig::default(),
        record: None,
    };
    change(&mut settings);
    Arc::new(settings)
}
