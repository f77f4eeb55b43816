//! IP networks in CIDR form.

use std::net::IpAddr;

/// An IP network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// Any address in it.
    pub addr: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

impl Network {
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
    fn families_do_not_mix_but_mapped_counts_as_ipv4() {
        assert!(net("127.0.0.0", 8).contains(ip("::ffff:127.0.0.1")));
        assert!(!net("::", 0).contains(ip("127.0.0.1")));
        assert!(!net("0.0.0.0", 0).contains(ip("::1")));
    }
}
