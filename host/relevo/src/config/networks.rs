//! How much of the Internet networks that are trusted hold together.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use relevo_relay::settings::Network;

use super::document::{Document, FileSpan};
use super::values::List;

/// A network with a shorter prefix than these is nobody's own: a sixty-fourth of IPv4, and more than
/// any provider has of IPv6.
const SHORTEST_IPV4: u8 = 6;
const SHORTEST_IPV6: u8 = 12;
/// Unique local addresses (RFC 4193) are not of the Internet.
const LOCAL_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0));

/// Notes a mistake where networks, alone or beside each other, are too much to be trusted. `why` says
/// what comes of it.
pub(super) fn check_trusted(d: &mut Document<'_>, networks: &List<Network>, why: &str) {
    let spans: Vec<(IpNet, FileSpan)> = networks
        .iter()
        .filter_map(|at| Some((IpNet::new(at.value.addr, at.value.prefix).ok()?.trunc(), at.span)))
        .collect();
    let together = IpNet::aggregate(&spans.iter().map(|(network, _)| *network).collect());
    for large in together.into_iter().filter(is_too_large) {
        let Some((first, span)) = spans.iter().find(|(network, _)| large.contains(network)) else { continue };
        let what = match large.prefix_len() {
            0 => "the whole Internet".to_owned(),
            _ => format!("{large}, a large part of the Internet"),
        };
        let beside = if *first == large { "" } else { " with the networks beside it" };
        d.mistake(*span, format!("trusts {what}{beside}: {why}"));
    }
}

fn is_too_large(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < SHORTEST_IPV4,
        IpNet::V6(network) => {
            network.prefix_len() < SHORTEST_IPV6
                && !(network.prefix_len() >= 7 && IpAddr::V6(network.network()) == LOCAL_IPV6)
        }
    }
}
