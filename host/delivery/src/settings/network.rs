//! IP networks in CIDR form.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// An IP network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// Any address in it.
    pub addr: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

impl Network {
    /// The network that one client usually has to itself: an IPv4 address, or the /64 of an IPv6
    /// address. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn of_client(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            addr @ IpAddr::V4(_) => Self { addr, prefix: 32 },
            IpAddr::V6(v6) => {
                let bits = v6.to_bits() >> 64 << 64;
                Self { addr: IpAddr::V6(Ipv6Addr::from_bits(bits)), prefix: 64 }
            }
        }
    }

    /// Whether `ip` is in it. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.addr.to_canonical(), ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32_u32.saturating_sub(self.prefix.into());
                (net.to_bits() ^ ip.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128_u32.saturating_sub(self.prefix.into());
                (net.to_bits() ^ ip.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// A text that is no network such as `10.1.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no network such as 10.1.0.0/16")]
pub struct InvalidNetwork;

/// CIDR; an address alone is a network of one.
impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (addr, prefix) = text.split_once('/').unzip();
        let addr: IpAddr = addr.unwrap_or(text).parse().map_err(|_| InvalidNetwork)?;
        let longest = if addr.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| InvalidNetwork))?;
        if prefix <= longest { Ok(Self { addr, prefix }) } else { Err(InvalidNetwork) }
    }
}

/// Whether `ip` is in one of `networks`.
#[must_use]
pub fn any_contains(networks: &[Network], ip: IpAddr) -> bool {
    networks.iter().any(|n| n.contains(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(addr: &str, prefix: u8) -> Network {
        Network { addr: addr.parse().expect("address"), prefix }
    }

    fn ip(s: &str) -> IpAddr {
        s.parse().expect("address")
    }

    #[test]
    fn a_text_is_an_address_with_a_prefix_that_it_can_have() {
        assert_eq!("10.1.0.0/16".parse(), Ok(net("10.1.0.0", 16)));
        assert_eq!("192.0.2.1".parse(), Ok(net("192.0.2.1", 32)));
        assert_eq!("2001:db8::/32".parse(), Ok(net("2001:db8::", 32)));
        assert_eq!("::1".parse(), Ok(net("::1", 128)));
        for bad in ["", "10.1.0.0/33", "10.1.0.0/", "/8", "10.1.0.0/16/1", "::/129", "host/8", "10.0.0.0/-1"]
        {
            assert_eq!(bad.parse::<Network>(), Err(InvalidNetwork), "{bad}");
        }
    }

    #[test]
    fn prefix_bounds() {
        assert!(net("10.1.2.3", 16).contains(ip("10.1.255.255")));
        assert!(!net("10.1.0.0", 16).contains(ip("10.2.0.0")));
        assert!(net("0.0.0.0", 0).contains(ip("255.1.2.3")));
        assert!(net("192.0.2.1", 32).contains(ip("192.0.2.1")));
        assert!(!net("192.0.2.1", 32).contains(ip("192.0.2.0")));
        assert!(net("::1", 128).contains(ip("::1")));
        assert!(net("2001:db8::", 32).contains(ip("2001:db8:ffff::1")));
        assert!(!net("2001:db8::", 32).contains(ip("2001:db9::")));
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_64() {
        let client = |s| Network::of_client(ip(s));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_ne!(client("::"), client("0.0.0.0"));
    }

    #[test]
    fn families_do_not_mix_but_mapped_counts_as_ipv4() {
        assert!(net("127.0.0.0", 8).contains(ip("::ffff:127.0.0.1")));
        assert!(!net("::", 0).contains(ip("127.0.0.1")));
        assert!(!net("0.0.0.0", 0).contains(ip("::1")));
    }
}
