//! Which addresses of a route an attempt may use.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use relevo_resolve::Route;
use relevo_resolve::reach::is_inner;
use relevo_smtp::client::{Auth, Failure, Target, TlsPolicy};

use super::failure;
use crate::settings::{DeliverySettings, Smarthost, any_contains};

/// The most addresses that one attempt tries.
const MAX_ADDRESSES: usize = 10;

/// Where mail of a site goes.
#[derive(Debug, Clone)]
pub(crate) enum NextHop {
    /// Its MX hosts.
    Mx(Arc<Route>),
    /// The configured host, at these addresses.
    Smarthost(Arc<Smarthost>, Arc<[IpAddr]>),
}

/// The addresses to be tried, in order; or why there is none.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// Never more than 10.
    pub(crate) targets: Vec<Target>,
    /// Why others are left out; what the attempt ends in when no target works and none was tried.
    pub(crate) refused: Option<Failure>,
}

impl NextHop {
    /// Credentials for it.
    pub(crate) fn auth(&self) -> Option<&Auth> {
        match self {
            Self::Mx(_) => None,
            Self::Smarthost(smarthost, _) => smarthost.auth.as_ref(),
        }
    }

    /// What an attempt may use. `network` is false for a capture, whose addresses mean nothing.
    pub(crate) fn candidates(&self, settings: &DeliverySettings, network: bool) -> Candidates {
        match self {
            Self::Mx(route) => of_route(route, settings, network),
            Self::Smarthost(smarthost, addresses) => Candidates {
                targets: addresses
                    .iter()
                    .take(MAX_ADDRESSES)
                    .map(|ip| target(&smarthost.host, *ip, smarthost.port, smarthost.tls, settings))
                    .collect(),
                refused: addresses
                    .is_empty()
                    .then(|| failure::ours(failure::DIRECTORY, format!("{} has no address", smarthost.host))),
            },
        }
    }
}

fn of_route(route: &Route, settings: &DeliverySettings, network: bool) -> Candidates {
    let mut targets = Vec::new();
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
        for ip in &host.addresses {
            match check(&host.name, *ip, settings, network) {
                Ok(()) => {
                    targets.push(target(&host.name, *ip, settings.port, TlsPolicy::Opportunistic, settings))
                }
                Err(why) => refused = Some(milder(refused, why)),
            }
        }
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

/// A listener on the unspecified address is every loopback address too; which other addresses are ours we learn from the
/// listeners that name them.
fn is_ourselves(ip: IpAddr, port: u16, own: &[SocketAddr]) -> bool {
    let ip = ip.to_canonical();
    own.iter().filter(|own| own.port() == port).any(|own| {
        let own = own.ip().to_canonical();
        own == ip || ip.is_unspecified() || (own.is_unspecified() && ip.is_loopback())
    })
}

fn target(host: &str, ip: IpAddr, port: u16, tls: TlsPolicy, settings: &DeliverySettings) -> Target {
    let source = if ip.is_ipv4() { settings.source_ipv4 } else { settings.source_ipv6 };
    Target { host: host.to_owned(), addr: SocketAddr::new(ip, port), source, tls }
}
