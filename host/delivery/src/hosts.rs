//! Which addresses an attempt may use: of the next hop, and of ours.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use relevo_resolve::MailRoute;
use relevo_resolve::reach::is_inner;
use relevo_smtp::client::{Auth, Failure, Target, TlsRequirement};

use super::failure;
use super::schedule::spread;
use super::site_id::SiteId;
use super::tls::{HostTls, TlsPlan, TlsSession};
use crate::settings::{DeliverySettings, EgressPool, SmarthostSettings, any_contains};
use crate::shaping::{ChosenSources, Limits, PathKey, Provider, ShapingRules, Sources};

/// The most addresses that one attempt tries.
const MAX_ADDRESSES: usize = 10;

/// Where mail of a site goes.
#[derive(Debug, Clone)]
pub(crate) enum NextHop {
    /// Its MX hosts.
    Mx(Arc<MailRoute>),
    /// The configured host, at these addresses.
    Smarthost(Arc<SmarthostSettings>, Arc<[IpAddr]>),
}

/// How connections to a site are made.
#[derive(Debug, Clone)]
pub(crate) struct NextHopPath {
    /// Where to.
    pub(crate) next_hop: NextHop,
    /// Where from; none: as `[delivery]` says.
    pub(crate) pool: Option<Arc<EgressPool>>,
    /// What it is shaped by.
    pub(crate) shaping: Arc<PathShaping>,
}

/// What mail over a path is shaped by.
#[derive(Debug)]
pub(crate) struct PathShaping {
    /// The pool and the provider.
    pub(crate) key: Arc<PathKey>,
    /// The provider with its rules.
    pub(crate) provider: Arc<Provider>,
    /// Whether the hosts have addresses for IPv4 and IPv6.
    families: (bool, bool),
    /// Says from which address the first connection of the site leaves.
    first: u64,
}

/// The source addresses of `[delivery]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UsualSources {
    ipv4: Option<IpAddr>,
    ipv6: Option<IpAddr>,
}

impl From<&DeliverySettings> for UsualSources {
    fn from(settings: &DeliverySettings) -> Self {
        Self { ipv4: settings.source_ipv4, ipv6: settings.source_ipv6 }
    }
}

/// Where a connection leaves from, and by which name it greets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Egress {
    ipv4: Option<IpAddr>,
    ipv6: Option<IpAddr>,
    /// Without an address of its own family a target is left out: what is a pool's leaves from
    /// nowhere else.
    pool: Option<String>,
    /// The argument of EHLO.
    pub(crate) ehlo: String,
}

impl NextHopPath {
    /// Of a site.
    pub(crate) fn new(
        next_hop: NextHop,
        pool: Option<Arc<EgressPool>>,
        site: &SiteId,
        rules: &ShapingRules,
    ) -> Self {
        let provider = rules.provider(next_hop.names());
        let key = PathKey {
            provider: provider.name.clone(),
            pool: pool.as_ref().map(|pool| pool.name.clone()).unwrap_or_default(),
        };
        let first = site.to_string().bytes().fold(0, |hash, octet| spread(hash ^ u64::from(octet)));
        let families = next_hop.families();
        let shaping = PathShaping { key: Arc::new(key), provider, families, first };
        Self { next_hop, pool, shaping: Arc::new(shaping) }
    }

    /// The addresses that mail may leave from. Connections are numbered, and `moved_on` is by how
    /// many numbers they are past addresses that cannot be used.
    ///
    /// The same site and number leave from the same address for as long as the pool has the same
    /// addresses, and they can be sent from: a site that needs one connection always sees one
    /// address, further connections take the next ones in turn, and sites begin at different
    /// places.
    pub(crate) fn sources<'a>(&'a self, usual: &'a UsualSources, moved_on: usize) -> Sources<'a> {
        let first = self.shaping.first.wrapping_add(moved_on as u64);
        let families = self.shaping.families;
        match &self.pool {
            Some(pool) => Sources {
                pool: &pool.name,
                ipv4: &pool.source_ipv4,
                ipv6: &pool.source_ipv6,
                families,
                first,
                warmup: pool.warmup,
            },
            None => Sources {
                pool: "",
                ipv4: usual.ipv4.as_slice(),
                ipv6: usual.ipv6.as_slice(),
                families,
                first,
                warmup: false,
            },
        }
    }

