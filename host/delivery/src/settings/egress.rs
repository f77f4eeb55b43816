//! Egress: pools of source addresses and routes to the next hop.

use std::net::IpAddr;

pub use relevo_submission::egress::{EgressGrants, POOL, PRIORITY, ROUTE, priority};

use super::SmarthostSettings;

/// `[[pool]]`: addresses to send from, and what belongs to them. Connections, their number and the
/// health of a site are those of a pool: pools share none of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressPool {
    /// As configured: lower case letters, digits, hyphens, underscores.
    pub name: String,
    /// Sources for IPv4; none: hosts are not spoken to over IPv4 from this pool.
    pub source_ipv4: Vec<IpAddr>,
    /// Sources for IPv6; likewise.
    pub source_ipv6: Vec<IpAddr>,
    /// Argument of EHLO; none: that of `[delivery]`.
    pub ehlo: Option<String>,
    /// Simultaneous connections to one site from this pool; none: as `[delivery]` says.
    pub connections_per_site: Option<usize>,
    /// Whether the addresses are new, and send a few more each day to each provider.
    pub warmup: bool,
    /// What takes the mail that is beyond the caps of warm-up; none: it waits for the next day.
    pub warmup_spill: Option<WarmupSpill>,
}

/// What takes the mail of a pool that is beyond its caps of warm-up. Tenants need no grant of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarmupSpill {
    /// Another pool.
    Pool(String),
    /// A route, from the addresses of `[delivery]`.
    Route(String),
}

/// `[[route]]`: a named next hop.
#[derive(Debug, Clone)]
pub struct EgressRoute {
    /// As configured.
    pub name: String,
    /// The next hop; none: the MX hosts, whatever `[delivery]` says.
    pub smarthost: Option<SmarthostSettings>,
}
