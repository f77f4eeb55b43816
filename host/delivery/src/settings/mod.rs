//! What delivery reads of the configuration.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use relevo_resolve::IpFamily;
use relevo_smtp::client::{Auth, TlsPolicy};

use crate::shaping::ShapingRules;

mod egress;
mod network;

pub use egress::{EgressGrants, EgressPool, EgressRoute, POOL, PRIORITY, ROUTE, WarmupSpill, priority};
pub use network::{InvalidNetwork, Network, any_contains};

/// One snapshot of the configuration. It does not change while an attempt holds it.
pub trait DeliveryConfig: Send + Sync {
    /// Our name, for Reporting-MTA.
    fn hostname(&self) -> &str;

    /// How mail leaves.
    fn delivery(&self) -> &DeliverySettings;

    /// What mail of `tenant` from the configured domain `domain` may use. None when there is no
    /// such tenant any more.
    fn grants(&self, tenant: &str, domain: &str) -> Option<Arc<EgressGrants>>;
}

/// Gives the configuration in force.
pub trait ConfigSource: Send + Sync {
    /// The configuration in force, and how many came before it: what was derived from an older one
    /// is stale.
    fn snapshot(&self) -> (u64, Arc<dyn DeliveryConfig>);
}

/// How mail leaves.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// 25; tests use another.
    pub port: u16,
    /// Address families.
    pub ip: IpFamily,
    /// Source for IPv4.
    pub source_ipv4: Option<IpAddr>,
    /// Source for IPv6.
    pub source_ipv6: Option<IpAddr>,
    /// Argument of EHLO.
    pub ehlo: String,
    /// Inner addresses that may be MX targets.
    pub allow_networks: Vec<Network>,
    /// Addresses that are ourselves (listeners): never a target.
    pub own_addresses: Vec<SocketAddr>,
    /// Delays after the first, second, ... attempt; the last repeats.
    pub retry: Vec<Duration>,
    /// After this a message is given up.
    pub expire: Duration,
    /// After this a sender that asked for it is told that its message still waits.
    pub delay_report: Duration,
    /// Where everything goes, instead of MX.
    pub smarthost: Option<SmarthostSettings>,
    /// Pools of source addresses by name.
    pub pools: HashMap<String, Arc<EgressPool>>,
    /// Routes to the next hop by name.
    pub routes: HashMap<String, Arc<EgressRoute>>,
    /// Simultaneous connections to one site.
    pub connections_per_site: usize,
    /// Simultaneous attempts in all.
    pub max_connections: usize,
    /// Messages over one connection.
    pub messages_per_connection: usize,
    /// Recipients in one transaction; the rest goes in another.
    pub recipients_per_transaction: usize,
    /// What is said by SMTP is written into the events of attempts.
    pub record_conversations: bool,
    /// What providers allow, and what their refusals lead to. The limits above are bounds of it.
    pub shaping: Arc<ShapingRules>,
}

impl DeliverySettings {
    /// Returns true if mail leaves from this address, as far as the settings say.
    pub(crate) fn has_source(&self, ip: IpAddr) -> bool {
        let of_pool =
            |pool: &Arc<EgressPool>| pool.source_ipv4.contains(&ip) || pool.source_ipv6.contains(&ip);
        [self.source_ipv4, self.source_ipv6].contains(&Some(ip)) || self.pools.values().any(of_pool)
    }
}

/// A static next hop.
#[derive(Debug, Clone)]
pub struct SmarthostSettings {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How to use TLS.
    pub tls: TlsPolicy,
    /// Credentials.
    pub auth: Option<Auth>,
}
