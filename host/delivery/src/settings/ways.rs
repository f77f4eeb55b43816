//! The ways by which mail leaves: pools of source addresses, routes to the next hop, and what of
//! them whom is granted.

use std::net::IpAddr;

use relevo_queue::{MAX_PRIORITY, Priority};

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
}

/// `[[route]]`: a way to the next hop.
#[derive(Debug, Clone)]
pub struct EgressRoute {
    /// As configured.
    pub name: String,
    /// The next hop; none: the MX hosts, whatever `[delivery]` says.
    pub smarthost: Option<SmarthostSettings>,
}

/// What attributes of a message may bring about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EgressGrants {
    /// Names of pools. The first is for mail that names none.
    pub pools: Vec<String>,
    /// Names of routes. Mail that names none goes as `[delivery]` says.
    pub routes: Vec<String>,
    /// The highest priority; its negative is the lowest.
    pub max_priority: Priority,
}

impl EgressGrants {
    /// Whether a message may have this attribute: one without an effect always, `pool`, `route` and
    /// `priority` as granted.
    #[must_use]
    pub fn allow(&self, name: &str, value: &str) -> bool {
        match name {
            POOL => self.pools.iter().any(|pool| pool == value),
            ROUTE => self.routes.iter().any(|route| route == value),
            PRIORITY => priority(value).is_some_and(|p| p.unsigned_abs() <= self.max_priority.unsigned_abs()),
            _ => true,
        }
    }
}

/// The attribute that names a pool; one of three with an effect
/// (`wit/relevo-policy-0.1.0/types.wit`, `decision`).
pub const POOL: &str = "pool";
/// The attribute that names a route.
pub const ROUTE: &str = "route";
/// The attribute that holds a priority.
pub const PRIORITY: &str = "priority";

/// A decimal number that is a priority.
#[must_use]
pub fn priority(value: &str) -> Option<Priority> {
    value.parse().ok().filter(|p| (-MAX_PRIORITY..=MAX_PRIORITY).contains(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_granted_has_an_effect() {
        let grants =
            EgressGrants { pools: vec!["a".into(), "b".into()], routes: vec!["r".into()], max_priority: 3 };
        let allowed = |name, value| grants.allow(name, value);
        assert!(allowed("pool", "b") && !allowed("pool", "r") && !allowed("pool", ""));
        assert!(allowed("route", "r") && !allowed("route", "a"));
        for (value, want) in [
            ("3", true),
            ("-3", true),
            ("0", true),
            ("4", false),
            ("-4", false),
            ("high", false),
            ("", false),
            ("-128", false),
        ] {
            assert_eq!(allowed("priority", value), want, "{value}");
        }
        assert!(allowed("campaign", "anything"));
        let none = EgressGrants::default();
        assert!(!none.allow("pool", "a") && !none.allow("priority", "1") && none.allow("priority", "0"));
    }
}
