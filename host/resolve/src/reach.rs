//! Which addresses lie inside: a stranger's DNS must not make us speak to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is not a public unicast address: loopback, private, shared (RFC 6598),
/// link-local, multicast, unspecified, benchmarking, documentation, reserved. An IPv4 address
/// within an IPv6 address (mapped, compatible, NAT64, 6to4) counts as itself.
#[must_use]
pub fn is_inner(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_inner_v4(v4),
        IpAddr::V6(v6) => embedded(v6).map_or_else(|| is_inner_v6(v6), is_inner_v4),
    }
}

/// The registry of RFC 6890.
fn is_inner_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
        || a >= 224
}

/// Public unicast is 2000::/3, without documentation, benchmarking, ORCHID and Teredo.
fn is_inner_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    s[0] & 0xe000 != 0x2000
        || (s[0] == 0x2001 && (s[1] == 0x0db8 || s[1] < 0x0200))
        || (s[0] == 0x3fff && s[1] < 0x1000)
}

fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        // ::1 and :: are no IPv4 addresses; 0.0.0.x is inner either way.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_and_outer() {
        for inner in [
            "127.0.0.1",
            "127.255.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2001:10::1",
            "3fff::1",
            "100::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "64:ff9b:1::1",
        ] {
            assert!(is_inner(inner.parse().unwrap()), "{inner}");
        }
        for outer in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "100.63.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.1",
            "2a00:1450::1",
            "2606:4700::1",
            "2001:200::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(!is_inner(outer.parse().unwrap()), "{outer}");
        }
    }
}
