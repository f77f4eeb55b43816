//! What an operator configured, checked and resolved. Made by the binary from `relevo.toml`; replaced as a whole on reload.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relevo_delivery::settings::{Config, ConfigSource};
use relevo_keys::SigningKey;
use relevo_mailkit::token::TokenKeys;

mod handle;
mod plugins;

pub use handle::SettingsHandle;
pub use plugins::{FailurePolicy, PluginServer, PluginSettings, RecordSettings, TENANT_CPU};
pub use relevo_delivery::settings::{
    DeliverySettings, Grants, Network, Pool, Route, Smarthost, any_contains,
};

/// Everything that intake and delivery read. Shared behind an `Arc` that a reload swaps; a session or an attempt keeps the
/// one that it began with.
#[derive(Debug)]
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
    /// Tenants and their domains.
    pub tenants: Tenants,
    /// What holds for all plugins.
    pub plugins: PluginServer,
}

impl Config for Settings {
    fn hostname(&self) -> &str {
        &self.hostname
    }

    fn delivery(&self) -> &DeliverySettings {
        &self.delivery
    }

    /// As at acceptance: those of the sending domain. Where that domain is the tenant's no longer, what the tenant has
    /// counts.
    fn grants(&self, tenant: &str, domain: &str) -> Option<Arc<Grants>> {
        let domain = self.tenants.domain(domain).filter(|d| d.tenant == tenant);
        let of_tenant = || self.tenants.by_id.get(tenant).map(|tenant| tenant.grants.clone());
        domain.map(|domain| domain.grants.clone()).or_else(of_tenant)
    }
}

impl ConfigSource for SettingsHandle {
    fn snapshot(&self) -> (u64, Arc<dyn Config>) {
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

/// All tenants, and who owns which domain.
#[derive(Debug, Default)]
pub struct Tenants {
    /// By id.
    pub by_id: HashMap<String, Arc<Tenant>>,
    /// By configured domain name (lower case A-labels). A name covers its subdomains unless a more specific one is here.
    pub by_domain: HashMap<String, Arc<Domain>>,
    /// By SMTP user name.
    pub by_username: HashMap<String, Credential>,
    /// By SHA-256 of the API key.
    pub by_api_key: HashMap<[u8; 32], ApiKey>,
    /// Tracking hosts (authority in lower case, with port when not the default) and the tenant that owns them.
    pub by_tracking_host: HashMap<String, String>,
}

impl Tenants {
    /// The most specific configured domain that is or covers `domain` (lower case A-labels).
    #[must_use]
    pub fn domain(&self, domain: &str) -> Option<&Arc<Domain>> {
        let mut name = domain;
        loop {
            if let Some(found) = self.by_domain.get(name) {
                return Some(found);
            }
            name = name.split_once('.')?.1;
        }
    }
}

/// A customer.
#[derive(Debug)]
pub struct Tenant {
    /// As configured: lower case letters, digits, hyphens.
    pub id: String,
    /// Who may use its domains on the relay port; empty: every trusted network.
    pub networks: Vec<Network>,
    /// Deliveries that plugins may hold at the same time.
    pub max_held: u64,
    /// Its policy plugins, in the order in which they are asked.
    pub plugins: Vec<Arc<PluginSettings>>,
    /// Pools, routes and priorities that it may use.
    pub grants: Arc<Grants>,
}

/// Deliveries of a tenant that may be held, unless set otherwise.
pub const MAX_HELD: u64 = 1_000;

/// An SMTP credential.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Its owner.
    pub tenant: String,
    /// Argon2id in PHC form.
    pub password_hash: String,
}

/// An HTTP API key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its owner.
    pub tenant: String,
    /// For logs.
    pub name: String,
}

/// A sending domain.
#[derive(Debug)]
pub struct Domain {
    /// Lower case A-labels.
    pub name: String,
    /// Its owner.
    pub tenant: String,
    /// Keys to sign with; every one signs.
    pub dkim: Vec<DkimKey>,
    /// Absent: off.
    pub tracking: Option<Tracking>,
    /// Those of its tenant; pools may be fewer, or in another order.
    pub grants: Arc<Grants>,
}

/// A DKIM key of a domain.
#[derive(Debug, Clone)]
pub struct DkimKey {
    /// s=
    pub selector: String,
    /// The key; knows its algorithm.
    pub key: Arc<SigningKey>,
    /// x= as time after t=; none: no x=.
    pub signature_lifetime: Option<Duration>,
}

/// Tracking of a domain.
#[derive(Debug, Clone)]
pub struct Tracking {
    /// Scheme and authority (`https://t.example.com`), no path, no trailing slash.
    pub url: String,
    /// Insert the pixel.
    pub opens: bool,
    /// Rewrite links.
    pub clicks: bool,
    /// Also in text/plain.
    pub text_links: bool,
    /// Rewrite mail that carries a DKIM-Signature already.
    pub rewrite_signed: bool,
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
        // An event takes some 120 octets of disk: 200 a second are 2 GB a day. Image proxies of large mailbox providers open
        // the mail of many readers from few addresses.
        Self { events_per_second: 200, events_per_second_per_client: 50 }
    }
}

/// Where things lie.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The data directory.
    pub data: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(names: &[&str]) -> Arc<Grants> {
        Arc::new(Grants { pools: names.iter().map(|p| (*p).to_owned()).collect(), ..Grants::default() })
    }

    #[test]
    fn grants_are_those_of_the_sending_domain_and_else_of_its_tenant() {
        let mut settings = crate::testing::settings();
        let tenant = settings.tenants.by_id.get_mut("acme").and_then(Arc::get_mut).expect("a tenant");
        tenant.grants = pools(&["own", "bulk"]);
        let domain = |s: &mut Settings, change: &dyn Fn(&mut Domain)| {
            change(s.tenants.by_domain.get_mut("example.com").and_then(Arc::get_mut).expect("a domain"));
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