    /// What the provider allows.
    pub(crate) fn limits(&self) -> &Limits {
        &self.shaping.provider.limits
    }

    /// For a connection from these addresses.
    pub(crate) fn egress(&self, settings: &DeliverySettings, chosen: ChosenSources) -> Egress {
        let ehlo = self.pool.as_ref().and_then(|pool| pool.ehlo.clone());
        Egress {
            ipv4: chosen.ipv4,
            ipv6: chosen.ipv6,
            pool: self.pool.as_ref().map(|pool| pool.name.clone()),
            ehlo: ehlo.unwrap_or_else(|| settings.ehlo.clone()),
        }
    }
}

impl Egress {
    /// How a receiver sees us, as far as it was configured: the name of EHLO, and source addresses.
    pub(crate) fn own_names(&self) -> Vec<String> {
        let addresses = [self.ipv4, self.ipv6].into_iter().flatten().map(|ip| ip.to_string());
        std::iter::once(self.ehlo.clone()).chain(addresses).collect()
    }

    /// The address that a connection to `ip` leaves from, where one was chosen.
    pub(crate) fn source_for(&self, ip: IpAddr) -> Option<IpAddr> {
        if ip.to_canonical().is_ipv4() { self.ipv4 } else { self.ipv6 }
    }

    /// The address for a target; an error when there is none in its family and must be.
    fn address(&self, host: &str, ip: IpAddr) -> Result<Option<IpAddr>, Failure> {
        let source = if ip.is_ipv4() { self.ipv4 } else { self.ipv6 };
        match (&self.pool, source) {
            (Some(pool), None) => {
                let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                let detail = format!("pool {pool} has no {family} address to reach {host} [{ip}] from");
                Err(failure::ours(failure::MISCONFIGURED, detail))
            }
            _ => Ok(source),
        }
    }
}

/// The addresses to be tried, in order; or why there is none.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// Never more than 10.
    pub(crate) targets: Vec<Target>,
    /// Why others are left out; what the attempt ends in when no target works and none was tried.
    /// That we have no source for a family says nothing about a host that has both: it is named
    /// only when there is no target at all.
    pub(crate) refused: Option<Failure>,
}

impl NextHop {
    /// The names of its hosts, in their order.
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Mx(route) => route.hosts.iter().map(|host| host.name.as_str()).collect(),
            Self::Smarthost(smarthost, _) => vec![smarthost.host.as_str()],
        }
    }

    /// Whether there are addresses for IPv4 and for IPv6; both, if there is none yet.
    fn families(&self) -> (bool, bool) {
        let addresses: Vec<IpAddr> = match self {
            Self::Mx(route) => route.hosts.iter().flat_map(|host| host.addresses.iter().copied()).collect(),
            Self::Smarthost(_, addresses) => addresses.to_vec(),
        };
        let (ipv4, ipv6) = (addresses.iter().any(IpAddr::is_ipv4), addresses.iter().any(IpAddr::is_ipv6));
        if ipv4 || ipv6 { (ipv4, ipv6) } else { (true, true) }
    }

    /// Credentials for it.
    pub(crate) fn auth(&self) -> Option<&Auth> {
        match self {
            Self::Mx(_) => None,
            Self::Smarthost(smarthost, _) => smarthost.auth.as_ref(),
        }
    }

    /// What an attempt may use, with the TLS that its mail needs. `network` is false for a capture,
    /// whose addresses mean nothing.
    pub(crate) fn candidates(
        &self,
        tls: &dyn TlsPlan,
        settings: &DeliverySettings,
        source: &Egress,
        network: bool,
    ) -> Candidates {
        match self {
            Self::Mx(route) => of_route(route, tls, settings, source, network),
            Self::Smarthost(smarthost, addresses) => of_smarthost(smarthost, addresses, tls, source),
        }
    }
}

