//! What an operator configured, checked and resolved. Made by the binary from `relevo.toml`;
//! replaced as a whole on reload.

use std::sync::Arc;

use relevo_delivery::settings::{ConfigSource, DeliveryConfig};
use relevo_mailkit::token::TokenKeys;

use crate::directory::Directory;

mod handle;
mod plugins;
mod returns;

pub use crate::directory::{ApiKey, Credential, DkimKey, Domain, MAX_HELD, Tenant, Tracking};
pub use handle::SettingsHandle;
pub use plugins::{FailurePolicy, PluginServer, PluginSettings, RecordSettings, TENANT_CPU};
pub use relevo_delivery::settings::{
    DeliverySettings, EgressGrants, EgressPool, EgressRoute, Network, SmarthostSettings, WarmupSpill,
    any_contains,
};
pub use returns::{FeedbackId, OrdinaryMail, ReturnSettings, SpfFail};

/// Everything that intake and delivery read. Shared behind an `Arc` that a reload swaps; a session
/// or an attempt keeps the one that it began with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name in the greeting, Received and Reporting-MTA.
    pub hostname: String,
    /// Where mail for `<postmaster>` goes.
    pub postmaster: String,
    /// Limits at intake.
    pub intake: IntakeSettings,
    /// How mail leaves.
    pub delivery: DeliverySettings,
    /// Tracking keys. The first signs, all verify.
    pub tracking_keys: TokenKeys,
    /// Limits of clicks and opens.
    pub tracking: TrackingLimits,
    /// The mailbox that takes requests to unsubscribe by mail: the `mailto` of List-Unsubscribe.
    pub unsubscribe_mailbox: Option<String>,
    /// Mail that comes back.
    pub returns: ReturnSettings,
    /// Tenants, domains, credentials and API keys.
    pub directory: Directory,
    /// What holds for all plugins.
    pub plugins: PluginServer,
}

impl DeliveryConfig for Settings {
    fn hostname(&self) -> &str {
        &self.hostname
    }

    fn delivery(&self) -> &DeliverySettings {
        &self.delivery
    }

    /// As at acceptance: those of the sending domain. Where that domain is the tenant's no longer,
    /// what the tenant has counts.
    fn grants(&self, tenant: &str, domain: &str) -> Option<Arc<EgressGrants>> {
        let domain = self.directory.domain(domain).filter(|d| d.tenant == tenant);
        let of_tenant = || self.directory.tenant(tenant).map(|tenant| tenant.grants.clone());
        domain.map(|domain| domain.grants.clone()).or_else(of_tenant)
    }
}

impl ConfigSource for SettingsHandle {
    fn snapshot(&self) -> (u64, Arc<dyn DeliveryConfig>) {
        let (generation, settings) = self.snapshot();
        (generation, settings)
    }
}

/// Limits at intake.
#[derive(Debug, Clone)]
pub struct IntakeSettings {
    /// Octets.
    pub max_message_size: u64,
    /// Of one message.
    pub max_recipients: usize,
    /// Per credential.
    pub recipients_per_hour: u64,
    /// To, Cc, Reply-To, Resent-To and Resent-Cc must parse.
    pub strict_headers: bool,
    /// Peers that may use the relay port.
    pub trusted_networks: Vec<Network>,
}

/// Limits of the clicks and opens that are written. Ten seconds' worth may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackingLimits {
    /// Of one tenant.
    pub events_per_second: u32,
    /// Caused by one client: an IPv4 address or an IPv6 /64.
    pub events_per_second_per_client: u32,
}

impl Default for TrackingLimits {
    fn default() -> Self {
        // An event takes some 120 octets of disk: 200 a second are 2 GB a day. Image proxies of
        // large mailbox providers open the mail of many readers from few addresses.
        Self { events_per_second: 200, events_per_second_per_client: 50 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(names: &[&str]) -> Arc<EgressGrants> {
        Arc::new(EgressGrants {
            pools: names.iter().map(|p| (*p).to_owned()).collect(),
            ..EgressGrants::default()
        })
    }

    #[test]
    fn grants_are_those_of_the_sending_domain_and_else_of_its_tenant() {
        let mut settings = crate::testing::settings();
        settings.directory.edit(|entries| {
            let tenant = entries.by_id.get_mut("acme").map(Arc::make_mut).expect("a tenant");
            tenant.grants = pools(&["own", "bulk"]);
        });
        let domain = |s: &mut Settings, change: &dyn Fn(&mut Domain)| {
            s.directory.edit(|entries| {
                change(entries.by_domain.get_mut("example.com").map(Arc::make_mut).expect("a domain"));
            });
        };
        domain(&mut settings, &|d| d.grants = pools(&["bulk"]));
        let of = |s: &Settings, domain: &str| s.grants("acme", domain).expect("a tenant").pools.join(" ");
        assert_eq!(of(&settings, "example.com"), "bulk");
        assert_eq!(of(&settings, "sub.example.com"), "bulk");
        // The domain is nobody's by now, or somebody else's.
        assert_eq!(of(&settings, "gone.test"), "own bulk");
        domain(&mut settings, &|d| d.tenant = "globex".into());
        assert_eq!(of(&settings, "example.com"), "own bulk");
        assert_eq!(settings.grants("nobody", "gone.test"), None);
    }
}