fn of_smarthost(
    smarthost: &SmarthostSettings,
    addresses: &[IpAddr],
    tls: &dyn TlsPlan,
    source: &Egress,
) -> Candidates {
    let SmarthostSettings { host, port, .. } = smarthost;
    let (mut targets, mut no_source) = (Vec::new(), None);
    let tls = match tls.of(host) {
        HostTls::Connect(needed) => needed,
        HostTls::Refuse(why) => return Candidates { targets, refused: Some(why) },
    };
    let refused =
        addresses.is_empty().then(|| failure::ours(failure::DIRECTORY, format!("{host} has no address")));
    for ip in addresses {
        match source.address(host, *ip) {
            Ok(source) => targets.push(target(host, SocketAddr::new(*ip, *port), &tls, source)),
            Err(why) => no_source = Some(why),
        }
    }
    candidates(targets, refused, no_source)
}

fn of_route(
    route: &MailRoute,
    tls: &dyn TlsPlan,
    settings: &DeliverySettings,
    source: &Egress,
    network: bool,
) -> Candidates {
    let (mut targets, mut no_source) = (Vec::new(), None);
    let mut refused: Option<Failure> = None;
    for host in &route.hosts {
        if host.addresses.is_empty() {
            let why = if host.temporary {
                failure::ours(
                    failure::DIRECTORY,
                    format!("the address of {} could not be looked up", host.name),
                )
            } else {
                failure::ours(failure::UNROUTABLE, format!("{} has no address", host.name))
            };
            refused = Some(milder(refused, why));
        }
        let needed = match tls.of(&host.name) {
            HostTls::Connect(needed) => needed,
            HostTls::Refuse(why) => {
                tls.note(&TlsSession { host: &host.name, ip: None, source: None, result: Err(&why) });
                refused = Some(milder(refused, why));
                continue;
            }
        };
        for ip in &host.addresses {
            if let Err(why) = check(&host.name, *ip, settings, network) {
                refused = Some(milder(refused, why));
                continue;
            }
            match source.address(&host.name, *ip) {
                Ok(source) => {
                    let addr = SocketAddr::new(*ip, settings.port);
                    targets.push(target(&host.name, addr, &needed, source));
                }
                Err(why) => no_source = Some(why),
            }
        }
    }
    candidates(targets, refused, no_source)
}

fn candidates(
    mut targets: Vec<Target>,
    mut refused: Option<Failure>,
    no_source: Option<Failure>,
) -> Candidates {
    if targets.is_empty()
        && let Some(why) = no_source
    {
        refused = Some(milder(refused, why));
    }
    targets.truncate(MAX_ADDRESSES);
    Candidates { targets, refused }
}

/// A temporary reason leaves hope: it wins over a permanent one.
fn milder(a: Option<Failure>, b: Failure) -> Failure {
    match a {
        Some(a) if !a.permanent || b.permanent => a,
        _ => b,
    }
}

/// No mail loop through ourselves, and no reaching inward on the word of somebody's DNS.
fn check(host: &str, ip: IpAddr, settings: &DeliverySettings, network: bool) -> Result<(), Failure> {
    if !network {
        return Ok(());
    }
    if is_ourselves(ip, settings.port, &settings.own_addresses) {
        return Err(failure::ours(failure::LOOP, format!("{host} [{ip}] is this host")));
    }
    if is_inner(ip) && !is_documentation(ip) && !any_contains(&settings.allow_networks, ip) {
        return Err(failure::ours(
            failure::UNROUTABLE,
            format!("{host} [{ip}] is a private, loopback or reserved address"),
        ));
    }
    Ok(())
}

/// Addresses of examples (RFC 5737, RFC 3849) belong to nobody: unreachable, rather than forbidden.
fn is_documentation(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_documentation(),
        IpAddr::V6(ip) => ip.segments()[..2] == [0x2001, 0xdb8],
    }
}

/// A listener on the unspecified address is every loopback address too; which other addresses are
/// ours we learn from the listeners that name them.
fn is_ourselves(ip: IpAddr, port: u16, own: &[SocketAddr]) -> bool {
    let ip = ip.to_canonical();
    own.iter().filter(|own| own.port() == port).any(|own| {
        let own = own.ip().to_canonical();
        own == ip || ip.is_unspecified() || (own.is_unspecified() && ip.is_loopback())
    })
}

fn target(host: &str, addr: SocketAddr, tls: &TlsRequirement, source: Option<IpAddr>) -> Target {
    Target { host: host.to_owned(), addr, source, tls: tls.clone() }
}

#[cfg(test)]
mod tests {
    use relevo_smtp::client::{TlsPolicy, TlsReason};

    use super::*;

    struct Opportunistic;

    impl TlsPlan for Opportunistic {
        fn of(&self, _: &str) -> HostTls {
            HostTls::Connect(TlsRequirement::new(TlsPolicy::Opportunistic, TlsReason::ByMx))
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn path(pool: Option<EgressPool>) -> NextHopPath {
        let route = MailRoute { hosts: vec![], site: "s".into(), ttl: Default::default(), implicit: false };
        let rules = ShapingRules::default();
        NextHopPath::new(NextHop::Mx(Arc::new(route)), pool.map(Arc::new), &"s".into(), &rules)
    }

    /// The addresses of connection `slot` to `site`.
    fn egress(path: &NextHopPath, settings: &DeliverySettings, site: &str, slot: u64) -> Egress {
        let rules = ShapingRules::default();
        let path = NextHopPath::new(path.next_hop.clone(), path.pool.clone(), &site.into(), &rules);
        let (usual, shaping) = (settings.into(), crate::shaping::Shaping::default());
        let sources = path.sources(&usual, 0);
        let chosen = shaping.admit(&path.shaping.key, &path.shaping.provider, &sources, slot, 0);
        path.egress(settings, chosen.expect("nothing is held"))
    }

    fn pool() -> EgressPool {
        EgressPool {
            name: "bulk".into(),
            source_ipv4: ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(ip).to_vec(),
            source_ipv6: vec![],
            ehlo: None,
            connections_per_site: None,
            warmup: false,
            warmup_spill: None,
        }
    }

    #[test]
    fn a_slot_keeps_its_address_and_slots_take_turns() {
        let settings = crate::testing::settings();
        let path = path(Some(pool()));
        let slot = |site: &str, n| egress(&path, &settings, site, n).ipv4.expect("one");
        let all: std::collections::BTreeSet<_> = (0..3).map(|n| slot("mx.test", n)).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(slot("mx.test", 0), slot("mx.test", 3));
        let firsts: std::collections::BTreeSet<_> = (0..40).map(|n| slot(&format!("{n}.test"), 0)).collect();
        assert_eq!(firsts.len(), 3, "sites begin at different addresses");
    }

    #[test]
    fn a_missing_family_is_named_only_when_nothing_else_is_left() {
        let settings = crate::testing::settings();
        let source = egress(&path(Some(pool())), &settings, "s", 0);
        let smarthost = SmarthostSettings { host: "h".into(), port: 25, tls: TlsPolicy::None, auth: None };
        let tls = Opportunistic;
        let of = |addresses: &[&str]| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|a| ip(a)).collect();
            let host = relevo_resolve::MailHost {
                name: "mx".into(),
                preference: 10,
                addresses: addresses.clone(),
                temporary: false,
            };
            let route =
                MailRoute { hosts: vec![host], site: "s".into(), ttl: Default::default(), implicit: false };
            [
                of_route(&route, &tls, &settings, &source, true),
                of_smarthost(&smarthost, &addresses, &tls, &source),
            ]
            .map(|c| (c.targets.len(), c.refused.map(|f| f.status)))
        };
        assert_eq!(of(&["2001:db8::7", "192.0.2.9"]), [(1, None), (1, None)]);
        let missing = (0, Some(failure::MISCONFIGURED));
        assert_eq!(of(&["2001:db8::7"]), [missing, missing]);
        // What leaves hope wins over what does not.
        assert_eq!(of(&["10.0.0.1", "2001:db8::7"])[0], missing);
    }

    #[test]
    fn a_pool_without_a_family_reaches_nothing_of_it() {
        let mut settings = crate::testing::settings();
        settings.source_ipv6 = Some(ip("2001:db8::1"));
        let source = egress(&path(Some(pool())), &settings, "s", 0);
        let failure = source.address("mx", ip("2001:db8::7")).expect_err("no address");
        assert_eq!((failure.permanent, failure.status), (false, failure::MISCONFIGURED));
        let plain = egress(&path(None), &settings, "s", 0);
        assert_eq!(plain.address("mx", ip("2001:db8::7")).expect("as configured"), settings.source_ipv6);
        assert_eq!(plain.address("mx", ip("192.0.2.9")).expect("the system's choice"), None);
    }
}
